"""Guests of a benchmark: agents in a strict sandbox that time their own calls, a round at a time.

One run lives as long as its row is measured. Between two rounds it waits for a tool of the host, and so takes nothing
from the contender whose turn it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from datastore import Scope
from sandbox import RunLimits, RunResult, Sandbox
from tests.benchmarks.figures import Sample
from tests.benchmarks.rounds import Arguments

RUN_AS: Final = "nobody" if os.geteuid() == 0 else None
LIMITS: Final = RunLimits(
    wall_seconds=10**5, cpu_seconds=10**5, calls=10**9, bytes=2**50, in_flight=32, memory_bytes=2**30
)
_PATIENCE: Final = 60.0
"""Seconds that a guest may be late."""

AGENT: Final = """
import asyncio, itertools, time

def one_by_one(call, given, seconds):
    durations = []
    began = now = time.perf_counter()
    while now < began + seconds:
        call(*next(given))
        after = time.perf_counter()
        durations.append(after - now)
        now = after
    return {"durations": durations, "seconds": now - began}

async def waves(call, given, width, seconds):
    durations = []
    async def one():
        began = time.perf_counter()
        await call(*next(given))
        durations.append(time.perf_counter() - began)
    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        await asyncio.gather(*[one() for _ in range(width)])
    return {"durations": durations, "seconds": time.perf_counter() - began}

async def run(input_dict, tools):
    verb, width, given = input_dict["verb"], input_dict["width"], itertools.cycle(input_dict["arguments"])
    sample = None
    while (seconds := await tools["turn"](sample)) is not None:
        if width == 1:
            sample = one_by_one(getattr(data_store, verb), given, seconds)
        else:
            sample = await waves(getattr(data_store.aio, verb), given, width, seconds)
"""


class GuestError(Exception):
    """A guest ended while it was still to measure something."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"a guest ended with {result.outcome}: {result.error or result.traceback}")


class Guest:
    """One run that measures when it is told to."""

    def __init__(self) -> None:
        self._turns: asyncio.Queue[float | None] = asyncio.Queue()
        self._samples: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._run: asyncio.Task[RunResult] | None = None

    @asynccontextmanager
    async def running(
        self, sandbox: Sandbox, scope: Scope, verb: str, arguments: Sequence[Arguments], width: int = 1
    ) -> AsyncIterator[Guest]:
        """Yield the guest, which waits for its first turn; its run ends afterwards."""
        given = {"verb": verb, "width": width, "arguments": [list(each) for each in arguments]}
        started = sandbox.run(AGENT, given, scope=scope, tools={"turn": self._turn}, limits=LIMITS)
        self._run = asyncio.create_task(started, name="benchmark guest")
        try:
            await self._said()
            yield self
        finally:
            self._turns.put_nowait(None)
            async with asyncio.timeout(_PATIENCE):
                await self._run

    async def play(self, seconds: float) -> Sample:
        """Have the guest work for so many seconds.

        Raises:
            GuestError: its run ended.
            TimeoutError: it does not answer.
        """
        self._turns.put_nowait(seconds)
        said = await self._said(seconds)
        assert said is not None
        return Sample(said["durations"], said["seconds"])

    async def _turn(self, sample: dict[str, Any] | None) -> float | None:
        self._samples.put_nowait(sample)
        return await self._turns.get()

    async def _said(self, seconds: float = 0) -> dict[str, Any] | None:
        assert self._run is not None
        said = asyncio.create_task(self._samples.get())
        try:
            async with asyncio.timeout(seconds + _PATIENCE):
                await asyncio.wait({said, self._run}, return_when=asyncio.FIRST_COMPLETED)
            if said.done():
                return said.result()
            raise GuestError(self._run.result())
        finally:
            said.cancel()


class Guests:
    """Several runs of different users that measure at the same time."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        self._guests = guests

    @classmethod
    @asynccontextmanager
    async def running(
        cls, sandbox: Sandbox, scopes: Sequence[Scope], verb: str, arguments: Sequence[Arguments]
    ) -> AsyncIterator[Guests]:
        """Yield a guest for each scope; they begin at different arguments."""
        async with AsyncExitStack() as running:
            guests = []
            for number, scope in enumerate(scopes):
                mine = [*arguments[number:], *arguments[:number]]
                guests.append(await running.enter_async_context(Guest().running(sandbox, scope, verb, mine)))
            yield cls(guests)

    async def play(self, seconds: float) -> Sample:
        """Have all of them work for so many seconds."""
        return Sample.together(await asyncio.gather(*(each.play(seconds) for each in self._guests)))
