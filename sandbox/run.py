"""One run: a process, a socket and a broker, from the start message to the end of the last operation."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from datastore.errors import SandboxUnavailable, StoreUnavailable
from datastore.models import Scope
from datastore.service.store import Store
from sandbox import verdict
from sandbox.broker import Broker
from sandbox.bundle import bootstrap
from sandbox.guest.wire import ProtocolError
from sandbox.isolation import Guest, Level, explain
from sandbox.limits import RunLimits
from sandbox.record import Record
from sandbox.result import Event, RunResult, Stats
from sandbox.tools import ToolBox

_LEAVE_SECONDS: Final = 1.0

Message = dict[str, Any]


class Run:
    """One run, from its process to its result."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        limits: RunLimits,
        tools: ToolBox,
        on_event: Callable[[Event], None] | None,
        start: Message,
        *,
        threads_bounded: bool,
    ) -> None:
        self._store = store
        self._limits = limits
        self._record = Record(limits, on_event)
        self._broker = Broker(store, scope, limits, tools=tools, record=self._record, say=self._hear)
        bounds = {
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "threads": limits.threads if threads_bounded else None,
        }
        self._start = {"start": {**start, **tools.listing(), "limits": bounds}}
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._verdict: asyncio.Future[RunResult] = loop.create_future()

    async def go(self, level: Level) -> RunResult:
        """Start a guest, give it the agent, and return how that ended; nothing of the run is left then.

        Raises:
            SandboxUnavailable: no guest could be started.
        """
        began = time.perf_counter()
        async with AsyncExitStack() as stack:
            guest = await self._spawn(level, stack)
            await self._until(self._ready, self._limits.start_seconds)
            if not self._ready.done():
                raise await _no_start(guest)
            ready = time.perf_counter()
            self._broker.send(self._start)
            timely = await self._until(self._verdict, self._limits.wall_seconds)
            ended = time.perf_counter()
            if timely and not self._verdict.done():
                await _leave(guest)
        result = await self._judge(guest, timely=timely)
        await self._flush()
        stats = Stats(
            calls=self._record.calls,
            bytes_in=self._record.bytes_in,
            bytes_out=self._record.bytes_out,
            start_seconds=ready - began,
            run_seconds=ended - ready,
        )
        return replace(
            result,
            log=self._record.text(),
            log_dropped=self._record.log_dropped,
            operations=tuple(self._record.operations),
            stats=stats,
        )

    async def _spawn(self, level: Level, stack: AsyncExitStack) -> Guest:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            ours.send(self._broker.hello())
            await self._broker.attach(ours)
            stack.push_async_callback(self._broker.close)
            guest = level.spawn(bootstrap(), theirs)
        stack.push_async_callback(_end, guest)
        return guest

    async def _until(self, future: asyncio.Future[Any], seconds: float) -> bool:
        """Wait for a message of the guest, the end of its connection, or the deadline; say whether it came in time."""
        lost = asyncio.ensure_future(self._broker.lost.wait())
        try:
            done, _ = await asyncio.wait({future, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        return bool(done)

    def _hear(self, message: Message) -> None:
        """Take a message that is neither a call nor log."""
        if not self._ready.done() and message == {"ready": True}:
            self._ready.set_result(None)
        elif self._ready.done() and not self._verdict.done():
            self._verdict.set_result(verdict.of_message(message))
        else:
            raise ProtocolError("a message out of turn")

    async def _judge(self, guest: Guest, *, timely: bool) -> RunResult:
        if self._broker.violation is not None:
            return RunResult("limit", limit="protocol", error=f"the agent broke the protocol: {self._broker.violation}")
        if self._verdict.done():
            return self._verdict.result()
        if not timely:
            late = f"the run did not end within {self._limits.wall_seconds:g} seconds"
            return RunResult("limit", limit="wall_seconds", error=late)
        return verdict.of_status(await guest.wait())

    async def _flush(self) -> None:
        """Write the reads of this run; where the store is away they wait for it."""
        try:
            await self._store.flush()
        except StoreUnavailable:
            return


async def _leave(guest: Guest) -> None:
    """Let a guest that has closed its socket end by itself, so that its exit status says why."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(guest.wait(), _LEAVE_SECONDS)


async def _end(guest: Guest) -> None:
    guest.kill()
    await guest.wait()


async def _no_start(guest: Guest) -> SandboxUnavailable:
    if said := await guest.stderr():
        return explain(said)
    return SandboxUnavailable("the guest did not start in time", "Raise RunLimits.start_seconds, or lower the load.")
