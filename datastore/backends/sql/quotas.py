"""Writes that stay within a quota: what is held is looked at in the transaction of the write.

Theory of operation:

- Triggers count the write, which locks the owner's counters until the commit; only then they are looked at. So of two
  writers the second one sees the first. Beyond a ceiling the transaction is rolled back, as it is by a host that dies.
- Counters are never too low, but too high while expired rows stand. So nothing is refused for a counter: the write is
  made again between two sums of what is alive, under the lock, and the counters are mended. What stands at its keys is
  locked before the counters, as every writer does it: else each would wait for the other.
- What is renewed keeps room that a sum may already have left out. So a renewal first locks what a sum locks, and only
  then looks at the time: what had expired when the sum was made stays expired.
- A write that alone would be one statement sees what others committed until it runs. One that needs a transaction of
  its own says so, and is made again in such a one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, Subquery, bindparam, cast, func, literal, select, update

from datastore.backends.sql.counted import counters
from datastore.backends.sql.dialect import NAME
from datastore.backends.sql.runner import Job, Stricter
from datastore.backends.sql.schema import entries, to_ms
from datastore.document import Place
from datastore.ports import Renewal
from datastore.quotas import WHOLE, Amount, Quota

T = TypeVar("T")
Held = Mapping[str, Amount]


class _Uncounted(Exception):  # noqa: N818 - never leaves this module
    """Nobody counts this owner yet."""


class _Full(Exception):  # noqa: N818 - as above
    """By the counters there is no room."""


class _Undone(Exception):  # noqa: N818 - as above
    """The work has an answer, and has written nothing."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


class Keyed(Protocol):
    """What becomes of a key."""

    @property
    def key(self) -> str:
        """Its name within its namespace."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose room a write takes, what becomes of which keys, and how much room there is."""

    changes: Sequence[tuple[Place, Keyed]]
    quota: Quota
    now: datetime

    @property
    def owner(self) -> str:
        """Whose room it is."""
        return self.changes[0][0].owner

    @property
    def renews(self) -> bool:
        """Whether it gives entries more time, so that they keep room that others wait for."""
        return any(isinstance(each, Renewal) for _, each in self.changes)

    @property
    def grows(self) -> bool:
        """Whether it may add anything."""
        return not all(isinstance(each, Renewal) for _, each in self.changes)

    @property
    def names(self) -> tuple[str, ...]:
        """What is counted, in the order of its rows."""
        return (WHOLE, *sorted({place.namespace for place, _ in self.changes}))

    @property
    def ids(self) -> list[str]:
        """The entries that it concerns."""
        return [place.id(each.key) for place, each in self.changes]


async def within(job: Job, claim: Claim, work: Callable[[Job], Awaitable[T]]) -> T:
    """Do work that writes, and stay within the quota.

    Raises:
        QuotaExceeded: it would not; nothing was written.
    """
    begin, attempt = job.dialect.BEGIN_LONE, _by_counters
    while True:
        try:
            return await attempt(job, claim, work, begin)
        except _Uncounted:
            await _count(job, claim.owner)
        except Stricter:
            begin = job.dialect.BEGIN_WRITE
        except _Full:
            attempt = _by_sums
        except _Undone as undone:
            answer: T = undone.answer
            return answer


async def _by_counters(job: Job, claim: Claim, work: Callable[[Job], Awaitable[T]], begin: str) -> T:
    async with job.transaction(begin):
        if claim.renews:
            await _lock(job, claim)
            await _hold(job, claim)
        answer = await _done(job, work)
        counted = await _counted(job, claim) if claim.grows else {}
        if not all(claim.quota.ceiling(name).admits(each) for name, each in counted.items()):
            raise _Full
    return answer


async def _by_sums(job: Job, claim: Claim, work: Callable[[Job], Awaitable[T]], begin: str) -> T:
    async with job.transaction(begin):
        await _lock(job, claim)
        await _counted(job, claim)
        for name in claim.names:
            await job.execute(mended(name), {"at_owner": claim.owner, "at_name": name})
        now = to_ms(job.latest(claim.now))
        before = await _alive(job, claim, now)
        answer = await _done(job, work)
        after = await _alive(job, claim, now)
        for name in reversed(claim.names):
            claim.quota.check(name, before[name], after[name] - before[name])
    return answer


