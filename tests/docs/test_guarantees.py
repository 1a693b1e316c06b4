"""Each promise of the guarantees names tests that exist, and none is made twice."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.docs.pages import ROOT

PAGE: Final = ROOT / "docs" / "guarantees.md"
ROW: Final = re.compile(r"^\| (?!promise \||---)(.+?) \| (.+) \|$", re.MULTILINE)
TEST: Final = re.compile(r"`(tests/[\w/]+\.py::[^`]+)`")

PROMISES: Final = [(said, TEST.findall(proof)) for said, proof in ROW.findall(PAGE.read_text(encoding="utf-8"))]
NAMED: Final = [each for _, tests in PROMISES for each in tests]


def written(file: str) -> set[str]:
    """Return the names of the tests that a file holds."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in tree.body if isinstance(each, kinds) and each.name.startswith("test_")}


def test_every_test_that_is_named_exists() -> None:
    files = {each.partition("::")[0] for each in NAMED}
    known = {f"{file}::{name}" for file in files for name in written(file)}
    assert [each for each in NAMED if each not in known] == []


def test_every_promise_is_proved_by_a_test() -> None:
    assert len(PROMISES) > 40
    assert [said for said, tests in PROMISES if not tests] == []


def test_nothing_is_said_or_named_twice() -> None:
    promises = [said for said, _ in PROMISES]
    assert sorted(set(promises)) == sorted(promises)
    assert sorted(set(NAMED)) == sorted(NAMED)


def test_what_stands_beside_a_promise_is_the_names_of_tests_alone() -> None:
    rests = [TEST.sub("", proof).strip(", ") for _, proof in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert rests == [""] * len(rests)
