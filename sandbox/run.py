"""One run: a slot and a broker, from the start message to the end of the last operation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from datastore.errors import StoreUnavailable
from datastore.models import Scope
from datastore.service.store import Store
from sandbox import verdict
from sandbox.broker import Broker
from sandbox.guest import wire
from sandbox.limits import RunLimits
from sandbox.pool import NoSlot, Pool
from sandbox.record import Record
from sandbox.result import Event, RunResult, Stats
from sandbox.slot import Slot, finish, leave
from sandbox.tools import ToolBox

Message = dict[str, Any]


class Run:
    """One run, from its slot to its result."""

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
        self._user = scope.user
        self._limits = limits
        self._record = Record(limits, on_event)
        self._broker = Broker(store, scope, limits, tools=tools, record=self._record, say=self._hear)
        bounds = {
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "threads": limits.threads if threads_bounded else None,
        }
        self._start = wire.pack({"start": {**start, **tools.listing(), "limits": bounds}})
        self._verdict: asyncio.Future[RunResult] = asyncio.get_running_loop().create_future()

    async def go(self, pool: Pool) -> RunResult:
        """Take a slot, give it the agent, and return how that ended; no operation of the run goes on then.

        Raises:
            SandboxUnavailable: no guest could be started.
        """
        try:
            slot, stats = await pool.take(self._user, self._limits.start_seconds)
        except NoSlot as error:
            return RunResult("no_slot", error=str(error), stats=error.stats)
        began = time.perf_counter()
        try:
            result = await self._converse(slot)
            stats = replace(stats, run_seconds=time.perf_counter() - began, peak_memory_bytes=slot.peak_memory_bytes())
        finally:
            await finish(self._end(slot, pool))
        await self._flush()
        return self._reported(result, stats)

    async def _converse(self, slot: Slot) -> RunResult:
        """Hand the agent to the guest, and return its verdict, or the host's."""
        slot.hand_over(self._broker, self._broker.hello() + self._start)
        with self._store.blocks.watched(self._user) as blocked:
            timely = await self._until(blocked, self._limits.wall_seconds)
        if self._broker.violation is not None:
            return RunResult("limit", limit="protocol", error=f"the agent broke the protocol: {self._broker.violation}")
        if self._verdict.done():
            return self._verdict.result()
        if blocked.is_set():
            return RunResult("limit", limit="blocked", error="an operator blocked the user of this run, and ended it")
        if not timely:
            late = f"the run did not end within {self._limits.wall_seconds:g} seconds"
            return RunResult("limit", limit="wall_seconds", error=late)
        if not await leave(slot.guest):
            return RunResult("raised", error="the agent closed its connection to the host and went on without it")
        return verdict.of_status(await slot.guest.wait(), slot.guest.cpu_seconds, self._limits)

    async def _end(self, slot: Slot, pool: Pool) -> None:
        """End the run's operations, then the guest: at once, unless it has given its verdict and leaves by itself."""
        if not self._verdict.done():
            slot.kill()
        await self._broker.close()
        await pool.retire(slot)

    def _reported(self, result: RunResult, stats: Stats) -> RunResult:
        record = self._record
        return replace(
            result,
            log=record.text(),
            log_dropped=record.log_dropped,
            operations=tuple(record.operations),
            operations_dropped=record.operations_dropped,
            stats=replace(stats, calls=record.calls, bytes_in=record.bytes_in, bytes_out=record.bytes_out),
        )

    async def _until(self, blocked: asyncio.Event, seconds: float) -> bool:
        """Wait for the verdict, the end of the connection, a block, or the deadline; say whether one came in time."""
        others: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(each.wait()) for each in (self._broker.lost, blocked)
        ]
        try:
            done, _ = await asyncio.wait({self._verdict, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in others:
                each.cancel()
        return bool(done)

    def _hear(self, message: Message) -> None:
        """Take a message that is neither a call nor log."""
        if self._verdict.done():
            raise wire.ProtocolError("a message out of turn")
        self._verdict.set_result(verdict.of_message(message))

    async def _flush(self) -> None:
        """Write the reads of this run; where the store is away they wait for it."""
        try:
            await self._store.flush()
        except StoreUnavailable:
            return