async def _done(job: Job, work: Callable[[Job], Awaitable[T]]) -> T:
    answer = await work(job)
    if job.spoiled:
        raise _Undone(answer)
    return answer


async def _lock(job: Job, claim: Claim) -> None:
    await job.execute(_locking(job.dialect.LISTED), {"listed": job.dialect.listing(claim.ids)})


async def _hold(job: Job, claim: Claim) -> None:
    """Let no sum be made until the commit; one that began before is made again, since the row has changed."""
    if (await job.execute(HELD, {"at_owner": claim.owner})).rowcount == 0:
        raise _Uncounted


@cache
def _locking(listed: Subquery) -> Select[Any]:
    """Return the statement that locks the rows at the keys of a write, listed, in their order."""
    there = listed.join(entries, entries.c.id == listed.c.value)
    order = (entries.c.namespace, entries.c.key)
    return select(entries.c.id).select_from(there).order_by(*order).with_for_update(of=entries)


def held(owner: str, names: tuple[str, ...]) -> Select[Any]:
    """Return the statement that locks the counters of an owner and returns them."""
    here = (counters.c.owner == owner, counters.c.namespace.in_(names))
    columns = (counters.c.namespace, counters.c.held_bytes, counters.c.held_keys)
    return select(*columns).where(*here).order_by(counters.c.namespace).with_for_update()


async def _counted(job: Job, claim: Claim) -> Held:
    for now in job.dialect.COUNT_NOW:
        await job.command(now)
    found = await job.execute(held(claim.owner, claim.names))
    amounts = {row.namespace: Amount(row.held_bytes, row.held_keys) for row in found}
    if WHOLE not in amounts:
        raise _Uncounted
    return amounts


_BYTES: Final = cast(func.coalesce(func.sum(entries.c.size_bytes), 0), BigInteger)
_OWNER: Final = bindparam("at_owner", type_=NAME)
_NAME: Final = bindparam("at_name", type_=NAME)


HELD: Final = (
    update(counters)
    .where(counters.c.owner == _OWNER, counters.c.namespace == WHOLE)
    .values(held_keys=counters.c.held_keys)
)


def _part(name: str) -> list[ColumnElement[bool]]:
    mine = [entries.c.owner == _OWNER]
    return mine if name == WHOLE else [*mine, entries.c.namespace == _NAME]


def mended(name: str) -> Any:
    """Return the statement that sets a counter to what its rows say."""
    here = (counters.c.owner == _OWNER, counters.c.namespace == _NAME)
    size = select(_BYTES).where(*_part(name)).scalar_subquery()
    keys = select(func.count()).select_from(entries).where(*_part(name)).scalar_subquery()
    return update(counters).where(*here).values(held_bytes=size, held_keys=keys)


def alive(name: str, now: int) -> Select[int, int]:
    """Return the statement that sums up what is alive."""
    return select(_BYTES.label("held_bytes"), func.count().label("held_keys")).where(
        *_part(name), entries.c.expires_at > now
    )


async def _alive(job: Job, claim: Claim, now: int) -> Held:
    amounts = {}
    for name in claim.names:
        given = {"at_owner": claim.owner} if name == WHOLE else {"at_owner": claim.owner, "at_name": name}
        row = (await job.execute(alive(name, now), given)).one()
        amounts[name] = Amount(row.held_bytes, row.held_keys)
    return amounts


async def _count(job: Job, owner: str) -> None:
    """Begin to count an owner: writes that do not count yet have ended, and others begin only afterwards.

    A transaction whose moment came before, and which wrote nothing until now, would not see the counters. So this one
    must be of those that end as if they were alone: then the other is made again.
    """
    mine = entries.c.owner == owner
    sums = (_BYTES, func.count())
    whole = select(literal(owner, NAME), literal(WHOLE, NAME), *sums).where(mine)
    each = (
        select(entries.c.owner, entries.c.namespace, *sums).where(mine).group_by(entries.c.owner, entries.c.namespace)
    )
    columns = [each.name for each in counters.c]
    async with job.transaction():
        for hold in job.dialect.HOLD_WRITERS:
            await job.command(hold)
        for found in (each, whole):
            made = job.dialect.insert(counters).from_select(columns, found)
            await job.execute(made.on_conflict_do_nothing())
