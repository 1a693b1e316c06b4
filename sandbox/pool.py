"""Warm slots for the runs of one sandbox: bounded, single-use, refilled in the background.

Everything happens on one event loop, and every change of state ends in `_serve`, which gives slots to those whose turn
it is, or in `_refill`, which starts what is missing. A slot is in one place at a time: starting, idle, with a run,
or ending. Slots that cannot be started are tried again more and more slowly, and so are those that die before anybody
takes one; after five failed starts in a row nobody is left waiting for them, until one has succeeded. One subject, so
longer than most files.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from datastore.errors import SandboxUnavailable
from datastore.queue import Queue
from sandbox.isolation import Level
from sandbox.limits import PoolLimits
from sandbox.result import Stats
from sandbox.slot import Slot

MOST_FAILURES: Final = 5

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 0.02
_LEAVE_SECONDS: Final = 0.02

_log = logging.getLogger("datastore.sandbox")


class NoSlot(Exception):  # noqa: N818 - an outcome of a run, not an error that anybody catches
    """No slot became free for a run; nothing was run."""

    stats = Stats()


class Pool:
    """Slots of one level.

    Args:
        level: starts guests; prepared before `open`.
        limits: how many, and how long.
        pause: waits before a start is tried again.
    """

    def __init__(
        self, level: Level, limits: PoolLimits, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._level = level
        self._limits = limits
        self._pause = pause
        self._abreast = min(limits.size, os.cpu_count() or 1)
        self._is_open = False
        self._idle: dict[Slot, asyncio.TimerHandle] = {}
        self._waiting: Queue[Slot | None] = Queue()
        self._starts: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._running = 0
        self._failures = 0
        self._deaths = 0
        self._last: SandboxUnavailable | None = None
        self.full = asyncio.Event()

    def open(self) -> None:
        """Begin to fill the pool."""
        self._is_open = True
        self._refill()

    async def close(self) -> None:
        """End every slot; return when nothing is left of them. Runs have ended before."""
        self._is_open = False
        if self._later is not None:
            self._later.cancel()
        while self._waiting:
            self._waiting.pop().cancel()
        for task in self._starts:
            task.cancel()
        while self._idle or self._starts or self._ends:
            for slot in list(self._idle):
                self._discard(slot)
            await asyncio.wait(self._starts | self._ends)

    async def take(self, user: str, start_seconds: float) -> tuple[Slot, Stats]:
        """Return a slot that nobody has had, and how long that took; give it to `retire` afterwards.

        Args:
            user: in whose line to wait; users take turns.
            start_seconds: how long a start may take, where no slots are kept.

        Raises:
            NoSlot: too many wait already, or none became free in time.
            SandboxUnavailable: guests cannot be started at present.
        """
        began = time.perf_counter()
        try:
            slot = await self._turn(user)
        except NoSlot as refusal:
            refusal.stats = Stats(queue_seconds=time.perf_counter() - began)
            raise
        granted = time.perf_counter()
        if slot is None:
            try:
                slot = await Slot.start(self._level, start_seconds)
            except BaseException:
                self._leave()
                raise
        return slot, Stats(queue_seconds=granted - began, start_seconds=time.perf_counter() - granted)

    async def retire(self, slot: Slot) -> None:
        """End a slot that a run has had and whose connection is closed; it counts as running until it is gone.

        A pool does so in the background. Where none is kept, nothing of the run is left when this returns.
        """
        task = self._spawn_task(self._ends, self._dismiss(slot) if self._limits.size else slot.end())
        task.add_done_callback(lambda _: self._leave())
        if not self._limits.size:
            await asyncio.wait({task})

    @staticmethod
    async def _dismiss(slot: Slot) -> None:
        """Let a guest see that its socket is closed and leave; killing it would hold up the run's result."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(slot.guest.wait(), _LEAVE_SECONDS)
        await slot.end()

    async def _turn(self, user: str) -> Slot | None:
        """Wait for a slot, or, where none is kept, for leave to start one."""
        if self._failures >= MOST_FAILURES and not self._idle:
            raise self._unavailable()
        waiter = self._waiting.join(user)
        self._serve()
        if not waiter.done():
            self._make_room(user)
            self._refill()
            await self._queue(user, waiter)
        return waiter.result()

    def _make_room(self, newcomer: str) -> None:
        if len(self._waiting) > self._limits.queue_size:
            reason = f"{self._limits.queue_size:,} runs wait for a slot already"
            self._waiting.drop(newcomer).set_exception(NoSlot(reason))

    async def _queue(self, user: str, waiter: asyncio.Future[Slot | None]) -> None:
        seconds = self._limits.queue_seconds
        try:
            await asyncio.wait({waiter}, timeout=seconds)
        except asyncio.CancelledError:
            self._withdraw(user, waiter)
            raise
        if not waiter.done():
            self._withdraw(user, waiter)
            raise NoSlot(f"no slot became free within {seconds:g} seconds")

    def _withdraw(self, user: str, waiter: asyncio.Future[Slot | None]) -> None:
        """Forget a run that no longer waits; what it was given in the same moment goes to the next one."""
        if not waiter.done():
            self._waiting.leave(user, waiter)
        elif not waiter.cancelled() and waiter.exception() is None:
            if (slot := waiter.result()) is not None:
                self._keep(slot)
            self._leave()

    def _serve(self) -> None:
        while self._waiting and self._running < self._limits.runs_at_once:
            slot = self._longest_idle() if self._limits.size else None
            if slot is None and self._limits.size:
                return
            self._running += 1
            self._waiting.pop().set_result(slot)
            if slot is not None:
                self._refill_soon()

    def _longest_idle(self) -> Slot | None:
        """Take the slot that has waited longest, passing over those that have died unnoticed."""
        while self._idle:
            slot = next(iter(self._idle))
            if slot.is_alive():
                self._idle.pop(slot).cancel()
                slot.on_lost = None
                self._deaths = 0
                return slot
            self._died(slot)
        return None

    def _leave(self) -> None:
        self._running -= 1
        self._serve()

    def _keep(self, slot: Slot) -> None:
        """Put a slot among the idle ones, for a time that differs, so that they are not all replaced at once."""
        seconds = self._limits.slot_idle_seconds * random.uniform(0.75, 1)  # noqa: S311 - no secret
        slot.on_lost = self._died
        self._idle[slot] = asyncio.get_running_loop().call_later(seconds, self._recycle, slot)
        if len(self._idle) >= self._limits.size:
            self.full.set()

    def _recycle(self, slot: Slot) -> None:
        self._discard(slot)
        self._refill()

    def _died(self, slot: Slot) -> None:
        """Replace a slot; of those that died together, as with the zygote they came from, one counts."""
        _log.warning("an idle guest ended by itself")
        if slot.generation == self._deaths:
            self._deaths += 1
        self._recycle(slot)

    def _discard(self, slot: Slot) -> None:
        self._idle.pop(slot).cancel()
        self.full.clear()
        slot.on_lost = None
        slot.kill()
        self._spawn_task(self._ends, slot.end())

    def _refill_soon(self) -> None:
        """Replace a taken slot: a start costs the loop a millisecond, which the run that took the slot has first."""
        self.full.clear()
        if self._waiting or not self._idle:
            self._refill()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._refill)

    def _refill(self) -> None:
        """Start what is missing: several abreast, or one at a time while starts fail."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        abreast = 1 if self._failures or self._deaths else self._abreast
        while self._is_open and len(self._starts) < min(abreast, self._limits.size - len(self._idle)):
            self._spawn_task(self._starts, self._start()).add_done_callback(lambda _: self._refill())

    async def _start(self) -> None:
        if troubles := self._failures + self._deaths:
            await self._pause(pause_seconds(troubles))
        generation = self._deaths
        try:
            slot = await Slot.start(self._level, self._limits.start_seconds)
        except SandboxUnavailable as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever a level raises, those who wait must be told
            self._failed(SandboxUnavailable(f"a guest's start raised {type(error).__name__}: {error}", _REPORT))
        else:
            self._failures = 0
            slot.generation = generation
            self._keep(slot)
            self._serve()

    def _failed(self, error: SandboxUnavailable) -> None:
        self._failures += 1
        self._last = error
        _log.warning("a guest could not be started (%d in a row): %s", self._failures, error)
        while self._failures >= MOST_FAILURES and self._waiting:
            self._waiting.pop().set_exception(self._unavailable())

    def _unavailable(self) -> SandboxUnavailable:
        assert self._last is not None  # noqa: S101 - it is there as soon as one has failed
        fields = self._last.fields
        reason = f"{self._failures} starts of a guest failed in a row, the last one because {fields['reason']}"
        return SandboxUnavailable(reason, fields["remedy"])

    @staticmethod
    def _spawn_task(group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        group.add(task)
        task.add_done_callback(group.discard)
        return task


_REPORT: Final = "Look into the host's log, and run a guest by hand as the launching account."


def pause_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row: doubling, bounded, and never twice the same."""
    longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 32), _LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1)  # noqa: S311 - spreads the load, no secret
