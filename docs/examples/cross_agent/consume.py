"""Sum up the items of `feed:FEED` as they come; a later run goes on where this one ends.

Input: {"feed": "celsius"}
"""


def run(input_dict, tools):
    feed = data_store.use_namespace(f"feed:{input_dict['feed']}")
    mine = data_store.private(feed.namespace)
    state = mine.get("state", {"next": 1, "sum": 0})
    while True:
        item = feed.wait_for(f"item:{state['next']:06}", timeout_seconds=20)
        if "error" in item:
            raise RuntimeError(item["error"])
        if "end" in item:
            return {"items": state["next"] - 1, "sum": state["sum"]}
        state = {"next": state["next"] + 1, "sum": state["sum"] + item["value"]}
        mine.set("state", state)  # Position and sum in one entry: no crash can part them.
