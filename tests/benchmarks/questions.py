"""Questions of `make bench-scale`, with their bars: commands of operators, and verbs of a large user."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from datastore.errors import DataStoreError
from sandbox import ConnectedDataStore, connect
from tests.admin.words import COMMAND, environment
from tests.benchmarks import report
from tests.benchmarks.bars import Limit
from tests.benchmarks.records import AGENT, key
from tests.benchmarks.scale import ARCHIVE, LARGE, Shape

COMMAND_SECONDS: Final = 120.0
"""The time limit of a command by default."""
SCAN_SECONDS: Final = 2
USAGE_SECONDS: Final = 0.01
PAGE: Final = 1000
_CALLS: Final = 3
_LARGE: Final = ("--user", LARGE)
COMMANDS: Final[dict[tuple[str, ...], float | None]] = {
    ("users",): SCAN_SECONDS,
    ("stats",): SCAN_SECONDS,
    ("top",): SCAN_SECONDS,
    ("namespaces", *_LARGE): None,
    ("keys", *_LARGE, "--namespace", ARCHIVE): None,
    ("check",): None,
}
"""Commands of `datastore admin` that are timed, with their bars in seconds."""


def _keys(data_store: ConnectedDataStore, after: str | None = None) -> object:
    return data_store.use_namespace(ARCHIVE).list_keys(after=after, limit=PAGE)


def _items(data_store: ConnectedDataStore, after: str | None = None) -> object:
    return list(data_store.use_namespace(ARCHIVE).items(after=after, limit=PAGE))


Verb = Callable[[ConnectedDataStore, str], object]
VERBS: Final[dict[str, tuple[Verb, float | None]]] = {
    "usage()": (lambda data_store, _: data_store.usage(), USAGE_SECONDS),
    "list_namespaces()": (lambda data_store, _: data_store.list_namespaces(), None),
    f"list_keys(limit={PAGE})": (lambda data_store, _: _keys(data_store), None),
    f"list_keys(limit={PAGE}), in the middle": (_keys, None),
    f"items(limit={PAGE})": (lambda data_store, _: _items(data_store), None),
    f"items(limit={PAGE}), in the middle": (_items, None),
    "count()": (lambda data_store, _: data_store.use_namespace(ARCHIVE).count(), None),
}
"""Verbs of the large user, called with the key in the middle of its largest namespace, and bars in seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The time that a question took.

    `seconds` is None if the command was stopped at its limit, or failed; `error` is set only if it failed.
    """

    backend: str
    question: str
    seconds: float | None
    bar: float | None = None
    error: str | None = None
    limit_seconds: float = COMMAND_SECONDS

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.question:<56} failed: {self.error}"
        shown = f"more than {self.limit_seconds:g} s" if self.seconds is None else report.duration(self.seconds)
        taken = math.inf if self.seconds is None else self.seconds
        bar = "" if self.bar is None else Limit(self.bar, " s").beside(taken)
        return f"{self.question:<56}{shown:>15}  {bar}".rstrip()


def command(
    backend: str,
    url: str,
    folder: Path,
    words: tuple[str, ...],
    bar: float | None,
    limit_seconds: float = COMMAND_SECONDS,
) -> Answer:
    """Time a command of the operators."""
    question = " ".join(("datastore admin", *words))
    began = time.perf_counter()
    with (folder / "printed").open("wb") as out:
        try:
            done = subprocess.run(
                [*COMMAND, "admin", *words],
                env=environment(DATASTORE_URL=url),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=limit_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(backend, question, None, bar, limit_seconds=limit_seconds)
    seconds = time.perf_counter() - began
    complaint = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    error = f"exit code {done.returncode} after {seconds:.1f} s: {complaint}" if done.returncode else None
    return Answer(backend, question, None if error else seconds, bar, error)


def asked(backend: str, url: str, shape: Shape) -> Iterator[Answer]:
    """Give the times of a large user's verbs."""
    with connect(url, user=LARGE, agent=AGENT) as data_store:
        for name, (call, bar) in VERBS.items():
            asking = partial(call, data_store, key(shape.archived // 2))
            try:
                yield Answer(backend, name, statistics.median(timed(asking) for _ in range(_CALLS)), bar)
            except DataStoreError as error:
                yield Answer(backend, name, None, bar, f"{error.code}: {error.message}")


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
