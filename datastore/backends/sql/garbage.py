"""Garbage collection: rows that expired a while ago are removed, some at a time.

Theory of operation: no operation sees an expired row, so this only frees space and may run late, or fail and try
again. It goes by the clock that the store was given, and leaves rows alone for MARGIN after their expiry, so that a
process whose clock is behind does not lose entries that it still counts as live. Each batch is a write of its own:
agents' writes have their turn between two. A row that is being written is left for the next time.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from sqlalchemy import Delete, delete, select

from datastore.backends.sql import layouts
from datastore.backends.sql.journal import SqlJournal
from datastore.backends.sql.runner import Job, Runner
from datastore.backends.sql.schema import EXPIRES, entries, to_ms
from datastore.ports import Clock

EVERY_SECONDS: Final = 60.0
MARGIN: Final = timedelta(seconds=60)
BATCH_ROWS: Final = 250

_log = logging.getLogger(__name__)


def removal(cutoff: int) -> Delete:
    """Return the statement that removes one batch of what expired before the cutoff."""
    some = select(entries.c.id).where(EXPIRES, entries.c.expires_at < cutoff).limit(BATCH_ROWS)
    some = some.with_for_update(skip_locked=True)
    return delete(entries).where(entries.c.id.in_(some))


class Collector:
    """The background task of one store."""

    def __init__(self, runner: Runner, clock: Clock, journal: SqlJournal) -> None:
        self._runner = runner
        self._journal = journal
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Collect every `EVERY_SECONDS` from now on."""
        self._task = asyncio.create_task(self._forever(), name="datastore garbage")

    async def stop(self) -> None:
        """End; what is being removed is removed or not, in whole batches. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def collect(self) -> int:
        """Remove everything that expired long enough ago; return how many rows."""
        cutoff = to_ms(self._clock.now() - MARGIN)

        async def batch(job: Job) -> int:
            return (await job.execute(removal(cutoff))).rowcount

        total = removed = await self._runner.run(batch, writes=True)
        while removed == BATCH_ROWS:
            removed = await self._runner.run(batch, writes=True)
            total += removed
        return total

    async def tidy(self) -> None:
        """Remove what expired and the oldest changes, unless this version is too old for the store."""
        if (await layouts.SqlLayoutRecord(self._runner).read()).refusal is None:
            await self.collect()
            await self._journal.trim(self._clock.now())

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.tidy()
            except Exception:  # noqa: BLE001 - whatever it is, the next try may succeed, and agents need not know
                _log.warning("Garbage collection failed and will be tried again.", exc_info=True)
