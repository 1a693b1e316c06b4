"""Bring `files:REPO` to a commit; whoever sees `stored:COMMIT` there sees all its files.

Input: {"repo": "apache/my-repo", "commit": "c1", "files": {"src/app.py": "import os ..."}}
"""


def run(input_dict, tools):
    files = data_store.use_namespace(f"files:{input_dict['repo']}")
    stored = f"stored:{input_dict['commit']}"
    try:
        given = {f"file:{path}": text for path, text in input_dict["files"].items()}
        with files.lock("files", wait_seconds=20) as lease:
            bring_to(files, given, lease)
            files.atomic(lease=lease).set(stored, {"files": len(given)}).commit()
    except Exception as error:
        files.add(stored, {"error": f"take_in: {type(error).__name__}: {error}"})
        raise
    return {"files": len(given)}


def bring_to(files, given, lease):
    standing = files.get_all("file:")
    for key in standing.keys() - given.keys():
        files.atomic(lease=lease).delete(key).commit()
    for key, text in given.items():
        if standing.get(key) != text:
            files.atomic(lease=lease).set(key, text).commit()
