"""Change some of the settings that all agents share, and leave the others.

Input: {"change": {"model": "large"}}
"""

FIRST = {"model": "small", "paused": False}


def run(input_dict, tools):
    config = data_store.use_namespace("config")
    return config.update("settings", lambda settings: {**settings, **input_dict["change"]}, default=FIRST)
