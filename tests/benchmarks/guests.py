"""Guests of a benchmark: agents in a strict sandbox that time their own calls, a round at a time.

One run lives as long as its row is measured. Between two rounds it waits for a tool of the host, and so takes nothing
from the contender whose turn it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from datastore import Scope
from sandbox import RunLimits, RunResult, Sandbox
from tests.benchmarks import loops
from tests.benchmarks.figures import Sample
from tests.benchmarks.loops import Arguments, Timings

LIMITS: Final = RunLimits(
    wall_seconds=10**5, cpu_seconds=10**5, calls=10**9, bytes=2**50, in_flight=32, memory_bytes=2**30
)
_PATIENCE: Final = 60.0
"""Seconds that a guest may be late."""

_LOOPS: Final = Path(loops.__file__).read_text(encoding="utf-8")
AGENT: Final = f"""{_LOOPS}
import itertools

async def run(input_dict, tools):
    verb, width, given = input_dict["verb"], input_dict["width"], itertools.cycle(input_dict["arguments"])
    timings = None
    while (seconds := await tools["turn"](timings)) is not None:
        if width == 1:
            timings = blocking(getattr(data_store, verb), given, seconds)
        else:
            timings = await waves(getattr(data_store.aio, verb), given, width, seconds)
"""


class GuestError(Exception):
    """A guest ended while it was still to measure something."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"a guest ended with {result.outcome}: {result.error or result.traceback}")


class Guest:
    """One run that measures when it is told to."""

    def __init__(self) -> None:
        self._turns: asyncio.Queue[float | None] = asyncio.Queue()
        self._timings: asyncio.Queue[Timings | None] = asyncio.Queue()
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
        return Sample(*said)

    async def _turn(self, timings: Timings | None) -> float | None:
        self._timings.put_nowait(timings)
        return await self._turns.get()

    async def _said(self, seconds: float = 0) -> Timings | None:
        assert self._run is not None
        said = asyncio.create_task(self._timings.get())
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
