"""The layout of a SQL store: the table that holds it, and how it is changed.

Theory of operation: the table has one row. Beside it stands the header, which is SQLite's `user_version` and the
comment of PostgreSQL's table of entries, and holds the lowest layout that a host must support. Versions before the
table read the header alone, and take it for the layout itself; so does this one where there is no table yet.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, update
from sqlalchemy.schema import CreateTable

from datastore.backends.migrations import Migration, after_step
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
        """Return the layout.

        Raises:
            StoreUnavailable: the table is empty, because another program deleted its row after the start.
        """
        if (found := await self._runner.run(read, writes=False)) is None:
            raise StoreUnavailable(
                "the store's table `layout` is empty, so nothing was read or written. Start the host again"
            )
        return found

    async def require(self, current: Layout, needs: int) -> Layout:
        """Refuse the store to hosts that support less; see `LayoutRecord.require`."""

        async def work(job: Job) -> None:
            async with job.transaction():
                await job.dialect.hold_starts(job, STEP_SECONDS)
                if await read(job) == current:
                    await _write(job, Layout(current.number, needs, current.position))

        await self._runner.run(work, writes=True, until=self._runner.deadline(STEP_SECONDS))
        return await self.read()

    async def advance(self, current: Layout, migration: Migration[Job]) -> None:
        """Make one step and store its position, in one transaction; see `LayoutRecord.advance`."""

        async def work(job: Job) -> None:
            async with job.transaction():
                await job.dialect.hold_starts(job, STEP_SECONDS)
                if await read(job) == current:
                    position = await migration.step(job, current.position)
                    await _write(job, after_step(current, migration, position))

        await self._runner.run(work, writes=True, until=self._runner.deadline(STEP_SECONDS))
