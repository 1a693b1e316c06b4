"""Count the words of all texts, some texts at a time; a later run goes on where an earlier one stopped.

Input: {} or {"texts_at_a_time": 50}
"""


def run(input_dict, tools):
    texts = data_store.use_namespace("texts")
    batch = data_store.use_namespace("batch:words")
    while True:
        mark = batch.get_entry("mark")  # Its value is the last key that is done.
        keys = texts.list_keys(after=mark and mark.value, limit=input_dict.get("texts_at_a_time", 100))
        if not keys:
            return batch.get("words", 0)
        words = sum(len(text.split()) for text in texts.get_many(keys).values())
        try:
            with batch.atomic() as changes:
                changes.check("mark", mark.version if mark else data_store.ABSENT)
                changes.set("mark", keys[-1])
                changes.incr("words", words)
        except data_store.Conflict:
            continue  # Another run has done these texts.
