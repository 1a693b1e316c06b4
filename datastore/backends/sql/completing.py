"""Completing a store before its first operation: what is missing is made, and an earlier layout is migrated.

Theory of operation: an empty database gets every table at once, in the layout of this version. One that holds a store
is brought to that layout first, since what is missing may stand on what a migration makes. Looking takes no lock that
others would feel, and a start that finds everything writes nothing.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from datastore.backends.migrations import check, migrate
from datastore.backends.sql import layouts, schema
from datastore.backends.sql.migrations import MIGRATIONS
from datastore.backends.sql.runner import Job, Runner, Work
from datastore.layout import LAYOUT, Layout
from datastore.ports import FRESH_SECONDS

T = TypeVar("T")

_REPAIR_SECONDS: Final = 600.0
"""The index of a large table takes its time to be made again."""


class Database(Protocol):
    """What the two engines find out, and make, in their own ways."""

    @property
    def at(self) -> str:
        """The store's name in messages."""

    async def look(self, job: Job) -> set[str]:
        """Return the names of what is there, once it is known to be ours or empty; raise where it is not."""

    async def claim(self, job: Job) -> None:
        """Make an empty database ours, within the open transaction."""


class Completion:
    """The completion of one open database.

    Args:
        runner: runs statements there.
        database: what is its engine's own.
        seconds: how long looking, and making an empty store, may take.
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
        found = await self._run(self._look, writes=False)
        if changed := not {schema.entries.name, *layouts.NAMES} <= found:
            await self._run(self._begin, writes=True)
        settling = FRESH_SECONDS + self._runner.seconds
        changed |= await migrate(layouts.SqlBook(self._runner), MIGRATIONS, self._database.at, settling)
        if changed:
            found = await self._run(self._look, writes=False)
        if not found >= schema.NAMES:
            until = self._runner.deadline(_REPAIR_SECONDS)
            await self._runner.run(self._make_missing, writes=True, until=until)

    async def _run(self, work: Work[T], *, writes: bool) -> T:
        return await self._runner.run(work, writes=writes, until=self._runner.deadline(self._seconds))

    async def _look(self, job: Job) -> set[str]:
        """Return the names of what is there, as of one moment: another process may be making it.

        The table of the layout is not among them where it tells nothing.
        """
        async with job.transaction():
            found = await self._database.look(job)
            told = await layouts.read(job) if found >= layouts.NAMES else None
            if schema.entries.name in found:
                header = await job.dialect.read_header(job)
                check(told or Layout(header, header), self._database.at)
            return found if told else found - layouts.NAMES

    async def _begin(self, job: Job) -> None:
        """Make an empty store, or let one that stands tell its layout in the table, unless another start has."""
        async with job.transaction():
            await job.dialect.hold_starts(job, self._seconds)
            if schema.entries.name in await self._look(job):
                await job.execute(layouts.CREATION)
                await layouts.begin(job, await job.dialect.read_header(job))
                return
            await self._database.claim(job)
            for statement in schema.creation(job.dialect):
                await job.execute(statement)
            await layouts.begin(job, LAYOUT)
            await job.dialect.write_header(job, LAYOUT)

    async def _make_missing(self, job: Job) -> None:
        async with job.transaction():
            await job.dialect.hold_starts(job, _REPAIR_SECONDS)
            for statement in schema.creation(job.dialect):
                await job.execute(statement)
