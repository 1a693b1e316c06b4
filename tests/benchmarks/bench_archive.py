"""What it takes to get a user out and back on this machine: `make bench-archive`. Takes some minutes.

A user of 100,000 entries, of which five are at the limit of a value and some are bytes, is exported, erased, imported
and exported again by the command, on SQLite, PostgreSQL and a real MongoDB. What is not equal to the byte, or needs
more memory than is promised, ends this with 1.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sandbox import ConnectedDataStore, connect
from tests.admin.archives import MOST_RESIDENT_KIB, fill_large, measured
from tests.admin.words import environment
from tests.benchmarks.engines import engines
from tests.benchmarks.report import machine, say

ENTRIES: Final = 100_000
BACKENDS: Final = ("sqlite", "postgresql", "motor")
_BATCH: Final = 1000
_PATIENCE: Final = 1800


def fill(data_store: ConnectedDataStore) -> None:
    """Make the entries: five large ones, one in ten bytes, the others JSON with metadata."""
    fill_large(data_store)
    for start in range(0, ENTRIES - 5, _BATCH):
        numbers = range(start, min(start + _BATCH, ENTRIES - 5))
        data_store.set_many(
            {f"k{n:06}": os.urandom(200) if n % 10 == 0 else {"n": n, "text": "é" * 80} for n in numbers},
            {"source": "crm"},
        )
    data_store.get_many([f"k{n:06}" for n in range(_BATCH)])


def same(first: Path, second: Path) -> bool:
    """Say whether two archives have the same lines of entries, to the byte."""
    with first.open("rb") as left, second.open("rb") as right:
        pairs = itertools.zip_longest(itertools.islice(left, 1, ENTRIES + 1), itertools.islice(right, 1, ENTRIES + 1))
        return all(one == other for one, other in pairs)


def timed(what: str, arguments: Sequence[str], env: dict[str, str], folder: Path, stdout: str) -> bool:
    """Run the command, print what it took, and say whether it kept within its memory."""
    began = time.perf_counter()
    resident = measured(arguments, env, folder, stdout, _PATIENCE)
    seconds = time.perf_counter() - began
    fine = resident < MOST_RESIDENT_KIB
    say(f"{what:<44} {seconds:8.1f} s {resident / 1024:8.0f} MiB{'' if fine else '  TOO MUCH'}")
    return fine


def engine(backend: str, url: str, folder: Path) -> bool:
    """Measure one engine, and say whether it kept what is promised."""
    env, alice = environment(DATASTORE_URL=url, DATASTORE_OPERATION_TIMEOUT_SECONDS="120"), ("--user", "alice")
    with connect(url, user="alice", agent="bench") as data_store:
        fill(data_store)
    first, second = folder / "first.ndjson", folder / "second.ndjson"
    fine = [
        timed(f"{backend}, stats", ["admin", "stats"], env, folder, "printed"),
        timed(f"{backend}, check --values", ["admin", "check", "--values"], env, folder, "printed"),
        timed(f"{backend}, export", ["admin", "export", *alice], env, folder, first.name),
    ]
    usual = environment(DATASTORE_URL=url)  # Whose deadline is a part of an erasure's wait.
    fine.append(timed(f"{backend}, erase", ["admin", "erase", *alice, "--yes"], usual, folder, "printed"))
    fine.append(timed(f"{backend}, unblock", ["admin", "unblock", *alice], usual, folder, "printed"))
    fine.append(timed(f"{backend}, import", ["admin", "import", *alice, str(first)], env, folder, "printed"))
    fine.append(timed(f"{backend}, export again", ["admin", "export", *alice], env, folder, second.name))
    equal = same(first, second)
    say(f"{backend}: {ENTRIES:,} entries, {first.stat().st_size:,} bytes, {'equal' if equal else 'DIFFER'}")
    return all(fine) and equal


def main() -> int:
    """Print every figure; return 1 where a promise was not kept."""
    say(machine())
    fine = []
    with engines() as running:
        for backend in BACKENDS:
            with tempfile.TemporaryDirectory() as name, running.address(backend, Path(name)) as url:
                fine.append(engine(backend, url, Path(name)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
