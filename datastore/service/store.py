"""The store: the one place that orders the guards.

Rate, policy, blocks, quota, values, then the engine, then the observers.

A store belongs to the process and the event loop that opened it, and says so when it is used from another.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Protocol

from datastore import deadlines
from datastore.deadlines import TIMEOUT_SECONDS
from datastore.document import Place, moment
from datastore.entry import Entry
from datastore.errors import NotSupported, StoreUnavailable
from datastore.metering import WRITTEN
from datastore.models import NO_LIMITS, Limits, Scope, operator_scope
from datastore.operations import (
    Answer,
    Apply,
    Clear,
    Copy,
    Count,
    Get,
    GetUsage,
    Namespaces,
    Number,
    Operation,
    Scan,
    Watch,
)
from datastore.ports import FRESH_SECONDS, Clock, Engine, Observer
from datastore.quotas import Amount, Growth, Quota
from datastore.service import atomics, crowds, policy, reads, writes
from datastore.service.audit import Audit
from datastore.service.blocks import Blocks, guarded
from datastore.service.metrics import Metrics
from datastore.service.overrides import EVERY_SECONDS, Override
from datastore.service.quota import Quotas, check, concerns, told
from datastore.service.rates import Rates
from datastore.service.tracking import Tracking
from datastore.service.watching import Watching


class Dependent(Protocol):
    """What uses a store, and ends before it."""

    async def close(self) -> None:
        """End; every operation that was begun has ended then."""


class Store:
    """Executes operations for scopes on one engine.

    Args:
        engine: the opened backend; the store closes it.
        clock: where time comes from.
        flush_seconds: how often counted reads are written.
        timeout_seconds: deadline of an operation, whatever it waits for; of a watch, beyond what it was told to wait.
        limits: what is accepted from everybody, unless an operator has set something else for a user or space.
        overrides_seconds: how often the store looks for what operators have set.
        observers: told of every operation, after tracking.
        audit: told of every operation, and asked before it, if it is on; the store closes it.
        metrics: an observer that a host can ask for its top users.
        fresh_seconds: how long this host may act on what it knows of blocked users; erasures count on the default.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        flush_seconds: float = 1.0,
        timeout_seconds: float = TIMEOUT_SECONDS,
        limits: Limits = NO_LIMITS,
        overrides_seconds: float = EVERY_SECONDS,
        observers: Sequence[Observer] = (),
        audit: Audit | None = None,
        metrics: Metrics | None = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self.blocks = Blocks(engine, clock, fresh_seconds)
        self.engine = engine
        self.guarded = guarded(engine, self.blocks)
        self.clock = clock
        self._timeout_seconds = timeout_seconds
        self.quotas = Quotas(engine, clock, limits, overrides_seconds)
        self._watching = Watching(engine, clock, timeout_seconds)
        self._tracking = Tracking(engine, clock, flush_seconds)
        self.audit = audit or Audit(engine, clock)
        self._audited = self.audit.notes != "none"
        self.metrics = metrics
        optional: list[Observer] = [*([self.audit] if self._audited else []), *([] if metrics is None else [metrics])]
        self._observers: tuple[Observer, ...] = (self._tracking, *observers, *optional)
        self._rates = Rates()
        self._crowds = crowds.Crowds()
        self._home = (os.getpid(), asyncio.get_running_loop())
        self._dependents: set[Dependent] = set()
        self._closing = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that this store belongs to."""
        return self._home[1]

    async def execute(self, scope: Scope, operation: Operation) -> Answer:
        """Do one operation for one scope.

        Raises:
            DataStoreError: refused, in conflict, or the engine is away.
        """
        started = time.perf_counter()
        WRITTEN.set(0)
        self._check_home()
        with deadlines.within(self._timeout_seconds + (operation.wait_seconds if isinstance(operation, Watch) else 0)):
            return await self._observed(scope, operation, started)

    async def _observed(self, scope: Scope, operation: Operation, started: float) -> Answer:
        if self._audited:
            await self.audit.admit(operation)
        try:
            self._rates.spend(scope)
            now = await self._admitted(scope, operation)
            if (place := crowds.place_of(scope, operation)) is None:
                answer = await self._bounded(scope, operation, now)
            else:
                async with self._crowds.within(scope.user, place):
                    answer = await self._bounded(scope, operation, await self._admitted(scope, operation))
        except BaseException as error:
            self._tell(scope, operation, error, started)
            raise
        self._tell(scope, operation, answer, started)
        return answer

    async def restore(self, place: Place, entries: Sequence[Entry], *, replace: bool) -> list[str]:
        """Put entries of a place back as they are, within its owner's quota; no operation, and so no agent, can.

        Returns:
            The keys whose entries were left standing; see `Inspector.restore`.

        Raises:
            QuotaExceeded: there is no room for all of them; nothing was written.
        """
        self._check_home()
        quota = (await self.quotas.bounds(operator_scope(place.owner, "import"), None)).quota
        return await self.guarded.restore(place, entries, moment(self.clock.now()), replace=replace, quota=quota)

    async def check_room(self, owner: str, growth: Mapping[str, Growth], override: Override | None = None) -> None:
        """Refuse what several writes together would add to an owner's stored namespaces, before the first of them.

        Args:
            owner: whose they are.
            growth: what is added, by stored namespace, and to `WHOLE`.
            override: what will be set for the owner before; None: what is set now.

        Raises:
            QuotaExceeded: there is no room.
        """
        quota = (await self.quotas.bounds(operator_scope(owner, "import"), None, override)).quota
        if quota is not None:
            held = await self.engine.usage(owner, moment(self.clock.now()))
            check(quota, {name: Amount(each.bytes, each.keys) for name, each in held.items()}, growth)

    async def flush(self) -> None:
        """Write the reads that were counted so far."""
        self._check_home()
        await self._tracking.flush()

    def attach(self, dependent: Dependent) -> None:
        """Remember something that uses this store and is to be closed before it.

        Raises:
            StoreUnavailable: the store is closed, or being closed.
        """
        if self._closing:
            raise StoreUnavailable("the store is closed, so nothing new can use it", advice="Open it again.")
        self._dependents.add(dependent)

    def detach(self, dependent: Dependent) -> None:
        """Forget something that has ended by itself."""
        self._dependents.discard(dependent)

    async def aclose(self) -> None:
        """Close what uses the store, write counted reads and the audit log, release the engine.

        Raises:
            StoreUnavailable: rows of the audit log are lost.
        """
        self._closing = True
        async with AsyncExitStack() as closing:  # From the last to the first, whichever fails.
            for part in (self.engine, self.audit, self._tracking, self.quotas, self.blocks, self._watching):
                closing.push_async_callback(part.aclose)
            for dependent in list(self._dependents):
                await dependent.close()

    async def _admitted(self, scope: Scope, operation: Operation) -> datetime:
        """Return the time, at which the scope may do the operation; asked again after every wait.

        What agents of a blocked user do is refused; an operator looks at what is there, and removes it.
        """
        now = moment(self.clock.now())
        policy.require(scope, operation, now)
        if not scope.operator:
            await self.blocks.refuse(scope.user)
        return now

    def _tell(self, scope: Scope, operation: Operation, outcome: Answer | BaseException, started: float) -> None:
        seconds = time.perf_counter() - started
        for observer in self._observers:
            observer.saw(scope, operation, outcome, seconds)

    def _check_home(self) -> None:
        pid, loop = self._home
        if os.getpid() != pid:
            raise NotSupported("this store was opened before a fork. Open one in the child: open_store(url).")
        if asyncio.get_running_loop() is not loop:
            raise NotSupported("this store was opened in another event loop. Open one in this loop: open_store(url).")

    async def _bounded(self, scope: Scope, operation: Operation, now: datetime) -> Answer:
        """Answer within the limits that apply to whose data it is."""
        if not concerns(operation):
            return await self._answer(scope, operation, now, None)
        bounded, quota = await self.quotas.scoped(scope, operation)
        with told(scope):
            return await self._answer(bounded, operation, now, quota)

    async def _answer(self, scope: Scope, operation: Operation, now: datetime, quota: Quota | None) -> Answer:
        engine = self.guarded
        match operation:
            case Get():
                return await reads.get(engine, scope, operation, now)
            case Scan():
                return await reads.scan(engine, scope, operation, now)
            case Namespaces():
                return await reads.namespaces(engine, scope, operation, now)
            case Count():
                place = policy.place(scope, operation.namespace, operation.space)
                return Number(await engine.count(place, operation.prefix, now))
            case GetUsage():
                return await reads.usage(engine, scope, operation, now)
            case Apply():
                apply = atomics.apply if operation.atomic else writes.apply
                return await apply(engine, scope, operation, self.clock, quota)
            case Clear():
                place = policy.place(scope, operation.namespace, operation.space)
                return Number(await engine.clear(place, operation.prefix, now))
            case Copy():
                return await writes.copy(engine, scope, operation, now, quota)
            case Watch():
                notices = await self._watching.answer(scope, operation)
                await self._admitted(scope, operation)
                return notices
