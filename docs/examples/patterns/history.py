"""Remember what was said, and return the latest of it, newest first; a hundred messages are kept.

Input: {"say": "hello"} or {"latest": 5}
"""

KEEP = 100


def run(input_dict, tools):
    history = data_store.use_namespace("history")
    if "say" in input_dict:
        number = data_store.use_namespace("sequences").incr("history")
        history.set(f"{number:012}", input_dict["say"])
        oldest = max(number - KEEP + 1, 0)
        history.delete_many(history.list_keys(after=f"{oldest:012}", reverse=True))
    return [message for _, message in history.items(reverse=True, limit=input_dict.get("latest", 10))]
