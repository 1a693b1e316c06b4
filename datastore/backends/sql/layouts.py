"""The layout of a SQL store: the table that tells it, and how it is changed.

Theory of operation: the table has one row. Beside it stands the header, which is SQLite's `user_version` and the
comment of PostgreSQL's table of entries, and tells what a host must know. Versions before the table read the header
alone, and take it for the layout itself; so does this one where there is no table yet.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, update
from sqlalchemy.schema import CreateTable

from datastore.backends.migrations import Migration, advanced
from datastore.backends.sql.runner import Job, Runner
from datastore.errors import StoreUnavailable
from datastore.layout import Layout

STEP_SECONDS: Final = 600.0
"""The deadline of one step: an index of a large table takes its time to be made."""

layout: Final = Table(
    "layout",
    MetaData(),
    Column("number", Integer, nullable=False),
    Column("position", Text),
)

NAMES: Final = frozenset({layout.name})
CREATION: Final = CreateTable(layout, if_not_exists=True)
_ROW: Final = select(layout.c.number, layout.c.position)


async def begin(job: Job, number: int) -> None:
    """Keep the layout in the table from now on, within the transaction that made it; a row that stands is left."""
    if (await job.execute(_ROW)).first() is None:
        await job.execute(insert(layout).values(number=number))


async def read(job: Job) -> Layout | None:
    """Return what the table and the header tell, as of one moment; None where the table has no row."""
    async with job.transaction():
        row = (await job.execute(_ROW)).first()
        return None if row is None else Layout(row.number, await job.dialect.read_header(job), row.position)


async def _write(job: Job, told: Layout) -> None:
    await job.execute(update(layout).values(number=told.number, position=told.position))
    await job.dialect.write_header(job, told.needs)


class SqlBook:
    """Keeps the layout of an open store, which has the table; see `migrations.Book`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def read(self) -> Layout:
        """Return what the store says.

        Raises:
            StoreUnavailable: it says nothing: somebody has emptied the table since the start.
        """
        if (told := await self._runner.run(read, writes=False)) is None:
            raise StoreUnavailable(
                "the store's layout is not told, so nothing was read or written. Start the host again"
            )
        return told

    async def require(self, standing: Layout, needs: int) -> Layout:
        """Let the store refuse hosts that know less; see `Book.require`."""

        async def work(job: Job) -> None:
            async with job.transaction():
                await job.dialect.hold_starts(job, STEP_SECONDS)
                if await read(job) == standing:
                    await _write(job, Layout(standing.number, needs, standing.position))

        await self._runner.run(work, writes=True, until=self._runner.deadline(STEP_SECONDS))
        return await self.read()

    async def advance(self, standing: Layout, migration: Migration[Job]) -> None:
        """Make one step, in one transaction with how far it came; see `Book.advance`."""

        async def work(job: Job) -> None:
            async with job.transaction():
                await job.dialect.hold_starts(job, STEP_SECONDS)
                if await read(job) == standing:
                    position = await migration.step(job, standing.position)
                    await _write(job, advanced(standing, migration, position))

        await self._runner.run(work, writes=True, until=self._runner.deadline(STEP_SECONDS))
