"""Turns, deadlines and cancellation: how a piece of work gets a connection and always gives it back.

Theory of operation:

- Whoever writes waits for a turn in the lane of writers, whoever reads in that of readers; how wide they are, and
  whether they are one, is the engine's matter. Waiting costs no thread and can be cancelled at any time.
- The work itself runs in a task of its own that is never cancelled, because a thread or a server at work cannot be:
  it would go on with a connection that someone else believes free. Whoever is cancelled, or out of time, tells the
  job to stop: the statement it is at is interrupted, no other begins, the transaction is rolled back, and only then
  are the connection and the turn given back. A commit that has begun is left to end.
- Whoever stops a job waits for its end, and so knows what became of it; but for GRACE_SECONDS at most, since neither a
  disk that hangs nor a server that is silent can be interrupted.
- A write is uncertain where the end of something that commits, a lone statement or COMMIT, was not heard. Nothing
  else is: what was not committed when a connection breaks is undone.
- Work that met a lock or a broken connection, and surely changed nothing, is done again until the deadline; so work
  must have no effects of its own.
- A runner belongs to the event loop and the process that opened it, and refuses others.
One subject, so longer than most files.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from datastore import deadlines
from datastore.backends.sql.dialect import Dialect, Lane
from datastore.backends.sql.errors import Stopped, translated, unavailable
from datastore.clock import latest, retimed
from datastore.errors import NotSupported
from datastore.metering import ACCOUNT, metered
from datastore.ports import Actor, Clock
from datastore.queue import Turns

T = TypeVar("T")
Parameters = Mapping[str, object] | Sequence[Mapping[str, object]]

GRACE_SECONDS: Final = 1.0
_INTERRUPTIONS: Final = 50
_LEAST_PAUSE_SECONDS: Final = 0.005
_DOUBLINGS: Final = 5


class Stricter(Exception):  # noqa: N818 - never leaves this package
    """Work within a transaction needs one whose outcome is as if it were alone."""


class Job:
    """A piece of work and the connection it holds."""

    def __init__(self, dialect: Dialect, clock: Clock, *, writes: bool) -> None:
        self._dialect = dialect
        self._clock = clock
        self._writes = writes
        self._connection: AsyncConnection | None = None
        self._stopped = False
        self._interruptible = False
        self._inside = False
        self._begun = ""
        self.spoiled = False
        """Whether work within the open transaction has failed, so that it must not be committed."""
        self._committing = False
        self.uncertain = False
        """Whether a write may have happened without our knowing."""

    @property
    def dialect(self) -> Dialect:
        """What is the engine's own."""
        return self._dialect

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    def timed(self, actor: Actor) -> Actor:
        """Return who writes, at the present: the work may have waited, and may be done again."""
        return retimed(actor, self._clock)

    def latest(self, now: datetime) -> datetime:
        """Return the present, and no time before `now`."""
        return latest(now, self._clock)

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
            if self._stopped:
                await self._dialect.release(connection)

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        """Run one statement, alone or in the open transaction; all rows are read when it returns."""
        if self._inside:
            return await self._held().execute(statement, parameters)
        with self._may_commit():
            return await self._held().execute(statement, parameters)

    async def command(self, text: str) -> CursorResult[Any]:
        """Run a statement of the engine's own, such as BEGIN; never one with data in it."""
        return await self._held().exec_driver_sql(text)

    @asynccontextmanager
    async def transaction(self, begin: str | None = None) -> AsyncIterator[None]:
        """Make the statements inside one: all or nothing, as if nobody else wrote meanwhile; or all at one moment.

        Within another it is a part of that one, which must look whether it was spoiled.

        Args:
            begin: how it begins, where that is not the usual.
        """
        if self._inside:
            async with self._joined():
                yield
            return
        connection = self._held()
        self._begun = begin or (self._dialect.BEGIN_WRITE if self._writes else self._dialect.BEGIN_READ)
        self.spoiled = False
        try:
            await self.command(self._begun)
            self._inside = True
            yield
            self._held()
            self._interruptible = False
            with self._may_commit():
                await connection.exec_driver_sql("COMMIT")
        except BaseException:
            self._interruptible = False
            await self._undo(connection)
            raise
        finally:
            self._inside = False
        self._interruptible = True

    @asynccontextmanager
    async def _joined(self) -> AsyncIterator[None]:
        if self._begun not in (self._dialect.BEGIN_WRITE, self._dialect.BEGIN_READ):
            raise Stricter
        try:
            yield
        except BaseException:
            self.spoiled = True
            raise

    async def stop(self, seconds: float) -> None:
        """Let no further statement begin, and interrupt the one at work; wait so long at most."""
        self._stopped = True
        if self._interruptible and self._connection is not None:
            await self._dialect.interrupt(self._connection, seconds)

    async def give_up(self) -> None:
        """Let go of what does not end; from now on nobody knows what became of what may be committed."""
        self.uncertain = self._committing and self._writes
        if self._connection is not None:
            await self._dialect.abandon(self._connection)

    @contextmanager
    def _may_commit(self) -> Iterator[None]:
        self._committing = True
        try:
            yield
        except DBAPIError as error:
            self.uncertain = self._writes and self._dialect.leaves_doubt(error)
            raise
        finally:
            self._committing = False

    def _held(self) -> AsyncConnection:
        if self._stopped or self._connection is None:
            raise Stopped
        return self._connection

    async def _undo(self, connection: AsyncConnection) -> None:
        """Roll back; a connection that cannot even do that is closed, which undoes as well."""
        try:
            await self._dialect.roll_back(connection)
        except Exception:  # noqa: BLE001 - what made us roll back is the error to tell of
            await connection.invalidate()


