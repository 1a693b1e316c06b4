"""The observer that writes the audit log: off the path of answers, and nothing is dropped.

Theory of operation:

- `admit` keeps room in a bounded buffer for the rows that an operation may need, before anything is done. Where there
  is none it waits, first come first served, for so long at most, and then refuses: what cannot be audited is not done.
- `saw` puts the rows there. They are chained and written in bulk, about once a second, or as soon as somebody waits
  for room. A row leaves the buffer when the engine has it; until then it is sent again, which the engine bears.
- `aclose` waits for what is being done, and writes the rest. What a process that is killed had not written is lost:
  the last second, or all since the engine went away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextvars import Context
from datetime import datetime
from typing import Final

from datastore import deadlines
from datastore.chain import Chain, Deed, Row
from datastore.deadlines import TIMEOUT_SECONDS
from datastore.document import moment
from datastore.errors import StoreUnavailable, after
from datastore.models import Scope
from datastore.operations import Answer, Operation
from datastore.ports import Clock, Ledger
from datastore.service import deeds
from datastore.service.heads import Heads
from datastore.settings import Auditing

_log = logging.getLogger("datastore.audit")

FLUSH_SECONDS: Final = 1.0
MOST_PENDING: Final = 20_000
"""Rows that wait to be written, or are kept room for, at most; one operation needs 1,000 at most."""
BATCH_ROWS: Final = 1000
"""What is written at a time; others' writes have their turn between."""
_AT_A_TIME: Final = 50


