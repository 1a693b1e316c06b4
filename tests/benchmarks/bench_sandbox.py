"""The cost of the sandbox on this machine: `make bench-sandbox`. Takes a minute; a missed bar says so.

`instant` is an engine that answers from nothing, so that its figures are the sandbox's own; the others are SQLite's.
Two bare processes that exchange the same frames say what this machine's sockets and Python cost by themselves.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, cast

from datastore import Scope, Store, open_store
from datastore.clock import SystemClock
from datastore.document import Place
from datastore.layout import LAYOUT, Layout
from datastore.ports import Engine
from sandbox import RunLimits, RunResult, Sandbox
from sandbox.inject import connect
from tests.benchmarks.report import line, machine, say
from tests.uids import RUN_AS

ALICE = Scope(user="alice", agent="bench")
CALM_SECONDS = 0.5
"""After which a guest that waits has loaded all that it will."""
LIMITS = RunLimits(calls=10**6, bytes=2**40, in_flight=32)
ONE_CALL = "def run(): return data_store.get('k')"
ONE_AWAITED = "async def run(): return await data_store.aio.get('k')"
SEQUENTIAL = """
import time
def run():
    for _ in range(200): data_store.get('k')
    began = time.perf_counter()
    for _ in range(2000): data_store.get('k')
    return (time.perf_counter() - began) / 2000
"""
TOGETHER = """
import time
async def run():
    get, keys = data_store.aio.get, [f"k{number}" for number in range(32)]
    for _ in range(10): await asyncio.gather(*[get(key) for key in keys])
    began = time.perf_counter()
    for _ in range(100): await asyncio.gather(*[get(key) for key in keys])
    return (time.perf_counter() - began) / 3200
"""
APART = """
import time
async def run():
    places = [data_store.aio.use_namespace(f"n{number}") for number in range(32)]
    for _ in range(10): await asyncio.gather(*[place.get('k') for place in places])
    began = time.perf_counter()
    for _ in range(100): await asyncio.gather(*[place.get('k') for place in places])
    return (time.perf_counter() - began) / 3200
"""
BARE_PEER = """
import json, socket, struct, sys, time
peer = socket.socket(fileno=int(sys.argv[1]))
replies, request = peer.makefile("rb"), {"op": "get", "namespace": "default", "keys": ["k"], "detail": "value"}
def say(number):
    frame = json.dumps({"id": number, **request}).encode()
    peer.sendall(struct.pack(">I", len(frame)) + frame)
def hear():
    return json.loads(replies.read(struct.unpack(">I", replies.read(4))[0]))
for abreast in (1, 32):
    began, rounds = time.perf_counter(), 4000 // abreast
    for _ in range(rounds):
        for number in range(abreast): say(number)
        for _ in range(abreast): hear()
    print((time.perf_counter() - began) / rounds / abreast * 1e6)
