"""Each promise of the guarantees names tests that exist, and none is made twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from tests.docs.pages import ROOT

PAGE: Final = ROOT / "docs" / "guarantees.md"
ROW: Final = re.compile(r"^\| (?!promise \||---)(.+?) \| (.+) \|$", re.MULTILINE)
TEST: Final = re.compile(r"`(tests/[\w/]+\.py::[^`]+)`")

PROMISES: Final = [(said, TEST.findall(proof)) for said, proof in ROW.findall(PAGE.read_text(encoding="utf-8"))]
NAMED: Final = [each for _, tests in PROMISES for each in tests]


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The ids that pytest collects from the files that are named, each also without its parameters."""
    files = sorted({each.partition("::")[0] for each in NAMED})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={name: each for name, each in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    ids = {line for line in done.stdout.splitlines() if "::" in line}
    return ids | {each.partition("[")[0] for each in ids}


def collectable() -> Iterator[str]:
    # Only root collects the attacks, as continuous integration does.
    return (each for each in NAMED if os.geteuid() == 0 or not each.startswith("tests/attacks/"))


def test_every_test_that_is_named_exists(collected: set[str]) -> None:
    assert [each for each in collectable() if each not in collected] == []


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
