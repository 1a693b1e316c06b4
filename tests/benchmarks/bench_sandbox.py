"""What the sandbox costs on this machine: `make bench-sandbox`. Takes half a minute; a missed aim says so.

`instant` is an engine that answers from nothing, so that its figures are the sandbox's own; the others are SQLite's.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from datastore import Scope, Store, open_store
from datastore.assembly import SystemClock
from datastore.document import Place
from datastore.ports import Engine
from sandbox import RunLimits, RunResult, Sandbox
from sandbox.inject import connect

ALICE = Scope(user="alice", agent="bench")
RUN_AS = "nobody" if os.geteuid() == 0 else None
LIMITS = RunLimits(calls=10**6, bytes=2**40, in_flight=32)
ONE_CALL = "def run(): return data_store.get('k')"
SEQUENTIAL = """
import time
def run():
    for _ in range(200): data_store.get('k')
    began = time.perf_counter()
    for _ in range(2000): data_store.get('k')
    return (time.perf_counter() - began) / 2000
"""
PIPELINED = """
import time
async def run():
    get = data_store.aio.get
    await asyncio.gather(*[get('k') for _ in range(320)])
    began = time.perf_counter()
    for _ in range(100): await asyncio.gather(*[get('k') for _ in range(32)])
    return (time.perf_counter() - began) / 3200
"""


class Instant:
    """An engine on which there is nothing, which it says at once."""

    async def get(self, *_: object) -> tuple[list[Any], list[str]]:
        return [], []

    async def record(self, _: object) -> None:
        """Nothing was read."""

    async def aclose(self) -> None:
        """Nothing is open."""


def line(name: str, figure: float, unit: str, aim: float | None = None, *, at_least: bool = False) -> None:
    """Print a figure, beside its aim where it has one."""
    missed = aim is not None and (figure < aim if at_least else figure > aim)
    shown = "" if aim is None else f"aim: at {'least' if at_least else 'most'} {aim:g}{'  MISSED' if missed else ''}"
    sys.stdout.write(f"{name:<52}{figure:>9.2f} {unit:<7}{shown}".rstrip() + "\n")
    sys.stdout.flush()


async def timed(action: Callable[[], Awaitable[Any]]) -> float:
    """Return how many milliseconds an action took."""
    began = time.perf_counter()
    await action()
    return (time.perf_counter() - began) * 1000


async def one(sandbox: Sandbox, code: str = ONE_CALL) -> RunResult:
    """Do one run, which must succeed."""
    result = await sandbox.run(code, scope=ALICE, limits=LIMITS)
    if result.outcome != "done":
        raise SystemExit(f"{result.outcome}: {result.error}\n{result.traceback}")
    return result


@asynccontextmanager
async def opened(store: Store, pool_size: int = 0) -> AsyncIterator[Sandbox]:
    """Open a strict sandbox."""
    async with Sandbox(store, run_as=RUN_AS, pool_size=pool_size) as sandbox:
        yield sandbox


async def cold(store: Store) -> None:
    """Measure runs that start their own guest."""
    async with opened(store) as sandbox:
        times = sorted([await timed(lambda: one(sandbox)) for _ in range(25)])
    line("cold run, one store call, median", statistics.median(times), "ms", 44)


async def warm(store: Store, name: str, aim: float | None) -> None:
    """Measure runs one after another, each when the pool is full again."""
    times = []
    async with opened(store, 4) as sandbox:
        for _ in range(100):
            await sandbox._pool.full.wait()
            times.append(await timed(lambda: one(sandbox)))
    times.sort()
    line(f"warm run, one store call, {name}, median", statistics.median(times), "ms", aim)
    line(f"warm run, one store call, {name}, p95", times[94], "ms")


async def sustained(store: Store, seconds: float = 5.0) -> None:
    """Measure how many runs a pool finishes while there are always more."""
    done = 0

    async def repeat(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await one(sandbox)
            done += 1

    async with opened(store, 4) as sandbox:
        await sandbox._pool.full.wait()
        began = time.perf_counter()
        await asyncio.gather(*(repeat(began + seconds) for _ in range(4)))
        line(
            "sustained runs, pool of 4, 4 at once",
            (done - 4) / (time.perf_counter() - began),
            "runs/s",
            45,
            at_least=True,
        )


async def memory(store: Store) -> None:
    """Measure what waiting guests hold."""
    async with opened(store, 4) as sandbox:
        await sandbox._pool.full.wait()
        statuses = [
            os.pread(slot._status, 4096, 0).decode() for slot in sandbox._pool._idle if slot._status is not None
        ]
    for field, name in (("RssAnon", "of its own"), ("VmRSS", "with files it shares with others")):
        held = [int(found[1]) / 1024 for each in statuses if (found := re.search(rf"{field}:\s+(\d+)", each))]
        line(f"memory per waiting slot, {name}", statistics.mean(held), "MiB")


async def round_trips(store: Store, name: str, aims: tuple[float | None, float | None]) -> None:
    """Measure one operation from inside a guest."""
    async with opened(store) as sandbox:
        for code, shown, aim in ((SEQUENTIAL, "sequential", aims[0]), (PIPELINED, "32 pipelined", aims[1])):
            seconds = [(await one(sandbox, code)).output for _ in range(3)]
            line(f"round trip from a guest, {name}, {shown}", statistics.median(seconds) * 1e6, "us", aim)


async def without_guest(store: Store, name: str, times: int) -> None:
    """Measure the same operation in this process, and straight on the engine."""
    with connect(store, user="alice", agent="bench") as data_store:
        for call in (data_store.aio.get, None):
            began = time.perf_counter()
            for _ in range(times):
                await (call("k") if call else store.engine.get(Place("alice", "default"), ["k"], store.clock.now()))
            shown = "in this process (connect)" if call else "straight on the engine"
            line(f"the same, {name}, {shown}", (time.perf_counter() - began) / times * 1e6, "us")


async def main() -> None:
    """Print every figure."""
    sys.stdout.write(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    instant = Store(cast("Engine", Instant()), clock=SystemClock())
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(f"sqlite:///{folder}/bench.db") as store:
            await cold(store)
            await warm(instant, "instant", None)
            await warm(store, "SQLite", 3)
            await sustained(store)
            await memory(store)
            await round_trips(instant, "instant", (60, 12))
            await round_trips(store, "SQLite", (None, None))
            await without_guest(instant, "instant", 2000)
            await without_guest(store, "SQLite", 1000)


if __name__ == "__main__":
    asyncio.run(main())
