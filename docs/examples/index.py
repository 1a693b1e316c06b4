"""Build the keyword index of a repository in `index:REPO` from its summaries: word -> {path: how often}.

Input: {"repo": "apache/my-repo"}
A word that no file uses any more leaves the index.
"""

import re
from collections import Counter, defaultdict


def run(input_dict, tools):
    summaries = data_store.use_namespace(f"summary:{input_dict['repo']}")
    index = data_store.use_namespace(f"index:{input_dict['repo']}")

    files_of = defaultdict(dict)
    for path, summary in summaries.items():
        text = " ".join([path, summary["docstring"], *summary["definitions"]])
        for word, times in Counter(words(text)).items():
            files_of[word][path] = times

    removed = index.delete_many(set(index.keys()) - set(files_of))
    return {"words": index.set_many(files_of), "removed": removed}


def words(text):
    """Split prose and names alike: `BaseEventLoop.run_forever` gives base, event, loop, run, forever."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", text) if len(word) > 1]
