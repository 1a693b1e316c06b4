"""Every refusal of the sandbox to start, out of its source: the message, where `...` stands for facts, and the mend.

A call that passes on the remedy of another refusal is none of its own.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from typing import Any, Final

from datastore.errors import SandboxUnavailable
from sandbox.isolation import diagnosis
from tests.docs.pages import ROOT
from tests.sandbox.test_remedies import FOLLOWED

_ERROR: Final = SandboxUnavailable.__name__


def refusals() -> dict[str, str]:
    """Each message with its remedy, in the order of the files."""
    return dict(_found())


def started() -> dict[str, str]:
    """The patterns that are looked for in the words of a launched program, each with its remedy."""
    return diagnosis._REMEDIES


def followed(row: str) -> str:
    """Whether a test follows the remedy."""
    return "yes" if row in FOLLOWED else "unverified"


def _found() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "sandbox").rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if f"{_ERROR}(" in source:
            names = vars(importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts)))
            yield from _in_module(ast.parse(source), names)


def _in_module(tree: ast.Module, names: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == _ERROR:
            reason, remedy = (_text(each, names) for each in node.args)
            if remedy is not None:
                yield str(reason), remedy


def _text(node: ast.expr, names: dict[str, Any]) -> str | None:
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(parts):
            return "".join(_text(part, names) or "..." for part in parts)
        case ast.Name(name):
            found = names.get(name)
        case ast.Attribute(ast.Name(module), name):
            found = getattr(names.get(module), name, None)
        case _:
            return None
    return found if isinstance(found, str) else None
