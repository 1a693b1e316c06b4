"""Bring `index:REPO` to a commit, reading only the files that have changed since the last time.

Input: {"repo": "apache/my-repo", "commit": "c1"}
"""

import re
from collections import Counter


def run(input_dict, tools):
    files = data_store.use_namespace(f"files:{input_dict['repo']}")
    index = data_store.use_namespace(f"index:{input_dict['repo']}")
    stored, indexed = f"stored:{input_dict['commit']}", f"indexed:{input_dict['commit']}"
    try:
        require(files.wait_for(stored, timeout_seconds=20))
        with files.lock("files", wait_seconds=20) as lease:  # No file changes while it is read.
            outcome = {"read": bring_up(files, index, lease)}
            index.atomic(lease=lease).set(indexed, outcome).commit()
    except Exception as error:
        index.add(indexed, {"error": f"keep_index: {type(error).__name__}: {error}"})
        raise
    return outcome


def require(outcome):
    if "error" in outcome:
        raise RuntimeError(outcome["error"])


def bring_up(files, index, lease):
    keys, cursor = changed(files, index, index.get("cursor"))
    texts = files.get_many(keys)
    for key, text in texts.items():
        words = Counter(re.findall(r"\w+", text.lower()))
        index.atomic(lease=lease).set(key, words).commit()
    for key in keys - texts.keys():
        index.atomic(lease=lease).delete(key).commit()
    index.atomic(lease=lease).set("cursor", cursor).commit()  # Last: after a crash the same changes are read again.
    return len(texts)


def changed(files, index, cursor):
    changes = files.watch(cursor=cursor, timeout_seconds=20)
    if cursor is None:
        return {*files.keys("file:"), *index.keys("file:")}, changes.cursor
    now = files.set("now", True)  # A change of my own: all that was written before comes before it.
    keys = set()
    try:
        for change in changes:
            if change.version == now:
                return keys, change.cursor
            if change.key.startswith("file:"):
                keys.add(change.key)
    except data_store.PastGone:
        return changed(files, index, None)
    raise TimeoutError("the store did not tell of a change within 20 seconds")
