"""Say which files of a repository hold a word, and how often, as soon as a commit is indexed.

Input: {"repo": "apache/my-repo", "commit": "c1", "word": "loop"}
"""


def run(input_dict, tools):
    index = data_store.use_namespace(f"index:{input_dict['repo']}")
    outcome = index.wait_for(f"indexed:{input_dict['commit']}", timeout_seconds=20)
    if "error" in outcome:
        raise RuntimeError(outcome["error"])
    word = input_dict["word"].lower()
    return {key.removeprefix("file:"): words[word] for key, words in index.items("file:") if word in words}
