"""What operators see besides: owners, entries without their values, whatever is stored, and indexes and triggers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, distinct, func, select

from datastore.backends.sql import rows
from datastore.backends.sql.reads import HELD, page, stretch
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import PARTS, entries, from_ms
from datastore.document import Place, Span, prefix_end
from datastore.entry import Entry
from datastore.ports import Holder, Part, Record


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
    shape, given = stretch(place, span, now)
    found = (await job.execute(page(shape, rows.COLUMNS), given)).all()
    entries_found = [rows.to_entry(place.namespace, row, with_value=False) for row in found[: span.limit]]
    return entries_found, entries_found[-1].key if len(found) > span.limit else None


def records(begin: str, after: str | None, limit: int) -> Select[Any]:
    """Return the statement for the next rows in the order of their ids."""
    end = prefix_end(begin)
    conditions = [entries.c.id > (after or begin), *([] if end is None else [entries.c.id < end])]
    columns = (entries.c.id, entries.c.owner, entries.c.namespace, *rows.COLUMNS)
    return select(*columns).where(*conditions).order_by(entries.c.id).limit(limit)


async def survey(job: Job, begin: str, after: str | None, limit: int) -> list[Record]:
    """Return the next records; see `Inspector.survey`."""
    return [_record(row) for row in await job.execute(records(begin, after, limit))]


def _record(row: Row[Any]) -> Record:
    try:
        return Record(row.id, row.owner, rows.to_entry(row.namespace, row, with_value=False))
    except (ArithmeticError, TypeError, ValueError) as error:  # A column of SQLite holds whatever was put into it.
        return Record(row.id, row.owner, None, f"it cannot be read: {error}")


async def parts(job: Job, *, thorough: bool) -> list[Part]:
    """Return indexes and triggers, and where it is to be thorough the file; see `Inspector.parts`."""
    found = {row.name: row.fault for row in await job.execute(job.dialect.PARTS)}
    told = [Part(each, found.get(each, "it is missing; the next start makes it again")) for each in PARTS]
    if thorough and job.dialect.INTEGRITY is not None:
        fault = str((await job.execute(job.dialect.INTEGRITY)).scalars().first())
        told.append(Part("file", None if fault == "ok" else f"{fault}. Restore it from a backup, or export what reads"))
    return told
