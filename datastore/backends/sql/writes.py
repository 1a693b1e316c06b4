"""Changes to entries: each one atomic statement, a condition part of it and never a check before it.

Theory of operation:

- A put is INSERT ... ON CONFLICT(id) DO UPDATE. A row that stands there is either live, and keeps what its creation
  and its readers left, or an expired leftover, and starts anew: a CASE decides column by column. `excluded` is the row
  that the insert would have made; its `updated_at` is now.
- A put of what must be absent is the same, with DO UPDATE restricted to leftovers; a put or removal at a version has
  the version in its WHERE. Whether a row was changed is the answer.
- A lone change is its own transaction. A batch is one transaction, in which the changes of a kind go to the engine as
  one, in the order of their keys; keys are distinct, so that nothing else depends on order.
- A condition that fails aborts nothing. Where fewer rows of a kind changed than conditions were to hold, what stands is
  read last, in one go, and says which: a put was made if its own version stands, a renewal if anything does. A removal
  or a renewal at a version leaves nothing of its own to tell it by, so it goes alone.
One subject, so longer than most files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Delete,
    Executable,
    Insert,
    Select,
    Subquery,
    Update,
    bindparam,
    case,
    delete,
    select,
    update,
)

from datastore.backends.sql import rows
from datastore.backends.sql.dialect import Dialect, Inserting
from datastore.backends.sql.reads import standing, within
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, to_ms
from datastore.document import Place
from datastore.operations import Applied, Outcome
from datastore.ports import Access, Actor, Change, Removal, Renewal, Write

KEPT: Final = (
    "created_at",
    "created_by_agent",
    "created_by_run",
    "created_by_user",
    "access_count",
    "last_accessed_at",
    "last_accessed_by_agent",
)
SET: Final = (
    "value",
    "value_bytes",
    "size_bytes",
    "version",
    "expires_at",
    "updated_at",
    "updated_by_agent",
    "updated_by_run",
    "updated_by_user",
)
_COUNTED: Final = {"preserve_rowcount": True}


@cache
def put(insert: Inserting, *, metadata: bool, if_absent: bool = False) -> Insert:
    """Return the statement of a put that gives metadata or keeps it, and may require absence."""
    statement = insert(entries)
    leftover = entries.c.expires_at <= statement.excluded.updated_at
    kept = KEPT if metadata else (*KEPT, "metadata")
    taken = (*SET, "metadata") if metadata else SET
    columns: dict[str, ColumnElement[Any]] = {
        name: case((leftover, statement.excluded[name]), else_=entries.c[name]) for name in kept
    }
    columns |= {name: statement.excluded[name] for name in taken}
    condition = leftover if if_absent else None
    upsert = statement.on_conflict_do_update(index_elements=[entries.c.id], set_=columns, where=condition)
    return upsert.execution_options(**_COUNTED)


@cache
def added(insert: Inserting) -> Executable:
    """Return the statement of a put that requires absence and answers the id of what it made."""
    return put(insert, metadata=True, if_absent=True).returning(entries.c.id)


_LIVE: Final = (entries.c.id == bindparam("at_id"), entries.c.expires_at > bindparam("at_now"))
_AT_VERSION: Final = entries.c.version == bindparam("at_version")

REPLACE: Final = update(entries).where(*_LIVE, _AT_VERSION)
REMOVE: Final = delete(entries).where(*_LIVE)
REMOVE_VERSION: Final = delete(entries).where(*_LIVE, _AT_VERSION)
RENEW: Final = update(entries).where(*_LIVE)
RENEW_VERSION: Final = RENEW.where(_AT_VERSION)


@dataclass(frozen=True, slots=True)
class Statement:
    """A change in SQL. Where `conditional`, a row changed means that the condition held."""

    place: Place
    key: str
    statement: Insert | Update | Delete
    parameters: dict[str, object]
    conditional: bool
    version: str | None = None

    @property
    def id(self) -> str:
        """The entry's."""
        return self.place.id(self.key)

    @property
    def kind(self) -> object:
        """What it has in common with those that can go to the engine together with it."""
        alone = self.statement is REMOVE_VERSION or self.statement is RENEW_VERSION
        return self.id if alone else (self.statement, *self.parameters)

    def held(self, standing: dict[str, str]) -> bool:
        """Say from the versions that stand now, in the same transaction, whether the condition of one of many held."""
        return self.id in standing and self.version in (None, standing[self.id])


def step(dialect: Dialect, place: Place, change: Change, actor: Actor) -> Statement:
    """Return a change in SQL."""
    live: dict[str, object] = {"at_id": place.id(change.key), "at_now": to_ms(actor.now)}
    match change:
        case Write():
            return _written(dialect, place, change, actor, live)
        case Removal(if_version=None):
            return Statement(place, change.key, REMOVE, live, conditional=False)
        case Removal():
            at_version = live | {"at_version": change.if_version}
            return Statement(place, change.key, REMOVE_VERSION, at_version, conditional=True)
        case Renewal():
            renewed = live | {"expires_at": to_ms(change.expires_at)}
            if change.if_version is None:
                return Statement(place, change.key, RENEW, renewed, conditional=True)
            at_version = renewed | {"at_version": change.if_version}
            return Statement(place, change.key, RENEW_VERSION, at_version, conditional=True)


