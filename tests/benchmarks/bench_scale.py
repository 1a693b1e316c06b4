"""An operator's questions, and a large user's, on two million records: `make bench-scale`. Takes twenty minutes.

Commands are timed as whole processes, with all that they print; a user's verbs through `connect`, as the median of
some calls. A command that takes longer than a limit is stopped, and printed as more than that. Ends with 1 where
something failed, and with 0 otherwise.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from datastore.errors import DataStoreError
from sandbox import ConnectedDataStore, connect
from tests.admin.words import COMMAND, environment
from tests.benchmarks import report
from tests.benchmarks.engines import Engines, drivers, engines
from tests.benchmarks.records import AGENT, key
from tests.benchmarks.scale import ARCHIVE, LARGE, RECORDS, Shape, build

BACKENDS: Final = {"sqlite": "sqlite", "postgresql": "postgresql", "mongodb": "motor"}
"""Engines, and the backend by which each is measured."""
LEAST_RECORDS: Final = 2000
COMMAND_SECONDS: Final = 120.0
"""The time limit of a command by default."""
BUILD_SECONDS: Final = 120
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
        missed = self.bar is not None and (self.seconds is None or self.seconds > self.bar)
        bar = "" if self.bar is None else f"at most {self.bar:g} s{'  MISSED' if missed else ''}"
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
                yield Answer(backend, name, statistics.median(_timed(asking) for _ in range(_CALLS)), bar)
            except DataStoreError as error:
                yield Answer(backend, name, None, bar, f"{error.code}: {error.message}")


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(backend: str, url: str, folder: Path, shape: Shape, limit_seconds: float) -> Iterator[Answer]:
    """Build a store, and give the time of everything that is asked of it."""
    built = _timed(lambda: build(backend, url, shape))
    yield Answer(backend, f"build {shape.records:,} records of {shape.users:,} users", built, BUILD_SECONDS)
    for words, bar in COMMANDS.items():
        yield command(backend, url, folder, words, bar, limit_seconds)
    yield from asked(backend, url, shape)


def engine(running: Engines, backend: str, shape: Shape, limit_seconds: float) -> list[Answer]:
    """Measure one engine, and print it."""
    report.say(f"\n{backend}: {running.version(backend)} through {drivers(backend)}")
    found: list[Answer] = []
    with tempfile.TemporaryDirectory() as name, running.fresh(backend, Path(name)) as url:
        for each in measure(backend, url, Path(name), shape, limit_seconds):
            found.append(each)
            report.say(str(each))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure, and write them to a file where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_scale", description=__doc__)
    parser.add_argument("--only", action="append", choices=BACKENDS, help="measure these; default: all")
    parser.add_argument("--records", type=int, default=RECORDS, metavar="N", help=f"at least {LEAST_RECORDS:,}")
    parser.add_argument(
        "--command-seconds", type=float, default=COMMAND_SECONDS, metavar="N", help="the time limit of a command"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    given = parser.parse_args(arguments)
    if given.records < LEAST_RECORDS:
        parser.error(f"--records {given.records}: {LEAST_RECORDS:,} is the least")
    # The running command, the server and its files go with this process also where it is told to end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    shape = Shape(given.records)
    head = (
        f"{report.facts()}; the large user has {shape.large_keys:,} keys in {shape.namespaces + 1:,} namespaces, "
        f"{shape.archived:,} of them in {ARCHIVE!r}"
    )
    report.say(head)
    with engines() as running:
        found = [
            each
            for name in given.only or BACKENDS
            for each in engine(running, BACKENDS[name], shape, given.command_seconds)
        ]
    if given.json is not None:
        content = {"facts": head, "answers": [asdict(each) for each in found]}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if any(each.error for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
