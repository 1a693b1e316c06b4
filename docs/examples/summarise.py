"""Summarise each file of `files:REPO` in `summary:REPO`: what it defines, what it imports, what it says of itself.

Input: {"repo": "apache/my-repo"}
A summary's metadata says which version of the file it was made of, so an unchanged file is skipped.
"""

import ast
import asyncio

DEFINITIONS = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


async def run(input_dict, tools):
    files = data_store.aio.use_namespace(f"files:{input_dict['repo']}")
    summaries = data_store.aio.use_namespace(f"summary:{input_dict['repo']}")

    async def refresh(path):
        file, summary = await asyncio.gather(files.get_entry(path), summaries.get_entry(path))
        if summary and summary.metadata["of_version"] == file.version:
            return False
        await summaries.set(path, summarise(file), {"of_version": file.version})
        return True

    paths = await files.list_keys()
    refreshed = await asyncio.gather(*(refresh(path) for path in paths))
    forgotten = await summaries.delete_many(set(await summaries.list_keys()) - set(paths))
    return {"summarised": sum(refreshed), "unchanged": refreshed.count(False), "forgotten": forgotten}


def summarise(file):
    python = file.metadata["language"] == "python"
    tree = ast.parse(file.value if python else "")
    nodes = list(ast.walk(tree))
    return {
        "lines": file.metadata["lines"],
        "docstring": ast.get_docstring(tree) or "" if python else heading(file.value),
        "definitions": [node.name for node in nodes if isinstance(node, DEFINITIONS)],
        "imports": sorted({name for node in nodes for name in imported(node)}),
    }


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or "."] if isinstance(node, ast.ImportFrom) else []


def heading(text):
    return next((line.strip("# ") for line in text.splitlines() if line.strip("# ")), "")
