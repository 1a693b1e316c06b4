"""The migrations of SQL stores; `backends.migrations` says what one is, and what must hold of it."""

from __future__ import annotations

from typing import Final

from sqlalchemy.schema import CreateIndex

from datastore.backends.migrations import Migration
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import BY_KEY


async def _name_users(job: Job, _position: str | None) -> None:
    """Give entries columns for the users who wrote them in a space, and lists an index that is not unique.

    In a table of layout 1 the columns stand last, and nothing depends on where. The index is unique in SQLite files of
    2026-11-20 alone; to make it again is one statement, which other writers of the file wait for.
    """
    standing = (await job.command("SELECT * FROM entries LIMIT 0")).keys()
    for name in ("created_by_user", "updated_by_user"):
        if name not in standing:
            await job.command(f"ALTER TABLE entries ADD COLUMN {name} TEXT")
    if await job.dialect.is_unique(job, str(BY_KEY.name)):
        await job.command(f"DROP INDEX {BY_KEY.name}")
        await job.execute(CreateIndex(BY_KEY))


MIGRATIONS: Final = (Migration(2, _name_users, needs=2),)
