"""An increment: one statement where integers are added, a short transaction where floats are.

Theory of operation: JSON is text here. Integers have one spelling, so the engine adds them: the upsert inserts the
first number, starts an expired row anew, and adds to a live one if it holds an integer and the sum stays within 64
bits. No engine spells floats as JSON does, to the last digit; they are added where JSON is read, under the row's lock.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Row, Text, and_, bindparam, case, cast, or_, select, update

from datastore import values
from datastore.backends.sql import rows
from datastore.backends.sql.dialect import Inserting, IsInteger, Latest
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, to_ms
from datastore.backends.sql.writes import KEPT, SET, added
from datastore.document import Place
from datastore.errors import TOO_MANY_WRITERS, StoreUnavailable
from datastore.operations import Outcome
from datastore.ports import Actor, Increment

_MOST_TRIES: Final = 10


@cache
def incr(insert: Inserting, is_integer: IsInteger, latest: Latest, *, expiry: bool) -> Any:
    """Return the statement that adds to an integer, and gives its expiry or keeps it."""
    statement = insert(entries)
    new = statement.excluded
    leftover = entries.c.expires_at <= new.updated_at
    number = case((is_integer(entries.c.value), cast(entries.c.value, BigInteger)))  # else unknown, which fits nothing
    by = bindparam("at_by", type_=BigInteger)
    inherited = {"metadata"} if expiry else {"metadata", "expires_at"}
    kept, taken = {*KEPT} | inherited, {*SET} - inherited
    columns: dict[str, ColumnElement[Any]] = {name: case((leftover, new[name]), else_=entries.c[name]) for name in kept}
    columns |= {name: new[name] for name in taken}
    columns["value"] = case((leftover, new.value), else_=cast(number + by, Text))
    least, most = bindparam("at_least", type_=BigInteger), bindparam("at_most", type_=BigInteger)
    fits = and_(number >= least, number <= most, entries.c.expires_at > latest(new.updated_at))
    upsert = statement.on_conflict_do_update(index_elements=[entries.c.id], set_=columns, where=or_(leftover, fits))
    return upsert.returning(entries.c.value)


STANDING: Final = (
    select(entries.c.value, entries.c.value_bytes, entries.c.expires_at)
    .where(entries.c.id == bindparam("at_id"), entries.c.expires_at > bindparam("at_now"))
    .with_for_update()
)
SUM: Final = update(entries).where(entries.c.id == bindparam("at_id"))


async def increment(job: Job, place: Place, change: Increment, actor: Actor) -> Outcome:
    """Add to a number; see `Backend.increment`."""
    if (number := await _at_once(job, place, change, job.timed(actor))) is None:
        async with job.transaction():
            number = await inside(job, place, change, actor)
    return Outcome(applied=True, version=change.version, number=number)


async def inside(job: Job, place: Place, change: Increment, actor: Actor) -> int | float:
    """Add to a number in the open transaction, whatever number it is; return the sum.

    Raises:
        NotANumber, ValueNotStorable: as `Backend.increment`.
    """
    for _ in range(_MOST_TRIES):
        actor = job.timed(actor)
        if (number := await _at_once(job, place, change, actor)) is not None:
            return number
        here = {"at_id": place.id(change.key), "at_now": to_ms(actor.now)}
        row = (await job.execute(STANDING, here)).first()
        if row is not None and row.expires_at > to_ms(job.latest(actor.now)):
            return await _add(job, place, change, actor, row)
    raise StoreUnavailable(TOO_MANY_WRITERS)


async def _at_once(job: Job, place: Place, change: Increment, actor: Actor) -> int | float | None:
    """Make the one statement; None: what stands there is not the engine's to add to."""
    start = change.initial + change.by
    row = rows.created(place, change.creation(start), actor)
    if isinstance(change.by, int):
        least, most = values.LEAST_INT - min(change.by, 0), values.MOST_INT - max(change.by, 0)
        bounds: dict[str, object] = {"at_by": change.by, "at_least": least, "at_most": most}
        dialect = job.dialect
        statement = incr(dialect.insert, dialect.is_integer, dialect.latest, expiry=change.expires_at is not None)
        found = (await job.execute(statement, row | bounds)).first()
        return None if found is None else json.loads(found.value)
    return None if (await job.execute(added(job.dialect.insert), row)).first() is None else start


async def _add(job: Job, place: Place, change: Increment, actor: Actor, row: Row[Any]) -> int | float:
    total = values.added(change.key, rows.value(row), change.by)
    columns = rows.updated(change.creation(total), actor) | {"at_id": place.id(change.key)}
    del columns["metadata"]
    if change.expires_at is None:
        del columns["expires_at"]
    await job.execute(SUM, columns)
    return total
