"""Turns, deadlines and cancellation: how a piece of work gets a connection and always gives it back.

Theory of operation:

- Whoever writes waits for the one writer's turn, whoever reads for one of several readers'. Waiting costs no thread and
  can be cancelled at any time.
- The work itself runs in a task of its own that is never cancelled, because a thread at work inside the engine cannot
  be: it would go on with a connection that someone else believes free. Whoever is cancelled, or out of time, tells the
  job to stop: the statement it is at is interrupted, no other begins, the transaction is rolled back, and only then
  are the connection and the turn given back. A commit that has begun is left to end.
- Whoever stops a job waits for its end, and so knows what became of it; but for GRACE_SECONDS at most, since a disk
  that hangs cannot be interrupted. Then alone a write is said to be uncertain.
- Work that met a lock was rolled back and is done again until the deadline; so work must have no effects of its own.
- A runner belongs to the event loop and the process that opened it, and refuses others.
One subject, so longer than most files.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from datastore.backends.sql import sqlite
from datastore.backends.sql.errors import (
    MAYBE_WRITTEN,
    NOTHING_READ,
    NOTHING_WRITTEN,
    Stopped,
    translated,
    unavailable,
)
from datastore.errors import NotSupported
from datastore.metering import metered

T = TypeVar("T")
Parameters = Mapping[str, object] | Sequence[Mapping[str, object]]

GRACE_SECONDS: Final = 1.0
_INTERRUPTIONS: Final = 50
_PAUSE_SECONDS: Final = 0.005


class Job:
    """A piece of work and the connection it holds."""

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes
        self._connection: AsyncConnection | None = None
        self._stopped = False
        self._interruptible = False
        self.uncertain = False
        """Whether a write may have happened without our knowing."""

    @property
    def fate(self) -> str:
        """What became of it, and what to do next."""
        if not self._writes:
            return NOTHING_READ
        return MAYBE_WRITTEN if self.uncertain else NOTHING_WRITTEN

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    @asynccontextmanager
    async def holding(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Work on a connection."""
        self._connection = connection
        self._interruptible = True
        try:
            yield
        finally:
            self._connection = None
            self._interruptible = False

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        """Run one statement, alone or in the open transaction; all rows are read when it returns."""
        return await self._held().execute(statement, parameters)

    async def command(self, text: str) -> CursorResult[Any]:
        """Run a statement of the engine's own, such as BEGIN; never one with data in it."""
        return await self._held().exec_driver_sql(text)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Make the statements inside one: all or nothing when it writes, one moment in time when it reads."""
        connection = self._held()
        try:
            await self.command(sqlite.BEGIN_WRITE if self._writes else sqlite.BEGIN_READ)
            yield
            self._held()
            self._interruptible = False
            self.uncertain = True
            await connection.exec_driver_sql("COMMIT")
        except BaseException:
            self._interruptible = False
            await _undo(connection)
            self.uncertain = False
            raise
        self.uncertain = False
        self._interruptible = True

    async def stop(self) -> None:
        """Let no further statement begin, and interrupt the one at work."""
        self._stopped = True
        if self._interruptible and self._connection is not None:
            await sqlite.interrupt(self._connection)

    def _held(self) -> AsyncConnection:
        if self._stopped or self._connection is None:
            raise Stopped
        return self._connection


async def _undo(connection: AsyncConnection) -> None:
    """Roll back; a connection that cannot even do that is closed, which undoes as well."""
    try:
        await sqlite.roll_back(connection)
    except Exception:  # noqa: BLE001 - what made us roll back is the error to tell of
        await connection.invalidate()


Work = Callable[[Job], Awaitable[T]]


class Runner:
    """The engines of one store, and whose turn it is."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, seconds: float) -> None:
        self._engines = (reader, writer)
        self._seconds = seconds
        writing = asyncio.Semaphore(1)
        reading = writing if reader is writer else asyncio.Semaphore(sqlite.READERS)
        self._turns = (reading, writing)
        self.written = asyncio.Event()
        """Set whenever a piece of work that writes has ended."""
        self._home = (asyncio.get_running_loop(), os.getpid())
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    def deadline(self, seconds: float | None = None) -> float:
        """Return the end of an operation that begins now, by the loop's clock."""
        return asyncio.get_running_loop().time() + (self._seconds if seconds is None else seconds)

    async def run(self, work: Work[T], *, writes: bool, until: float | None = None) -> T:
        """Do the work on a connection of its own, in its turn and before its deadline.

        Args:
            work: what to do; done again from the start when it meets a lock.
            writes: whether it writes.
            until: the deadline; `operation_timeout_seconds` from now where None.

        Raises:
            StoreUnavailable: the engine did not answer in time, or refused.
            NotSupported: this is another event loop or process than the one that opened the store.
        """
        self.check_home()
        job = Job(writes=writes)
        task: asyncio.Task[T] | None = None
        with translated(job):
            try:
                async with asyncio.timeout_at(self.deadline() if until is None else until):
                    await self._turns[writes].acquire()
                    task = self._launch(job, work, writes=writes)
                    return await asyncio.shield(task)
            except TimeoutError as error:
                if task is not None and await _ended(job, task):
                    return task.result()
                raise unavailable("the store did not answer in time", job) from error
            except asyncio.CancelledError:
                if task is not None:
                    await _ended(job, task)
                raise

    async def aclose(self) -> None:
        """Let what is at work end, take nothing new, and close every connection; idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    def _launch(self, job: Job, work: Work[T], *, writes: bool) -> asyncio.Task[T]:
        turn = self._turns[writes]
        if self._closing is not None:
            turn.release()
            raise unavailable("the store is closed", job)

        def ended(task: asyncio.Task[T]) -> None:
            turn.release()
            if writes:
                self.written.set()
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # Seen: whoever asked may be gone.

        task = asyncio.create_task(metered(_perform(self._engines[writes], job, work)))
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._seconds + GRACE_SECONDS)
        for engine in self._engines:
            await engine.dispose()

    def check_home(self) -> None:
        """Refuse another event loop or process than the one that opened the store.

        Raises:
            NotSupported: always then.
        """
        if self._home != (asyncio.get_running_loop(), os.getpid()):
            raise NotSupported("this store was opened in another event loop or process. Open one where it is used.")


async def _perform(engine: AsyncEngine, job: Job, work: Work[T]) -> T:
    while True:
        try:
            async with engine.connect() as connection, job.holding(connection):
                return await work(job)
        except DBAPIError as error:
            job.uncertain = job.uncertain or sqlite.leaves_doubt(error)
            if job.stopped or not sqlite.is_busy(error):
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def _ended(job: Job, task: asyncio.Task[Any]) -> bool:
    """Stop a job; say whether it has ended, and if not, that nobody knows what becomes of it.

    It is interrupted again and again, because a statement that is on its way to its thread does not hear it yet.
    """
    for _ in range(_INTERRUPTIONS):
        await job.stop()
        await asyncio.wait({task}, timeout=GRACE_SECONDS / _INTERRUPTIONS)
        if task.done():
            return True
    job.uncertain = True
    return False
