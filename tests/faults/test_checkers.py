"""Each checker finds each lie that is planted in a history, and finds nothing wrong with a true one."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from datastore.errors import MAYBE_WRITTEN, Conflict, DataStoreError, StoreUnavailable
from tests.faults.checkers import ACCOUNTS, ALL, AUDITED, MOST_KEYS
from tests.faults.histories import History, Operation, Outcome, Recorder, outcome_of

State = Mapping[str, Any]


def done(
    role: str, outcome: Outcome = "ok", *, result: Any = None, at: float = 0, worker: str = "w", **facts: Any
) -> Operation:
    """Return an operation that took no time."""
    return Operation(worker, role, at, facts, at, outcome, result, "Nothing was written" if outcome == "failed" else "")


def moved(outcome: Outcome = "ok") -> Operation:
    return done("transfer", outcome, name="t", source=ACCOUNTS[0], target=ACCOUNTS[1], amount=5)


BALANCED: Final = {ACCOUNTS[0]: -5, ACCOUNTS[1]: 5, "receipt:t": 1}
NOTED: Final = done("watched write", key="seen:a", result="1")
FIRST: Final = done("replace", over="", name="a", result="1")
CHANGES: Final = [["seen:a", "1"], ["seen:b", "2"]]
TRUE: Final[list[tuple[str, list[Operation], State]]] = [
    ("writes", [done("write", values={"k": 1})], {"k": 1}),
    ("writes", [done("write", "unknown", values={"k": 1})], {"k": 1}),
    ("writes", [done("write", "unknown", values={"k": 1})], {}),
    ("writes", [done("write", "failed", values={"k": 1})], {}),
    ("deletes", [done("delete", key="k")], {}),
    ("counters", [done("count", result=1), done("count", "unknown")], {"counter": 2}),
    ("counters", [done("count", result=1), done("count", "unknown")], {"counter": 1}),
    ("claims", [done("claim", key="c", result=True), done("claim", key="c", result=False, worker="v")], {"c": "w"}),
    ("claims", [done("claim", "unknown", key="c"), done("claim", key="c", result=False, worker="v")], {"c": "w"}),
    (
        "lists",
        [done("append", item="a"), done("append", item="b", at=1), done("append", "failed", item="c")],
        {"list": ["a", "b"]},
    ),
    ("transfers", [moved()], BALANCED),
    ("transfers", [moved("unknown")], BALANCED),
    ("transfers", [moved("failed")], {}),
    (
        "fences",
        [done("fence", token=1, name="w"), done("fence", token=2, name="v", at=1)],
        {"fence:1:w": 1, "fence:2:v": 1},
    ),
    (
        "registers",
        [done("replace", over="", name="a", result="1"), done("replace", over="1", name="b", result="2")],
        {"register": "b"},
    ),
    (
        "registers",
        [done("replace", over="", name="a", result="1"), done("replace", "unknown", over="1", name="b")],
        {"register": "b"},
    ),
    ("registers", [done("replace", "unknown", over="", name="a")], {}),
    ("reads", [done("write", values={"k": 1}), done("read", key="k", result=1, at=1)], {}),
    ("reads", [done("read", key="k", result=None), done("write", values={"k": 1}, at=1)], {}),
    ("watches", [done("watched write", key="seen:a", result="1"), done("watched", changes=CHANGES)], {}),
    ("quotas", [done("count of full", result=MOST_KEYS)], {f"full:{n}": 1 for n in range(MOST_KEYS)}),
    ("audited", [NOTED, done("closed")], {AUDITED: [["w", "seen:a", "done"]]}),
    ("audited", [NOTED], {}),
]
FALSE: Final[list[tuple[str, list[Operation], State]]] = [
    ("writes", [done("write", values={"k": 1})], {}),
    ("writes", [done("write", values={"k": 1})], {"k": 2}),
    ("writes", [done("write", "failed", values={"k": 1})], {"k": 1}),
    ("writes", [done("write", "failed", values={"k": 1, "l": 1})], {"l": 1}),
    ("deletes", [done("delete", key="k")], {"k": 1}),
    ("deletes", [done("delete", "failed", key="k")], {}),
    ("counters", [done("count", result=1)], {}),
    ("counters", [done("count", result=1)], {"counter": 2}),
    ("counters", [done("count", result=1), done("count", result=1)], {"counter": 2}),
    ("counters", [done("count", "failed")], {"counter": 1}),
    ("claims", [done("claim", key="c", result=True), done("claim", key="c", result=True, worker="v")], {"c": "w"}),
    ("claims", [done("claim", key="c", result=True)], {"c": "v"}),
    ("claims", [done("claim", "failed", key="c")], {"c": "w"}),
    ("claims", [done("claim", key="c", result=False)], {}),
    ("lists", [done("append", item="a")], {"list": []}),
    ("lists", [done("append", item="a")], {"list": ["a", "a"]}),
    ("lists", [done("append", "failed", item="a")], {"list": ["a"]}),
    ("lists", [done("append", item="a"), done("append", item="b", at=1)], {"list": ["b", "a"]}),
    ("transfers", [moved()], {}),
    ("transfers", [moved("failed")], BALANCED),
    ("transfers", [moved()], {**BALANCED, ACCOUNTS[1]: 0}),
    ("fences", [done("fence", token=1, name="w")], {}),
    ("fences", [done("fence", "failed", token=1, name="w")], {"fence:1:w": 1}),
    ("fences", [], {"fence:1:w": 1, "fence:1:v": 1}),
    (
        "fences",
        [done("fence", token=2, name="w"), done("fence", token=1, name="v", at=1)],
        {"fence:1:v": 1, "fence:2:w": 1},
    ),
    ("registers", [done("replace", over="1", name="a"), done("replace", over="1", name="b")], {}),
    ("registers", [done("replace", "failed", over="1", name="a")], {"register": "a"}),
    ("registers", [done("replace", over="", name="a", result="1")], {}),
    ("registers", [FIRST, done("replace", over="1", name="b", result="2")], {"register": "a"}),
    ("registers", [FIRST, done("replace", over="1", name="b", result="2")], {}),
    ("writes", [done("write", "unknown", values={"k": 1})], {"k": 2}),
    ("claims", [done("claim", key="c", result=True), done("claim", "unknown", key="c", worker="v")], {"c": "v"}),
    ("quotas", [done("fill", "failed", key="full:a")], {"full:a": 1}),
    ("reads", [done("write", values={"k": 1}), done("read", key="k", result=None, at=1)], {}),
    ("watches", [done("watched write", key="seen:c", result="3"), done("watched", changes=CHANGES)], {}),
    ("watches", [done("watched", changes=[*CHANGES, CHANGES[0]])], {}),
    ("watches", [done("watched", changes=CHANGES), done("watched", changes=CHANGES[::-1], worker="v")], {}),
    ("watches", [done("watched write", "failed", key="seen:a"), done("watched", changes=CHANGES)], {}),
    ("quotas", [], {f"full:{n}": 1 for n in range(MOST_KEYS + 1)}),
    ("audited", [NOTED, done("closed")], {}),
    ("audited", [NOTED, done("closed")], {AUDITED: [["w", "seen:a", "done"]] * 2}),
    ("audited", [done("watched write", "failed", key="seen:a")], {AUDITED: [["w", "seen:a", "done"]]}),
    ("quotas", [done("count of full", result=MOST_KEYS + 1)], {}),
]


@pytest.mark.parametrize(("name", "operations", "state"), TRUE)
def test_nothing_is_wrong_with_the_truth(name: str, operations: list[Operation], state: State) -> None:
    assert ALL[name](History(operations), state) == []


@pytest.mark.parametrize(("name", "operations", "state"), FALSE)
def test_a_planted_lie_is_found(name: str, operations: list[Operation], state: State) -> None:
    assert ALL[name](History(operations), state)


def test_every_checker_is_tried() -> None:
    assert {name for name, *_ in TRUE} == {name for name, *_ in FALSE} == set(ALL)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreUnavailable("the store did not answer in time"), "failed"),
        (StoreUnavailable("the store did not answer in time", may_have_written=True), "unknown"),
        (Conflict("k", None), "failed"),
        (DataStoreError("internal error 1: the store failed unexpectedly. Try again."), "unsaid"),
        (DataStoreError("Nothing was written", may_have_written=True), "unsaid"),
    ],
)
def test_an_outcome_is_what_the_text_says(error: DataStoreError, outcome: str) -> None:
    assert outcome_of(error) == outcome


def fail() -> None:
    raise StoreUnavailable("the store did not answer in time", may_have_written=True)


def test_a_history_of_a_killed_worker_is_read(tmp_path: Path) -> None:
    file = io.StringIO()
    recorder = Recorder(file)
    with recorder.operation("write", values={"k": 1}) as attempt:
        attempt.result = "v1"
    with recorder.operation("fence", name="w") as attempt:
        attempt.facts["token"] = 7
        fail()
    cut_off = json.dumps({"at": 1e12, "number": 9, "role": "write", "facts": {"values": {}}})
    (tmp_path / "w.jsonl").write_text(f"{file.getvalue()}{cut_off}\n{{'half a li", encoding="utf-8")

    history = History.read(tmp_path)

    assert [(each.outcome, each.result) for each in history.of("write")] == [("ok", "v1"), ("unknown", None)]
    assert [(each["token"], each.outcome, each.said) for each in history.of("fence")] == [
        (7, "unknown", f"StoreUnavailable: the store did not answer in time. {MAYBE_WRITTEN}")
    ]
    assert history.counted() == {"write": {"ok": 1, "unknown": 1}, "fence": {"unknown": 1}}
