"""A simulated next version, with one more layout: opens the store at a URL.

    python -m tests.migrations.next_version URL [offline]

prints `step` as each step begins, and `done` when the store is open. `offline` means a migration that hosts of the
previous layout must not be at work beside.

The migration marks each entry of user alice, some at a time. On SQL a mark is added to what stands, so a step that was
made twice would show; on MongoDB, where a step may run twice, an entry that has its mark is left alone.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from pymongo import UpdateOne

import datastore.layout
from datastore import Settings
from datastore.assembly import open_engine
from datastore.backends import migrations
from datastore.backends.migrations import Migration
from datastore.backends.mongo import layouts as mongo
from datastore.backends.mongo.documents import plain
from datastore.backends.mongo.driver import Collection
from datastore.backends.sql import completing
from datastore.backends.sql.runner import Job
from datastore.clock import SystemClock

NEXT: Final = datastore.layout.LAYOUT + 1
MARK: Final = "+"
BATCH: Final = 25
USER: Final = "alice"
SETTINGS: Final = Settings(operation_timeout_seconds=5)
"""Of all hosts here: a migration that is not online waits for this deadline and two seconds more."""


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - how the process speaks


async def mark_rows(job: Job, position: str | None) -> str | None:
    """Mark the next rows in the order of their ids; a position is one of them, and names have no quotes here."""
    say("step")
    after = position or ""
    these = f"owner = '{USER}' AND id > '{after}' ORDER BY id LIMIT {BATCH}"
    ids = [row[0] for row in await job.command(f"SELECT id FROM entries WHERE {these}")]  # noqa: S608 - our own
    if not ids:
        return None
    inside = f"owner = '{USER}' AND id > '{after}' AND id <= '{ids[-1]}'"
    await job.command(f"UPDATE entries SET updated_by_run = updated_by_run || '{MARK}' WHERE {inside}")  # noqa: S608
    return str(ids[-1])


async def mark_documents(entries: Collection, position: str | None) -> str | None:
    """Mark the next documents in the order of their ids."""
    say("step")
    query = {"userId": USER, "_id": {"$gt": position or ""}}
    found = [plain(each) for each in await entries.find(query, sort=[("_id", 1)], limit=BATCH).to_list(BATCH)]
    if not found:
        return None
    changes: list[Any] = [
        UpdateOne(
            {"_id": each["_id"], "updatedByRun": each["updatedByRun"]},
            {"$set": {"updatedByRun": each["updatedByRun"] + MARK}},
        )
        for each in found
        if not each["updatedByRun"].endswith(MARK)
    ]
    if changes:
        await entries.bulk_write(changes)
    return str(found[-1]["_id"])


def upgrade(*, online: bool) -> None:
    """Make this process one of the next version."""
    needs = datastore.layout.LAYOUT if online else NEXT
    for module in (datastore.layout, migrations, completing, mongo):
        module.LAYOUT = NEXT  # type: ignore[attr-defined]  # as another version has it
    further = Migration(NEXT, mark_rows, needs=needs, online=online)
    completing.MIGRATIONS = (*completing.MIGRATIONS, further)  # type: ignore[attr-defined, assignment]
    mongo.MIGRATIONS = (Migration(NEXT, mark_documents, needs=needs, online=online),)  # type: ignore[misc]


async def main() -> None:
    upgrade(online="offline" not in sys.argv)
    engine = await open_engine(sys.argv[1], SETTINGS, SystemClock())
    say("done")
    await engine.aclose()


if __name__ == "__main__":
    asyncio.run(main())
