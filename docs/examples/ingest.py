"""Store the source files of a repository, one entry per path, in the namespace `files:REPO`.

Input: {"repo": "apache/my-repo", "files": {"src/app.py": "import os ..."}}
A file that has not changed is not written again, so it keeps its version and nobody works on it twice.
"""

import asyncio

LANGUAGES = {"md": "markdown", "py": "python", "toml": "toml", "yaml": "yaml"}


async def run(input_dict, tools):
    files = data_store.aio.use_namespace(f"files:{input_dict['repo']}")
    given = input_dict["files"]
    stored = await files.get_many(given)
    changed = [path for path in given if stored.get(path) != given[path]]
    await asyncio.gather(*(files.set(path, given[path], describe(path, given[path])) for path in changed))
    return {"files": len(given), "stored": len(changed)}


def describe(path, text):
    language = LANGUAGES.get(path.rpartition(".")[2], "text")
    return {"language": language, "lines": len(text.splitlines())}
