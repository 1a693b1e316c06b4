"""Answer a query from every index that the user's agents have built; the best files come first.

Input: {"query": "event loop", "limit": 5}
No repository is named here: whatever other agents have indexed is found by its namespace.
"""

from collections import Counter


def run(input_dict, tools):
    words = input_dict["query"].lower().split()
    repos = [namespace.removeprefix("index:") for namespace in data_store.list_namespaces("index:")]
    hits = [hit for repo in repos for hit in search(repo, words)]
    best = sorted(hits, key=lambda hit: (-hit["score"], hit["repo"], hit["path"]))
    return best[: input_dict.get("limit", 5)]


def search(repo, words):
    files_of = data_store.use_namespace(f"index:{repo}").get_many(words)
    scores = Counter()
    for files in files_of.values():
        for path, times in files.items():
            scores[path] += times / len(files)  # A rare word says more.

    summaries = data_store.use_namespace(f"summary:{repo}").get_many(scores)
    return [
        {
            "repo": repo,
            "path": path,
            "score": round(scores[path], 2),
            "lines": summary["lines"],
            "says": summary["docstring"].partition("\n")[0],
        }
        for path, summary in summaries.items()
    ]
