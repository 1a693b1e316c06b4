"""What operators see besides: the list of owners, and entries without their values."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, distinct, func, select

from datastore.backends.sql import rows
from datastore.backends.sql.reads import HELD, page
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, from_ms
from datastore.document import Place, Span
from datastore.entry import Entry
from datastore.ports import Holder


def holders(after: str | None, limit: int, now: int) -> Select[Any]:
    """Return the statement that sums up owners in code point order, after one (exclusive)."""
    return (
        select(entries.c.owner, func.count(distinct(entries.c.namespace)).label("namespaces"), *HELD)
        .where(entries.c.owner > (after or ""), entries.c.expires_at > now)
        .group_by(entries.c.owner)
        .order_by(entries.c.owner)
        .limit(limit)
    )


async def owners(job: Job, after: str | None, limit: int, now: int) -> list[Holder]:
    """Return owners with live entries; see `Inspector.owners`."""
    found = await job.execute(holders(after, limit, now))
    return [Holder(row.owner, row.namespaces, row.keys_held, row.bytes_held, from_ms(row.last_write)) for row in found]


async def outline(job: Job, place: Place, span: Span, now: int) -> tuple[list[Entry], str | None]:
    """Return a page of entries with None for their values; see `Inspector.outline`."""
    found = (await job.execute(page(rows.COLUMNS, place, span, now))).all()
    entries_found = [rows.to_entry(place.namespace, row, with_value=False) for row in found[: span.limit]]
    return entries_found, entries_found[-1].key if len(found) > span.limit else None
