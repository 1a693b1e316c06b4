"""Changes to entries: each one atomic statement, a condition part of it and never a check before it.

Theory of operation:

- A put is INSERT ... ON CONFLICT(id) DO UPDATE. A row that stands there is either live, and keeps what its creation
  and its readers left, or an expired leftover, and starts anew: a CASE decides column by column. `excluded` is the row
  that the insert would have made; its `updated_at` is now.
- A put of what must be absent is the same, with DO UPDATE restricted to leftovers; a put or removal at a version has
  the version in its WHERE. Whether a row was changed is the answer.
- A lone change is its own transaction. A batch is one transaction, in which the unconditional changes of a kind go to
  the engine as one; keys are distinct, so order does not matter. A condition that fails aborts nothing.
- The versions that stand where conditions failed are read last, in one go. One subject, so longer than most files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Update, bindparam, case, delete, select, update
from sqlalchemy.dialects.sqlite import Insert

from datastore.backends.sql import rows, sqlite
from datastore.backends.sql.reads import CHUNK, within
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, to_ms
from datastore.document import Place
from datastore.operations import Applied, Outcome
from datastore.ports import Access, Actor, Change, Removal, Renewal, Write

CLEAR_ROWS: Final = 250
"""How many rows are removed before other writers have their turn: at most 1 GiB of values."""

KEPT: Final = (
    "created_at",
    "created_by_agent",
    "created_by_run",
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
)
_COUNTED: Final = {"preserve_rowcount": True}


def _put(*, metadata: bool, if_absent: bool) -> Insert:
    statement = sqlite.insert(entries)
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


_LIVE: Final = (entries.c.id == bindparam("at_id"), entries.c.expires_at > bindparam("at_now"))
_AT_VERSION: Final = entries.c.version == bindparam("at_version")

PUT: Final = {given: _put(metadata=given, if_absent=False) for given in (False, True)}
ADD: Final = _put(metadata=True, if_absent=True)
ADDED: Final = ADD.returning(entries.c.id)
REPLACE: Final = update(entries).where(*_LIVE, _AT_VERSION)
REMOVE: Final = delete(entries).where(*_LIVE)
REMOVE_VERSION: Final = delete(entries).where(*_LIVE, _AT_VERSION)
RENEW: Final = update(entries).where(*_LIVE)
RENEW_VERSION: Final = RENEW.where(_AT_VERSION)


@dataclass(frozen=True, slots=True)
class Statement:
    """A change in SQL. Where `conditional`, a row changed means that the condition held."""

    id: str
    statement: Insert | Update | Delete
    parameters: dict[str, object]
    conditional: bool
    version: str | None = None


def step(place: Place, change: Change, actor: Actor) -> Statement:
    """Return a change in SQL."""
    here = place.id(change.key)
    live: dict[str, object] = {"at_id": here, "at_now": to_ms(actor.now)}
    match change:
        case Write():
            return _written(place, change, actor, live)
        case Removal(if_version=None):
            return Statement(here, REMOVE, live, conditional=False)
        case Removal():
            return Statement(here, REMOVE_VERSION, live | {"at_version": change.if_version}, conditional=True)
        case Renewal():
            parameters = live | {"expires_at": to_ms(change.expires_at)}
            if change.if_version is None:
                return Statement(here, RENEW, parameters, conditional=True)
            return Statement(here, RENEW_VERSION, parameters | {"at_version": change.if_version}, conditional=True)


def _written(place: Place, write: Write, actor: Actor, live: dict[str, object]) -> Statement:
    here = place.id(write.key)
    if write.if_version is not None:
        parameters = rows.updated(write, actor) | live | {"at_version": write.if_version}
        return Statement(here, REPLACE, parameters, conditional=True, version=write.version)
    row = rows.created(place, write, actor)
    statement = ADD if write.if_absent else PUT[write.metadata is not None]
    return Statement(here, statement, row, conditional=write.if_absent, version=write.version)


async def apply(job: Job, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
    """Make the changes; see `Backend.apply`."""
    steps = [step(place, each, actor) for each in changes]
    if len(steps) == 1:
        return await make(job, steps, to_ms(actor.now))
    async with job.transaction():
        return await make(job, steps, to_ms(actor.now))


async def make(job: Job, steps: Sequence[Statement], now: int) -> Applied:
    """Make the changes, of any places, where a condition that fails hinders no other."""
    changed = await _make_unconditional(job, steps)
    added = await _add(job, [step for step in steps if step.statement is ADD])
    changed += len(added)
    missed = [step.id for step in steps if step.statement is ADD and step.id not in added]
    for step in steps:
        if step.conditional and step.statement is not ADD:
            held = (await job.execute(step.statement, step.parameters)).rowcount
            changed += held
            if not held:
                missed.append(step.id)
    standing = await versions(job, missed, now)
    misses = set(missed)
    return Applied(
        changed,
        tuple(
            Outcome(applied=False, version=standing.get(step.id))
            if step.id in misses
            else Outcome(applied=True, version=step.version)
            for step in steps
        ),
    )


async def _make_unconditional(job: Job, steps: Sequence[Statement]) -> int:
    kinds: dict[Any, list[dict[str, object]]] = {}
    for step in steps:
        if not step.conditional:
            kinds.setdefault(step.statement, []).append(step.parameters)
    changed = 0
    for statement, parameters in kinds.items():
        changed += (await job.execute(statement, parameters)).rowcount
    return changed


async def _add(job: Job, steps: Sequence[Statement]) -> set[str]:
    """Make the puts of what must be absent, many in a statement; return the ids of those whose condition held."""
    if not steps:
        return set()
    return {row.id for row in await job.execute(ADDED, [step.parameters for step in steps])}


async def versions(job: Job, ids: Sequence[str], now: int) -> dict[str, str]:
    """Return the versions of the live entries, by id."""
    found: dict[str, str] = {}
    for start in range(0, len(ids), CHUNK):
        statement = select(entries.c.id, entries.c.version).where(
            entries.c.id.in_(ids[start : start + CHUNK]), entries.c.expires_at > now
        )
        found.update((row.id, row.version) for row in await job.execute(statement))
    return found


async def clear(job: Job, place: Place, prefix: str, now: int) -> int:
    """Remove up to `CLEAR_ROWS` live entries that have the prefix; return how many."""
    some = select(entries.c.id).where(*within(place, prefix), entries.c.expires_at > now).limit(CLEAR_ROWS)
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
        for each in accesses
    ]
    async with job.transaction():
        await job.execute(RECORD, parameters)
