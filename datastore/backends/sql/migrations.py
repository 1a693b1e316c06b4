"""The migrations of SQL stores; see `backends.migrations` for the rules."""

from __future__ import annotations

from typing import Final

from sqlalchemy.schema import CreateIndex

from datastore.backends.migrations import Migration
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import BY_KEY


async def _add_user_columns(job: Job, _position: str | None) -> None:
    """Add the columns for the users who wrote entries of a space, and make the index of lists not unique.

    In a table of layout 1 the columns stand last; the order of columns does not matter. Only SQLite files of 2026-11-20
    have a unique index. One statement makes it again, and other writers of the file wait for that.
    """
    standing = (await job.command("SELECT * FROM entries LIMIT 0")).keys()
    for name in ("created_by_user", "updated_by_user"):
        if name not in standing:
            await job.command(f"ALTER TABLE entries ADD COLUMN {name} TEXT")
    if await job.dialect.is_unique(job, str(BY_KEY.name)):
        await job.command(f"DROP INDEX {BY_KEY.name}")
        await job.execute(CreateIndex(BY_KEY))


MIGRATIONS: Final = (Migration(2, _add_user_columns, needs=2),)
