"""What the sandbox costs on this machine: `make bench-sandbox`. Takes half a minute; a missed aim says so.

`instant` is an engine that answers from nothing, so that its figures are the sandbox's own; the others are SQLite's.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
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
    get, keys = data_store.aio.get, [f"k{number}" for number in range(32)]
    for _ in range(10): await asyncio.gather(*[get(key) for key in keys])
    began = time.perf_counter()
    for _ in range(100): await asyncio.gather(*[get(key) for key in keys])
    return (time.perf_counter() - began) / 3200
"""


class Instant:
    """An engine on which there is nothing, which it says at once."""

    async def get(self, *_: object) -> tuple[list[Any], list[str]]:
        return [], []

    async def peek(self, *_: object) -> list[Any]:
        return []

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
async def opened(store: Store, pool_size: int = 0, *, zygote: bool = False) -> AsyncIterator[Sandbox]:
    """Open a strict sandbox."""
    async with Sandbox(store, run_as=RUN_AS, pool_size=pool_size, zygote=zygote) as sandbox:
        yield sandbox


async def cold(store: Store) -> None:
    """Measure runs that start their own guest."""
    async with opened(store) as sandbox:
        times = sorted([await timed(lambda: one(sandbox)) for _ in range(25)])
    line("cold run, one store call, median", statistics.median(times), "ms", 44)


async def forked(store: Store) -> None:
    """Measure runs whose guest is forked for them, without a pool."""
    async with opened(store, zygote=True) as sandbox:
        await one(sandbox)  # The zygote itself starts.
        times = sorted([await timed(lambda: one(sandbox)) for _ in range(100)])
    line("zygote run, one store call, no pool, median", statistics.median(times), "ms")
    line("zygote run, one store call, no pool, p95", times[94], "ms")


async def warm(store: Store, name: str, aim: float | None, *, zygote: bool = False) -> None:
    """Measure runs one after another, each when the pool is full again."""
    times = []
    async with opened(store, 4, zygote=zygote) as sandbox:
        for _ in range(100):
            await sandbox._pool.full.wait()
            times.append(await timed(lambda: one(sandbox)))
    times.sort()
    line(f"warm run, one store call, {name}, median", statistics.median(times), "ms", aim)
    line(f"warm run, one store call, {name}, p95", times[94], "ms")


async def sustained(store: Store, name: str, aim: float, *, zygote: bool = False, seconds: float = 5.0) -> None:
    """Measure how many runs a pool finishes while there are always more."""
    done = 0

    async def repeat(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await one(sandbox)
            done += 1

    async with opened(store, 4, zygote=zygote) as sandbox:
        await sandbox._pool.full.wait()
        began = time.perf_counter()
        await asyncio.gather(*(repeat(began + seconds) for _ in range(4)))
        a_second = (done - 4) / (time.perf_counter() - began)
    line(f"sustained runs, {name} of 4, 4 at once", a_second, "runs/s", aim, at_least=True)


async def memory(store: Store, name: str, *, zygote: bool = False) -> None:
    """Measure what waiting guests hold."""
    async with opened(store, 4, zygote=zygote) as sandbox:
        await sandbox._pool.full.wait()
        pids = [await slot.guest.started() for slot in sandbox._pool._idle]
        statuses = [innermost(pid) for pid in pids if pid is not None]
    held = [int(found[1]) / 1024 for each in statuses if (found := re.search(r"Private_Dirty:\s+(\d+)", each))]
    line(f"memory per waiting slot, {name}, of its own", statistics.mean(held), "MiB")


def innermost(pid: int) -> str:
    """Return the kernel's account of the memory of the process that is the guest itself."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        pid = int(children[0])
    return Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")


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


def bare(file: Path, times: int) -> None:
    """Measure the same look without the store: the driver's own, from a file that was opened before."""
    with closing(sqlite3.connect(file)) as connection:
        began = time.perf_counter()
        for _ in range(times):
            connection.execute(
                "SELECT value FROM entries WHERE id = ?", (Place("alice", "default").id("k"),)
            ).fetchone()
        line("the same, SQLite, straight on the driver", (time.perf_counter() - began) / times * 1e6, "us")


async def main() -> None:
    """Print every figure."""
    sys.stdout.write(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    instant = Store(cast("Engine", Instant()), clock=SystemClock())
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(f"sqlite:///{folder}/bench.db") as store:
            await cold(store)
            await forked(store)
            await warm(instant, "instant", None)
            await warm(store, "SQLite", 3)
            await warm(store, "SQLite, zygote", None, zygote=True)
            await sustained(store, "pool", 45)
            await sustained(store, "zygote pool", 200, zygote=True)
            await memory(store, "pool")
            await memory(store, "zygote pool", zygote=True)
            await round_trips(instant, "instant", (60, 12))
            await round_trips(store, "SQLite", (None, None))
            await without_guest(instant, "instant", 2000)
            await without_guest(store, "SQLite", 1000)
            bare(Path(folder, "bench.db"), 1000)


if __name__ == "__main__":
    asyncio.run(main())
