"""Changes to entries: each one atomic statement, a condition part of it and never a check before it.

Theory of operation:

- A put is INSERT ... ON CONFLICT(id) DO UPDATE. A row that stands there is either live, and keeps what its creation
  and its readers left, or an expired leftover, and starts anew: a CASE decides column by column. `excluded` is the row
  that the insert would have made; its `updated_at` is now.
- A put of what must be absent is the same, with DO UPDATE restricted to leftovers; a put or removal at a version has
  the version in its WHERE. Whether a row was changed is the answer.
- A lone change is its own transaction. A batch is one transaction, in which the changes of a kind go to the engine as
  one, in the order of their keys; keys are distinct, so that nothing else depends on order.
- Whether an entry is alive is judged by the present, which the statement asks for once it has the lock that it waited
  for. A put needs no such care, since it is made whatever stands.
- A condition that fails aborts nothing. Where fewer rows of a kind changed than conditions were to hold, what stands is
  read last, in one go, and says which: a put was made if its own version stands, a renewal if its expiry does. A
  removal or a renewal at a version leaves nothing of its own to tell it by, so it goes alone.
One subject, so longer than most files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Executable,
    Insert,
    Row,
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
from datastore.backends.sql.dialect import Dialect, Inserting, Latest
from datastore.backends.sql.reads import standing, within
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, to_ms
from datastore.document import Place
from datastore.operations import Applied, Outcome
from datastore.ports import RENEWAL_SECONDS, Access, Actor, Change, Removal, Renewal, Write

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


REMOVE: Final = delete(entries).where(entries.c.id == bindparam("at_id"), entries.c.expires_at > bindparam("at_now"))


@dataclass(frozen=True, slots=True)
class Present:
    """How an engine judges by the present."""

    latest: Latest
    locks_rows: bool

    def alive(self, *, at_version: bool, margin: int = 0) -> tuple[ColumnElement[bool], ...]:
        """Return the condition that an entry is alive, and at a version; the time is compared under the lock.

        Args:
            at_version: whether a version is required.
            margin: the milliseconds that the entry must have left.
        """
        version = [entries.c.version == bindparam("at_version")] if at_version else []
        here = (entries.c.id == bindparam("at_id"), *version)
        now = self.latest(bindparam("at_now", type_=BigInteger))
        if not self.locks_rows:
            return *here, entries.c.expires_at > now + margin
        locked = select(entries.c.id, entries.c.expires_at).where(*here).with_for_update().cte("locked")
        return entries.c.id == locked.c.id, locked.c.expires_at > now + margin


@cache
def replace(present: Present) -> Update:
    """Return the statement that writes over an entry at a version."""
    return update(entries).where(*present.alive(at_version=True))


@cache
def remove(present: Present) -> Delete:
    """Return the statement that removes an entry at a version."""
    return delete(entries).where(*present.alive(at_version=True))


@cache
def renew(present: Present, *, at_version: bool) -> Update:
    """Return the statement that moves an entry's expiry, and may require a version."""
    margin = round(RENEWAL_SECONDS * 1000)
    renewed = update(entries).where(*present.alive(at_version=at_version, margin=margin))
    return renewed.values(expires_at=bindparam("expiry"))


@dataclass(frozen=True, slots=True)
class Statement:
    """A change in SQL. Where `conditional`, a row changed means that the condition held."""

    place: Place
    key: str
    statement: Insert | Update | Delete
    parameters: dict[str, object]
    conditional: bool
    version: str | None = None
    expiry: int | None = None
    """Of a renewal."""
    alone: bool = False
    """Whether what stands afterwards would not tell what became of it."""

    @property
    def id(self) -> str:
        """The entry's."""
        return self.place.id(self.key)

    @property
    def kind(self) -> object:
        """What it has in common with those that can go to the engine together with it."""
        return self.id if self.alone else (self.statement, *self.parameters)

    def held(self, standing: Row[Any] | None) -> bool:
        """Say from what stands now, in the same transaction, whether the condition of one of many held."""
        if standing is None:
            return False
        return bool(standing.version == self.version if self.expiry is None else standing.expires_at == self.expiry)