def _written(dialect: Dialect, place: Place, write: Write, actor: Actor, live: dict[str, object]) -> Statement:
    if write.if_version is not None:
        parameters = rows.updated(write, actor) | live | {"at_version": write.if_version}
        return Statement(place, write.key, REPLACE, parameters, conditional=True, version=write.version)
    row = rows.created(place, write, actor)
    given = write.if_absent or write.metadata is not None
    statement = put(dialect.insert, metadata=given, if_absent=write.if_absent)
    return Statement(place, write.key, statement, row, conditional=write.if_absent, version=write.version)


async def apply(job: Job, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
    """Make the changes; see `Backend.apply`."""
    steps = [step(job.dialect, place, each, actor) for each in changes]
    alike = len({each.kind for each in steps}) == 1 and not steps[0].conditional
    if len(steps) == 1 or (alike and job.dialect.ATOMIC_MANY):
        return await make(job, steps, to_ms(actor.now))
    async with job.transaction():
        return await make(job, steps, to_ms(actor.now))


async def make(job: Job, steps: Sequence[Statement], now: int) -> Applied:
    """Make the changes, of any places, where a condition that fails hinders no other."""
    changed, missed, doubtful = 0, list[Statement](), list[Statement]()
    for kind in _kinds(steps):
        many = [step.parameters for step in kind]
        count = (await job.execute(kind[0].statement, many if len(many) > 1 else many[0])).rowcount
        changed += count
        if kind[0].conditional and count < len(kind):
            (doubtful if count else missed).extend(kind)
    standing = await versions(job, [step.id for step in missed + doubtful], now)
    misses = {step.id for step in missed} | {step.id for step in doubtful if not step.held(standing)}
    return Applied(
        changed,
        tuple(
            Outcome(applied=False, version=standing.get(step.id))
            if step.id in misses
            else Outcome(applied=True, version=step.version)
            for step in steps
        ),
    )


def _kinds(steps: Sequence[Statement]) -> list[list[Statement]]:
    """Return the steps by kind, and those of a kind by place and key."""
    kinds: dict[object, list[Statement]] = {}
    for step in sorted(steps, key=lambda step: (step.place.owner, step.place.namespace, step.key)):
        kinds.setdefault(step.kind, []).append(step)
    return list(kinds.values())


async def versions(job: Job, ids: Sequence[str], now: int) -> dict[str, str]:
    """Return the versions of the live entries, by id."""
    if not ids:
        return {}
    given = {"listed": job.dialect.listing(ids), "now": now}
    return {row.id: row.version for row in await job.execute(_versions(job.dialect.LISTED), given)}


@cache
def _versions(listed: Subquery) -> Select[Any]:
    return standing(listed, entries.c.id, entries.c.version)


async def clear(job: Job, place: Place, prefix: str, now: int) -> int:
    """Remove up to `CLEAR_ROWS` of the dialect of the live entries that have the prefix; return how many."""
    here = (*within(place, prefix), entries.c.expires_at > now)
    some = select(entries.c.id).where(*here).order_by(entries.c.key).limit(job.dialect.CLEAR_ROWS).with_for_update()
    return (await job.execute(delete(entries).where(entries.c.id.in_(some)))).rowcount


_OLDER: Final = entries.c.last_accessed_at > bindparam("at")
"""Whether these reads are older than what stands; unknown, hence no, where nobody read yet."""

RECORD: Final = (
    update(entries)
    .where(entries.c.id == bindparam("at_id"), entries.c.created_at == bindparam("at_creation"))
    .values(
        access_count=entries.c.access_count + bindparam("reads"),
        last_accessed_at=case((_OLDER, entries.c.last_accessed_at), else_=bindparam("at")),
        last_accessed_by_agent=case((_OLDER, entries.c.last_accessed_by_agent), else_=bindparam("reader")),
    )
)


async def record(job: Job, accesses: Sequence[Access]) -> None:
    """Add reads to their entries in one transaction; see `Backend.record`."""
    parameters = [
        {
            "at_id": each.place.id(each.key),
            "at_creation": to_ms(each.created_at),
            "reads": each.count,
            "at": to_ms(each.last),
            "reader": each.agent,
        }
        for each in sorted(accesses, key=lambda each: (each.place.owner, each.place.namespace, each.key))
    ]
    if job.dialect.ATOMIC_MANY:
        await job.execute(RECORD, parameters)
        return
    async with job.transaction():
        await job.execute(RECORD, parameters)
