"""An operator's questions, and a large user's, on two million records: `make bench-scale`. Takes twenty minutes.

Commands are timed as whole processes, with all that they print; a user's verbs through `connect`, as the median of
some calls. A command that takes longer than a limit is stopped, and printed as more than that. Ends with 1 where
something failed, and with 0 otherwise.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.benchmarks import report
from tests.benchmarks.engines import Engines, drivers, engines
from tests.benchmarks.questions import COMMAND_SECONDS, COMMANDS, Answer, asked, command, timed
from tests.benchmarks.scale import ARCHIVE, RECORDS, Shape, build

BACKENDS: Final = {"sqlite": "sqlite", "postgresql": "postgresql", "mongodb": "motor"}
"""Engines, and the backend by which each is measured."""
LEAST_RECORDS: Final = 2000
BUILD_SECONDS: Final = 120


def measure(backend: str, url: str, folder: Path, shape: Shape, limit_seconds: float) -> Iterator[Answer]:
    """Build a store, and give the time of everything that is asked of it."""
    built = timed(lambda: build(backend, url, shape))
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
