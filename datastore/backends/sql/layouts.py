"""The layout of a SQL store: the table that holds it, and how it is changed.

Theory of operation: the table has one row. Beside it stands the header, which is SQLite's `user_version` and the
comment of PostgreSQL's table of entries, and holds the lowest layout that a host must support. Versions before the
table read the header alone and take it for the layout itself, as this version does while the table is missing.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, update
from sqlalchemy.schema import CreateTable

from datastore.backends.migrations import Migration, after_step
from datastore.backends.sql.runner import Job, Runner, Work
from datastore.layout import Layout

CHANGE_SECONDS: Final = 600.0
"""The deadline of one change of the schema: making an index of a large table takes a while."""

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
    """Write the row of a table that was just made, within the same transaction; a row that stands is left."""
    if (await job.execute(_ROW)).first() is None:
        await job.execute(insert(layout).values(number=number))


async def read(job: Job) -> Layout | None:
    """Return what the table and the header hold, as of one moment; None if the table is empty."""
    async with job.transaction():
        row = (await job.execute(_ROW)).first()
        if row is None:
            return None
        return Layout.parsed(row.number, await job.dialect.read_header(job), row.position, f"table {layout.name!r}")


async def _write(job: Job, changed: Layout) -> None:
    await job.execute(update(layout).values(number=changed.number, position=changed.position))
    await job.dialect.write_header(job, changed.needs)


class SqlLayoutRecord:
    """The layout of an open store, which has the table; see `migrations.LayoutRecord`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def read(self) -> Layout:
        """Return the layout; one to refuse if another program has emptied the table since the start."""
        empty = Layout(0, 0, damage=f"the store's table {layout.name!r} is empty. Start the host again")
        return await self._runner.run(read, writes=False) or empty

    async def require(self, current: Layout, needs: int) -> Layout:
        """Refuse the store to hosts that support less; see `LayoutRecord.require`."""

        async def required(_job: Job) -> Layout:
            return Layout(current.number, needs, current.position)

        await self._change(current, required)
        return await self.read()

    async def advance(self, current: Layout, migration: Migration[Job]) -> None:
        """Make one step and store its position, in one transaction; see `LayoutRecord.advance`."""

        async def advanced(job: Job) -> Layout:
            return after_step(current, migration, await migration.step(job, current.position))

        await self._change(current, advanced)

    async def _change(self, current: Layout, change: Work[Layout]) -> None:
        """Make a change and store the layout that it returns, unless another start has changed the layout."""

        async def work(job: Job) -> None:
            async with job.transaction():
                await job.dialect.hold_starts(job, CHANGE_SECONDS)
                if await read(job) == current:
                    await _write(job, await change(job))

        await self._runner.run(work, writes=True, until=self._runner.deadline(CHANGE_SECONDS))