def step(dialect: Dialect, place: Place, change: Change, actor: Actor) -> Statement:
    """Return a change in SQL."""
    present = Present(dialect.latest, dialect.LOCKS_ROWS)
    live: dict[str, object] = {"at_id": place.id(change.key), "at_now": to_ms(actor.now)}
    match change:
        case Write(if_version=None):
            return _put(dialect, place, change, actor)
        case Write():
            return _continuing(
                replace(present), place, change, rows.updated(change, actor) | live, version=change.version
            )
        case Removal(if_version=None):
            return Statement(place, change.key, REMOVE, live, conditional=False)
        case Removal():
            return _continuing(remove(present), place, change, live, alone=True)
        case Renewal():
            conditional, expiry = change.if_version is not None, to_ms(change.expires_at)
            statement = renew(present, at_version=conditional)
            return _continuing(statement, place, change, live | {"expiry": expiry}, expiry=expiry, alone=conditional)


def _put(dialect: Dialect, place: Place, write: Write, actor: Actor) -> Statement:
    given = write.if_absent or write.metadata is not None
    statement = put(dialect.insert, metadata=given, if_absent=write.if_absent)
    row = rows.created(place, write, actor)
    return Statement(place, write.key, statement, row, conditional=write.if_absent, version=write.version)


def _continuing(
    statement: Update | Delete, place: Place, change: Change, parameters: dict[str, object], **facts: Any
) -> Statement:
    at_version = {} if change.if_version is None else {"at_version": change.if_version}
    return Statement(place, change.key, statement, parameters | at_version, conditional=True, **facts)


async def apply(job: Job, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
    """Make the changes; see `Backend.apply`."""
    steps = [(place, each) for each in changes]
    if _lone(job.dialect, changes):
        return await make(job, steps, actor)
    async with job.transaction():
        return await make(job, steps, actor)


def _lone(dialect: Dialect, changes: Sequence[Change]) -> bool:
    """Say whether changes need no transaction around them."""
    if len(changes) == 1:
        return True
    forms = {_form(each) for each in changes}
    return dialect.ATOMIC_MANY and len(forms) == 1 and forms != {None}


def _form(change: Change) -> object:
    """Return what changes have in common that go to the engine as one statement; None for a conditional one."""
    match change:
        case Write(if_version=None, if_absent=False):
            return Write, change.metadata is None
        case Removal(if_version=None):
            return Removal
    return None


async def make(job: Job, changes: Sequence[tuple[Place, Change]], actor: Actor) -> Applied:
    """Make changes at the present, where a condition that fails hinders no other."""
    actor = job.timed(actor)
    steps = [step(job.dialect, place, change, actor) for place, change in changes]
    changed, missed, doubtful = 0, list[Statement](), list[Statement]()
    for kind in _kinds(steps):
        many = [step.parameters for step in kind]
        count = (await job.execute(kind[0].statement, many if len(many) > 1 else many[0])).rowcount
        changed += count
        if kind[0].conditional and count < len(kind):
            (doubtful if count else missed).extend(kind)
    standing = await alive(job, [step.id for step in missed + doubtful], to_ms(actor.now))
    misses = {step.id for step in missed} | {step.id for step in doubtful if not step.held(standing.get(step.id))}
    found = {id_: row.version for id_, row in standing.items()}
    return Applied(
        changed,
        tuple(
            Outcome(applied=False, version=found.get(step.id))
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
    return {id_: row.version for id_, row in (await alive(job, ids, now)).items()}


async def alive(job: Job, ids: Sequence[str], now: int) -> dict[str, Row[Any]]:
    """Return the version and expiry of the live entries, by id."""
    if not ids:
        return {}
    given = {"listed": job.dialect.listing(ids), "now": now}
    return {row.id: row for row in await job.execute(_versions(job.dialect.LISTED), given)}


@cache
def _versions(listed: Subquery) -> Select[Any]:
    return standing(listed, entries.c.id, entries.c.version, entries.c.expires_at)


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
