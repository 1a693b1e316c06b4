"""Completes a store before its first operation: makes missing tables and indexes, and migrates an earlier layout.

Theory of operation: an empty database gets every table at once, in the layout of this version. A store that exists is
migrated first, because a missing index may need a column that a migration adds. Inspecting a store takes no lock that
delays others, and a start that finds everything writes nothing.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from datastore.backends.migrations import check_supported, migrate
from datastore.backends.sql import layouts, schema
from datastore.backends.sql.migrations import MIGRATIONS
from datastore.backends.sql.runner import Job, Runner, Work
from datastore.layout import LAYOUT, Layout
from datastore.ports import FRESH_SECONDS

T = TypeVar("T")


class Database(Protocol):
    """The engine's own part of a completion."""

    @property
    def store_name(self) -> str:
        """The store's name in messages."""

    async def inspect(self, job: Job) -> set[str]:
        """Return the names of the tables, indexes and triggers; raise if another application made them."""

    async def mark(self, job: Job) -> None:
        """Mark an empty database as a data store, within the open transaction."""


class Completion:
    """The completion of one open database.

    Args:
        runner: runs statements there.
        database: its engine's own part.
        seconds: how long inspecting it, and making an empty store, may take.
    """

    def __init__(self, runner: Runner, database: Database, seconds: float) -> None:
        self._runner = runner
        self._database = database
        self._seconds = seconds

    async def complete(self) -> None:
        """Make the store complete, in the layout of this version.

        Raises:
            ConfigurationError: the database is refused, or this version is too old for the store.
        """
        found = await self._run(self._inspect, writes=False)
        if changed := not {schema.entries.name, *layouts.NAMES} <= found:
            await self._run(self._begin, writes=True)
        settling = FRESH_SECONDS + self._runner.seconds
        changed |= await migrate(layouts.SqlLayoutRecord(self._runner), MIGRATIONS, self._database.store_name, settling)
        if changed:
            found = await self._run(self._inspect, writes=False)
        if not found >= schema.NAMES:
            until = self._runner.deadline(layouts.CHANGE_SECONDS)
            await self._runner.run(self._make_missing, writes=True, until=until)

    async def _run(self, work: Work[T], *, writes: bool) -> T:
        return await self._runner.run(work, writes=writes, until=self._runner.deadline(self._seconds))

    async def _inspect(self, job: Job) -> set[str]:
        """Return the names of what is there, as of one moment: another process may be making it.

        An empty table of the layout is left out.
        """
        async with job.transaction():
            found = await self._database.inspect(job)
            found_layout = await layouts.read(job) if found >= layouts.NAMES else None
            if schema.entries.name in found:
                header = await job.dialect.read_header(job)
                check_supported(found_layout or Layout(header, header), self._database.store_name)
            return found if found_layout else found - layouts.NAMES

    async def _begin(self, job: Job) -> None:
        """Make an empty store, or add the table of the layout to one that exists, unless another start has."""
        async with job.transaction():
            await job.dialect.hold_starts(job, self._seconds)
            if schema.entries.name in await self._inspect(job):
                await job.execute(layouts.CREATION)
                await layouts.begin(job, await job.dialect.read_header(job))
                return
            await self._database.mark(job)
            for statement in schema.creation(job.dialect):
                await job.execute(statement)
            await layouts.begin(job, LAYOUT)
            await job.dialect.write_header(job, LAYOUT)

    async def _make_missing(self, job: Job) -> None:
        async with job.transaction():
            await job.dialect.hold_starts(job, layouts.CHANGE_SECONDS)
            for statement in schema.creation(job.dialect):
                await job.execute(statement)
