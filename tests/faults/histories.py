"""Histories of workers, written down as they work, so that also a killed one's last operation is known.

An operation is `ok`, `failed` (surely nothing was written) or `unknown` (it may have been). Which of them an error
means is read from its text, as an agent reads it; a text that says neither is a mistake by itself. What a worker did
not live to see the end of is unknown too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, TextIO

from datastore.errors import (
    Conflict,
    DataStoreError,
    LockUnavailable,
    PastGone,
    QuotaExceeded,
    Timeout,
)

Outcome = Literal["ok", "failed", "unknown", "unsaid"]

NOTHING: Final = "Nothing was written"
MAYBE: Final = "may have"
_REFUSALS: Final = (Conflict, QuotaExceeded, LockUnavailable, Timeout, PastGone)
"""Errors that mean that nothing was written, in whatever words."""


@dataclass
class Operation:
    """One operation of one worker. Times are seconds of a clock that all processes share."""

    worker: str
    role: str
    begun: float
    facts: dict[str, Any]
    ended: float = float("inf")
    outcome: Outcome = "unknown"
    result: Any = None
    said: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]


@dataclass
class Attempt:
    """An operation that is under way."""

    facts: dict[str, Any] = field(default_factory=dict)
    result: Any = None


class Recorder:
    """Writes the history of one worker.

    Args:
        file: where lines go.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._number = 0

    @contextmanager
    def operation(self, role: str, **facts: Any) -> Iterator[Attempt]:
        """Record what is done inside: its begin before, its end after it; errors of the store end here.

        What is put into `facts` and `result` meanwhile is recorded at the end.
        """
        self._number += 1
        number, attempt = self._number, Attempt(facts)
        self._write({"number": number, "role": role, "facts": facts})
        outcome: Outcome = "ok"
        said = ""
        try:
            yield attempt
        except DataStoreError as error:
            outcome, said = outcome_of(error), f"{type(error).__name__}: {error}"
        end = {"outcome": outcome, "said": said, "result": attempt.result, "more": attempt.facts}
        self._write({"number": number, **end})

    def note(self, role: str, **facts: Any) -> None:
        """Record something that the store is not asked for."""
        with self.operation(role, **facts):
            pass

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps({"at": time.monotonic(), **line}) + "\n")
        self._file.flush()


def outcome_of(error: DataStoreError) -> Outcome:
    """Return what an error says of its operation; "unsaid" where it does not say."""
    if isinstance(error, _REFUSALS) and not error.may_have_written:
        return "failed"
    text = str(error)
    if (NOTHING in text) == (MAYBE in text) or error.may_have_written != (MAYBE in text):
        return "unsaid"
    return "unknown" if MAYBE in text else "failed"


class History:
    """All operations of all workers.

    Args:
        operations: in any order.
    """

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = sorted(operations, key=lambda each: each.begun)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what the workers wrote into a folder, a file each."""
        return cls([each for file in sorted(folder.glob("*.jsonl")) for each in _read(file)])

    def of(self, role: str, *outcomes: Outcome) -> list[Operation]:
        """Return the operations of a role, with one of the outcomes if any are named."""
        return [each for each in self._operations if each.role == role and (not outcomes or each.outcome in outcomes)]

    def of_any(self, *outcomes: Outcome) -> list[Operation]:
        """Return the operations of all roles with one of the outcomes."""
        return [each for each in self._operations if each.outcome in outcomes]

    def unsaid(self) -> list[str]:
        """Return the texts of errors that do not say what became of their operation."""
        return sorted({f"{each.role}: {each.said}" for each in self._operations if each.outcome == "unsaid"})

    def counted(self) -> dict[str, dict[str, int]]:
        """Return how many operations of each role had which outcome."""
        found: dict[str, dict[str, int]] = {}
        for each in self._operations:
            theirs = found.setdefault(each.role, {})
            theirs[each.outcome] = theirs.get(each.outcome, 0) + 1
        return found


def _read(file: Path) -> list[Operation]:
    found: dict[int, Operation] = {}
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # The last words of one that was killed.
            continue
        if "role" in line:
            found[line["number"]] = Operation(file.stem, line["role"], line["at"], line["facts"])
        else:
            ended = found[line["number"]]
            ended.ended, ended.outcome = line["at"], line["outcome"]
            ended.result, ended.said = line["result"], line["said"]
            ended.facts = line["more"]
    return list(found.values())