Work = Callable[[Job], Awaitable[T]]


class Runner:
    """The connections of one store, whose turn it is, and the time by which work is judged."""

    def __init__(self, dialect: Dialect, lanes: tuple[Lane, Lane], seconds: float, clock: Clock) -> None:
        self.dialect = dialect
        self._clock = clock
        reading, writing = lanes
        self._engines = (reading.engine, writing.engine)
        self.seconds = seconds
        """The deadline of an operation."""
        turns = Turns(writing.width)
        self._turns = (turns if reading is writing else Turns(reading.width), turns)
        self.written = asyncio.Event()
        """Set whenever a piece of work that writes has ended."""
        self._home = (asyncio.get_running_loop(), os.getpid())
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    def deadline(self, seconds: float | None = None) -> float:
        """Return the end of an operation that begins now, or has an earlier deadline already, by the loop's clock."""
        return asyncio.get_running_loop().time() + min(self.seconds if seconds is None else seconds, deadlines.left())

    async def run(self, work: Work[T], *, writes: bool, until: float | None = None) -> T:
        """Do the work on a connection of its own, in its turn and before its deadline.

        Args:
            work: what to do; done again from the start when it meets a lock or a broken connection.
            writes: whether it writes.
            until: the deadline; `operation_timeout_seconds` from now where None.

        Raises:
            StoreUnavailable: the engine did not answer in time, or refused.
            NotSupported: this is another event loop or process than the one that opened the store.
        """
        self.check_home()
        job = Job(self.dialect, self._clock, writes=writes)
        task: asyncio.Task[T] | None = None
        with translated(job):
            try:
                async with asyncio.timeout_at(self.deadline() if until is None else until):
                    await self._turns[writes].acquire(ACCOUNT.get())
                    task = self._launch(job, work, writes=writes)
                    return await asyncio.shield(task)
            except TimeoutError as error:
                if task is not None and await _ended(job, task):
                    return task.result()
                raise unavailable(deadlines.TOO_LATE, job) from error
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

        task = asyncio.create_task(metered(_perform(self._engines[writes], job, work)), name="datastore statements")
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.seconds + GRACE_SECONDS)
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
    for attempt in itertools.count():
        try:
            async with engine.connect() as connection, job.holding(connection):
                return await work(job)
        except DBAPIError as error:
            if job.stopped or job.uncertain or not job.dialect.passes(error):
                raise
        pause = _LEAST_PAUSE_SECONDS * 2 ** min(attempt, _DOUBLINGS)
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter is not a secret
    raise AssertionError  # A count has no end.


async def _ended(job: Job, task: asyncio.Task[Any]) -> bool:
    """Stop a job; say whether it has ended, or let go of it.

    It is interrupted again and again, because a statement that is on its way to its thread does not hear it yet.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + GRACE_SECONDS
    while (left := until - clock()) > 0:
        await job.stop(left)
        await asyncio.wait({task}, timeout=GRACE_SECONDS / _INTERRUPTIONS)
        if task.done():
            return True
    await job.give_up()
    return False
