"""Entries that come back as they were: whole rows, provenance and counts included, as no other write makes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Insert

from datastore.backends.sql import rows, writes
from datastore.backends.sql.dialect import Inserting
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, to_ms
from datastore.document import Place
from datastore.entry import Entry


@cache
def put(insert: Inserting) -> Insert:
    """Return the statement that writes a whole row over whatever stands at its id."""
    statement = insert(entries)
    columns = {each.name: statement.excluded[each.name] for each in entries.c if each.name != "id"}
    return statement.on_conflict_do_update(index_elements=[entries.c.id], set_=columns)


async def restore(job: Job, place: Place, given: Sequence[Entry], now: datetime, *, replace: bool) -> list[str]:
    """Put entries back; see `Inspector.restore`. What stands is read in the same transaction, so it stays so."""
    async with job.transaction():
        ids = [] if replace else [place.id(each.key) for each in given]
        standing = await writes.versions(job, ids, to_ms(job.latest(now)))
        wanted = [each for each in given if place.id(each.key) not in standing]
        if wanted:
            ordered = sorted(wanted, key=lambda each: each.key)
            await job.execute(put(job.dialect.insert), [rows.restored(place, each) for each in ordered])
    return [each.key for each in given if place.id(each.key) in standing]