"""


class Instant:
    """An engine on which there is nothing, which it says at once."""

    async def get(self, *_: object) -> tuple[list[Any], list[str]]:
        return [], []

    async def peek(self, *_: object) -> list[Any]:
        return []

    async def layout(self) -> Layout:
        return Layout(LAYOUT, LAYOUT)

    async def record(self, _: object) -> None:
        """Nothing was read."""

    async def aclose(self) -> None:
        """Nothing is open."""


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
        for code, name, bar in ((ONE_CALL, "one store call", 44), (ONE_AWAITED, "one call awaited", None)):
            times = [await timed(partial(one, sandbox, code)) for _ in range(25)]
            line(f"cold run, {name}, median", statistics.median(times), "ms", bar)


async def forked(store: Store) -> None:
    """Measure runs whose guest is forked for them, without a pool."""
    async with opened(store, zygote=True) as sandbox:
        await one(sandbox)  # The zygote itself starts.
        times = sorted([await timed(lambda: one(sandbox)) for _ in range(100)])
    line("zygote run, one store call, no pool, median", statistics.median(times), "ms")
    line("zygote run, one store call, no pool, p95", times[94], "ms")


async def warm(
    store: Store, name: str, bar: float | None, *, zygote: bool = False, code: str = ONE_CALL, calm: float = 0.0
) -> None:
    """Measure runs one after another, each when the pool is full again, and has been for some calm seconds."""
    times = []
    async with opened(store, 4, zygote=zygote) as sandbox:
        for _ in range(100):
            await sandbox._pool.full.wait()
            await asyncio.sleep(calm)
            times.append(await timed(partial(one, sandbox, code)))
    times.sort()
    shown = f"warm run, one {'call awaited' if code == ONE_AWAITED else 'store call'}, {name}"
    line(f"{shown}, median", statistics.median(times), "ms", bar)
    line(f"{shown}, p95", times[94], "ms")


async def sustained(store: Store, name: str, bar: float, *, zygote: bool = False, seconds: float = 5.0) -> None:
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
    line(f"sustained runs, {name} of 4, 4 at once", a_second, "runs/s", bar, at_least=True)


async def memory(store: Store, name: str, *, zygote: bool = False) -> None:
    """Measure what waiting guests hold."""
    async with opened(store, 4, zygote=zygote) as sandbox:
        await sandbox._pool.full.wait()
        await asyncio.sleep(CALM_SECONDS)
        pids = [await slot.guest.started() for slot in sandbox._pool._idle]
        statuses = [innermost(pid) for pid in pids if pid is not None]
    held = [int(found[1]) / 1024 for each in statuses if (found := re.search(r"Private_Dirty:\s+(\d+)", each))]
    line(f"memory per waiting slot, {name}, of its own", statistics.mean(held), "MiB")


def innermost(pid: int) -> str:
    """Return the kernel's account of the memory of the process that is the guest itself."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        pid = int(children[0])
    return Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")


async def round_trips(store: Store, name: str, bars: tuple[float | None, float | None]) -> None:
    """Measure one operation from inside a guest."""
    async with opened(store) as sandbox:
        for code, shown, bar in (
            (SEQUENTIAL, "sequential", bars[0]),
            (TOGETHER, "32 pipelined", bars[1]),
            (APART, "32 in 32 namespaces", None),
        ):
            seconds = [(await one(sandbox, code)).output for _ in range(3)]
            line(f"round trip from a guest, {name}, {shown}", statistics.median(seconds) * 1e6, "us", bar)


class Bare(asyncio.Protocol):
    """The host's half of the bare exchange: a reply to each frame, and nothing else."""

    _heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer all frames that are whole."""
        self._heard += data
        answers = b""
        while len(self._heard) >= 4 and len(self._heard) >= (end := 4 + int.from_bytes(self._heard[:4], "big")):
            number = json.loads(self._heard[4:end])["id"]
            frame = json.dumps({"id": number, "ok": {"items": [], "rest": []}}).encode()
            answers += len(frame).to_bytes(4, "big") + frame
            self._heard = self._heard[end:]
        self._transport.write(answers)


async def bare_exchange() -> None:
    """Measure what the same frames cost between two processes that do nothing else."""
    ours, theirs = socket.socketpair()
    with theirs:
        await asyncio.get_running_loop().create_connection(Bare, sock=ours)
        number = theirs.fileno()
        peer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BARE_PEER, str(number)), pass_fds=[number], stdout=asyncio.subprocess.PIPE
        )
    printed, _ = await peer.communicate()
    for shown, figure in zip(("sequential", "32 pipelined"), printed.split(), strict=True):
        line(f"the same frames, two bare processes, {shown}", float(figure), "us")


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
    say(machine())
    instant = Store(cast("Engine", Instant()), clock=SystemClock())
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(f"sqlite:///{folder}/bench.db") as store:
            await cold(store)
            await forked(store)
            await warm(instant, "instant", None)
            await warm(store, "SQLite", 3)
            await warm(store, "SQLite, zygote", None, zygote=True)
            await warm(instant, "instant, calm", None, code=ONE_AWAITED, calm=CALM_SECONDS)
            await sustained(store, "pool", 45)
            await sustained(store, "zygote pool", 200, zygote=True)
            await memory(store, "pool")
            await memory(store, "zygote pool", zygote=True)
            await round_trips(instant, "instant", (60, 12))
            await bare_exchange()
            await round_trips(store, "SQLite", (None, None))
            await without_guest(instant, "instant", 2000)
            await without_guest(store, "SQLite", 1000)
            bare(Path(folder, "bench.db"), 1000)


if __name__ == "__main__":
    asyncio.run(main())
