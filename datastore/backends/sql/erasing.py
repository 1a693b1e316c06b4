"""How a user is taken away: rows of its own, its name in spaces, its remembered changes. Some at a time, by an index.

The number of the last change must stay, or numbers would be used twice and watchers would seem to come from the
future. So where the last change is the user's, its row stays and loses all that it says.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, bindparam, cast, delete, func, select, update

from datastore.backends.sql.counted import counters
from datastore.backends.sql.journal import BATCH_ROWS, LAST, move_horizon
from datastore.backends.sql.noted import changes, erased, horizons
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries
from datastore.ports import Traces

_THEIRS: Final = entries.c.owner == bindparam("user")
_CREATED: Final = entries.c.created_by_user == bindparam("user")
_UPDATED: Final = entries.c.updated_by_user == bindparam("user")
_HELD: Final = select(
    func.count().label("keys_held"), cast(func.coalesce(func.sum(entries.c.size_bytes), 0), BigInteger).label("bytes")
).where(_THEIRS)
_NUMBERS: Final = (
    select(func.count()).select_from(entries).where(_CREATED),
    select(func.count())
    .select_from(entries)
    .where(_UPDATED, entries.c.created_by_user.is_distinct_from(bindparam("user"))),
    select(func.count()).select_from(changes).where(changes.c.owner == bindparam("user")),
    select(func.count()).select_from(counters).where(counters.c.owner == bindparam("user")),
)
_UNCOUNTED: Final = delete(counters).where(counters.c.owner == bindparam("user"))
_HIDDEN: Final = (
    update(changes)
    .where(changes.c.seq == bindparam("last"), changes.c.owner == bindparam("user"))
    .values(owner="", namespace="", key="", version=None)
)


async def traces(job: Job, user: str) -> Traces:
    """Return what is there of a user; see `Eraser.traces`."""
    held = (await job.execute(_HELD, {"user": user})).one()
    created, updated, noted, counted = [(await job.execute(each, {"user": user})).scalar_one() for each in _NUMBERS]
    return Traces(held.keys_held, held.bytes, created + updated, noted, counted)


async def expunge(job: Job, user: str) -> int:
    """Remove some of a user's rows; see `Eraser.expunge`."""
    order = (entries.c.namespace, entries.c.key)
    some = select(entries.c.id).where(_THEIRS).order_by(*order).limit(job.dialect.CLEAR_ROWS).with_for_update()
    gone = (await job.execute(delete(entries).where(entries.c.id.in_(some)), {"user": user})).rowcount
    return gone or (await job.execute(_UNCOUNTED, {"user": user})).rowcount


async def disown(job: Job, user: str, pseudonym: str) -> int:
    """Put a pseudonym in some rows; see `Eraser.disown`."""
    renamed = await _renamed(job, entries.c.created_by_user, user, pseudonym)
    return renamed + await _renamed(job, entries.c.updated_by_user, user, pseudonym)


async def _renamed(job: Job, column: Column[str], user: str, pseudonym: str) -> int:
    theirs = column == bindparam("user")
    some = select(entries.c.id).where(theirs).order_by(entries.c.id).limit(job.dialect.CLEAR_ROWS).with_for_update()
    renamed = update(entries).where(entries.c.id.in_(some)).values({column.name: pseudonym})
    return (await job.execute(renamed, {"user": user})).rowcount


async def forget(job: Job, user: str) -> int:
    """Remove some of a user's changes; see `Eraser.forget`."""
    theirs = changes.c.owner == bindparam("user")
    some = select(changes.c.seq).where(theirs).order_by(changes.c.seq).limit(BATCH_ROWS)
    async with job.transaction():
        last = (await job.execute(LAST)).scalar_one()
        gone = (await job.execute(_HIDDEN, {"last": last, "user": user})).rowcount
        gone += (await job.execute(delete(changes).where(changes.c.seq.in_(some)), {"user": user})).rowcount
        if gone:
            await move_horizon(job, erased(user), last)
        await job.execute(delete(horizons).where(horizons.c.owner == user))
    return gone
