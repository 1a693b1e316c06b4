"""Work step by step with the settings of the moment; wait while they say `paused`.

Input: {"steps": 3}
"""


def run(input_dict, tools):
    config = data_store.use_namespace("config").read_only()
    config.wait_for("settings", timeout_seconds=20)
    used = []
    for _ in range(input_dict["steps"]):
        while (entry := config.get_entry("settings")).value["paused"]:
            config.wait_for("settings", timeout_seconds=20, after=entry.version)
        used.append(entry.value["model"])
    return used
