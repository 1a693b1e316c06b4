"""Counts reads without making them wait: merged in memory, written in bulk about once a second.

A read adds to a buffer; a flush writes the buffer's merged counts. A crash loses at most the counts of the last
interval, never data. Counts of an entry that this host deletes are dropped with it, and the engine drops the rest,
because every count is tied to the creation time of its entry.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from datastore.document import Place, moment
from datastore.entry import Entry
from datastore.errors import StoreUnavailable
from datastore.models import Scope
from datastore.operations import Answer, Apply, Clear, Delete, Found, Get, Operation, Page, Scan
from datastore.ports import Access, Backend, Clock
from datastore.service import policy

_log = logging.getLogger("datastore.tracking")

MOST_PENDING: Final = 50_000
"""Distinct (entry, agent) pairs that wait at most; beyond it further counts are dropped and the log says so."""

_Mark = tuple[Place, str, object, str]


class Tracking:
    """The observer that counts reads."""

    def __init__(self, backend: Backend, clock: Clock, flush_seconds: float) -> None:
        self._backend = backend
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._pending: dict[_Mark, Access] = {}
        self._dropped = 0
        self._waiting = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._flushes: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._flush_forever(), name="datastore access flush")

    def saw(self, scope: Scope, operation: Operation, outcome: Answer | BaseException, seconds: float) -> None:  # noqa: ARG002 - the port's signature
        """Count the entries that a read returned; forget those that a delete removed."""
        if isinstance(operation, (Get, Scan)) and isinstance(outcome, (Found, Page)) and not scope.operator:
            if entries := [each for each in outcome.items if isinstance(each, Entry)]:
                self._count(scope, policy.place(scope, operation.namespace, operation.space), entries)
        elif isinstance(operation, (Apply, Clear)) and not isinstance(outcome, BaseException) and self._pending:
            self._forget(scope, operation)

    def _count(self, scope: Scope, place: Place, entries: list[Entry]) -> None:
        now = moment(self._clock.now())
        for entry in entries:
            self._add(Access(place, entry.key, entry.created_at, scope.agent, 1, now))
        self._waiting.set()

    def _add(self, access: Access) -> None:
        mark = (access.place, access.key, access.created_at, access.agent)
        if (known := self._pending.get(mark)) is not None:
            last = max(known.last, access.last)
            self._pending[mark] = replace(known, count=known.count + access.count, last=last)
        elif len(self._pending) < MOST_PENDING:
            self._pending[mark] = access
        else:
            self._dropped += access.count

    def _forget(self, scope: Scope, operation: Apply | Clear) -> None:
        if isinstance(operation, Clear):
            place = policy.place(scope, operation.namespace, operation.space)
            gone = [m for m in self._pending if m[0] == place and m[1].startswith(operation.prefix)]
        else:
            deletes = [each for each in operation.mutations if isinstance(each, Delete)]
            deleted = {(policy.home(scope, operation, each), each.key) for each in deletes}
            gone = [m for m in self._pending if m[:2] in deleted] if deleted else []
        for mark in gone:
            del self._pending[mark]

    async def flush(self) -> None:
        """Write what is pending; where the engine does not answer, it stays pending.

        Whoever is cancelled leaves the writing to go on: what is on its way may be written, and must not be so twice.
        """
        task = asyncio.create_task(self._flush(), name="datastore access flush")
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)
        await asyncio.shield(task)

    async def _flush(self) -> None:
        async with self._flushing:
            batch, self._pending = self._pending, {}
            if not batch:
                return
            try:
                await self._backend.record(list(batch.values()))
            except BaseException:
                for access in batch.values():
                    self._add(access)
                raise
            finally:
                self._report_dropped()

    def _report_dropped(self) -> None:
        if self._dropped:
            _log.warning("%d reads were not counted: the buffer of %d entries was full", self._dropped, MOST_PENDING)
            self._dropped = 0

    async def _flush_forever(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            await asyncio.sleep(self._flush_seconds)
            try:
                await self.flush()
            except StoreUnavailable:
                self._waiting.set()
            except Exception:  # noqa: BLE001 - the interval outlives one failed flush; the log has the reason
                _log.exception("counted reads could not be written")
                self._waiting.set()

    async def aclose(self) -> None:
        """Stop the interval and write the rest."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.flush()
        except StoreUnavailable:
            _log.warning("the counts of %d reads were lost: the store is away", len(self._pending))