class Audit:
    """The audit of one store.

    Args:
        ledger: where rows go.
        clock: the store's.
        notes: nothing, writes (and deletes and refusals), or all, reads too.
        heads: who is told the head after each write.
        wait_seconds: how long an operation waits for room, and a close for the rest.
        flush_seconds: how often rows are written.
        most: how many rows the buffer holds.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        notes: Auditing = "none",
        *,
        heads: Heads | None = None,
        wait_seconds: float = TIMEOUT_SECONDS,
        flush_seconds: float = FLUSH_SECONDS,
        most: int = MOST_PENDING,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._heads = heads or Heads(None)
        self.notes = notes
        self._reads = notes == "all"
        self._wait_seconds = wait_seconds
        self._flush_seconds = flush_seconds
        self._free = most
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._inside = 0
        self._noted: deque[tuple[datetime, Deed]] = deque()
        self._batch: list[Row] = []
        self._chain = Chain()
        self._closing = self._has_ended = False
        self._wanted, self._hurry, self._settled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def admit(self, operation: Operation) -> None:
        """Keep room for what the operation may need.

        Raises:
            StoreUnavailable: there is none, or the store is being closed; nothing was done.
        """
        await self.keep(deeds.most(operation, reads=self._reads))

    def saw(self, scope: Scope, operation: Operation, outcome: Answer | BaseException, seconds: float) -> None:
        """Note what was done or refused, in the room that `admit` kept."""
        del seconds
        kept = deeds.most(operation, reads=self._reads)
        self.note(deeds.of(scope, operation, outcome, reads=self._reads), kept)

    async def keep(self, rows: int) -> None:
        """Keep room for so many rows, after whoever waits already; `note` must follow.

        Raises:
            StoreUnavailable: as `admit`.
        """
        if self._task is None:
            # In a context of its own: it works for all operations, after the deadline of this one too.
            self._task = asyncio.create_task(self._flush_forever(), name="datastore audit flush", context=Context())
        if self._closing:
            raise StoreUnavailable("the store is being closed", advice="Open it again.")
        if self._queue or self._free < rows:
            await self._wait(rows)
        else:
            self._free -= rows
            self._inside += 1

    def note(self, done: Iterable[Deed], kept: int) -> None:
        """Put rows where room was kept, and give back the room that is left."""
        now, before = moment(self._clock.now()), len(self._noted)
        self._noted.extend((now, each) for each in done)
        self._inside -= 1
        self._give(kept - len(self._noted) + before)
        self._wanted.set()

    @contextlib.asynccontextmanager
    async def noting(self, most: int, *, read: bool = False) -> AsyncIterator[list[Deed]]:
        """Note what an operator does past operations: what stands in the list at the end, so many rows at most.

        Raises:
            StoreUnavailable: as `admit`.
        """
        done: list[Deed] = []
        if self.notes == "none" or (read and not self._reads):
            yield done
            return
        await self.keep(most)
        try:
            yield done
        finally:
            self.note(done, most)

    async def announce(self, deed: Deed) -> None:
        """Write down what is about to be done to the log itself, whatever it notes besides; it is written on return.

        Raises:
            StoreUnavailable: it could not be.
        """
        await self.keep(1)
        self.note([deed], 1)
        with after(True, "what is to be done was noted"):  # It is written later where it cannot be now.
            await self.flush()

    async def flush(self) -> None:
        """Write what was noted so far; where the engine does not answer, it stays.

        Raises:
            StoreUnavailable: the engine is away.
        """
        async with self._flushing:
            left = len(self._batch) + len(self._noted)
            while left > 0:
                await self._fill()
                await self._ledger.append(self._batch)
                written, self._batch = self._batch, []
                left -= len(written)
                self._give(len(written))
                await self._heads.tell(written[-1].head)

    async def _fill(self) -> None:
        """Chain rows that wait, a few at a time, so that nobody's answer waits for many."""
        while self._noted and len(self._batch) < BATCH_ROWS:
            self._batch.append(self._chain.add(*self._noted.popleft()))
            if len(self._batch) % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Admit nothing more, wait for what is being done, and write the rest.

        Raises:
            StoreUnavailable: the engine is away; says how many rows are lost.
        """
        self._closing = True
        if self._task is None:
            return
        self._hurry.set()
        self._wanted.set()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._settled.wait()
        except TimeoutError as error:
            lost = len(self._batch) + len(self._noted) + self._inside
            raise StoreUnavailable(
                f"{lost:,} rows of the audit log are lost: the store did not take them before it was closed",
                may_have_written=True,
                advice="The operations that they record were done.",
            ) from error
        finally:
            self._has_ended = True  # A driver may miss that it is cancelled.
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _wait(self, rows: int) -> None:
        """Wait for room, in turn; it is kept when this returns, and `_inside` counted it when it was given."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((rows, turn))
        self._hurry.set()
        try:
            await asyncio.wait({turn}, timeout=max(min(self._wait_seconds, deadlines.left()), 0))
        except asyncio.CancelledError:
            if not self._leave(turn):
                self.note((), rows)
            raise
        if self._leave(turn):
            raise StoreUnavailable("the audit log is not being written fast enough, or not at all")

    def _leave(self, turn: asyncio.Future[None]) -> bool:
        """Wait no more; say whether that was in time: else room was given."""
        if not turn.cancel():
            return False
        self._give(0)
        self._wanted.set()
        return True

    def _give(self, rows: int) -> None:
        """Give room back, and let in whoever it is enough for, in turn."""
        self._free += rows
        while self._queue and (self._queue[0][1].cancelled() or self._queue[0][0] <= self._free):
            wanted, turn = self._queue.popleft()
            if not turn.cancelled():
                self._free -= wanted
                self._inside += 1
                turn.set_result(None)

    async def _flush_forever(self) -> None:
        while not (self._has_ended or (self._closing and self._is_settled())):
            await self._wanted.wait()
            self._wanted.clear()
            await self._pause()
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - rows are tried again whatever it is; the log has the reason
                _log.warning("the audit log could not be written and will be tried again: %s", error)
                self._wanted.set()
                await asyncio.sleep(min(self._flush_seconds, FLUSH_SECONDS))
        self._settled.set()

    async def _pause(self) -> None:
        """Let rows gather, unless somebody waits."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._closing else self._flush_seconds):
                await self._hurry.wait()
        self._hurry.clear()

    def _is_settled(self) -> bool:
        return not (self._inside or self._queue or self._noted or self._batch)
