"""How watchers read what changed, and how long it is kept.

Theory of operation:

- Whoever follows reads on from the last number. A commit of this process wakes it at once; those of other processes
  are found by looking every LOOK_SECONDS.
- Changes go when they are older than RETENTION, and of an owner all but the latest MOST_ROWS. The horizon is moved in
  the transaction that removes them, and whoever reads looks at it in the same moment, so no gap goes unseen. It is
  moved only if something goes: of an owner who was forgotten meanwhile, nothing is written anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, bindparam, case, delete, func, select

from datastore.backends.sql.noted import EVERYONE, changes, erased, horizons
from datastore.backends.sql.runner import Job, Runner
from datastore.backends.sql.schema import to_ms
from datastore.document import Interest, Place, prefix_end
from datastore.errors import PastGone, StoreUnavailable
from datastore.ports import Logged, Position

RETENTION: Final = timedelta(hours=24)
MOST_ROWS: Final = 100_000
LOOK_SECONDS: Final = 0.1
BATCH_ROWS: Final = 1000

LAST: Final = select(func.coalesce(func.max(changes.c.seq), 0))
_COLUMNS: Final = (changes.c.seq, changes.c.owner, changes.c.namespace, changes.c.key, changes.c.version)
_FOLLOWING: Final = (
    select(*_COLUMNS).where(changes.c.seq > bindparam("after")).order_by(changes.c.seq).limit(BATCH_ROWS)
)
_ANY_HORIZON: Final = select(func.max(horizons.c.seq))
_THEIR_HORIZON: Final = _ANY_HORIZON.where(horizons.c.owner.in_([EVERYONE, bindparam("owner"), bindparam("erased")]))


class SqlJournal:
    """The changes of one database; the half of `ports.Engine` that tells of them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def head(self) -> Position:
        """Return the number of the last change."""
        return await self._runner.run(_head, writes=False), 0

    async def follow(self, after: Position) -> AsyncGenerator[tuple[list[Logged], Position], None]:
        """Give changes as they come; an empty list where LOOK_SECONDS brought none, or the engine did not answer."""
        seq = after[0]
        while True:
            self._runner.written.clear()
            try:
                rows = await self._runner.run(partial(_next, after=seq), writes=False)
            except StoreUnavailable:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            seq = rows[-1].seq if rows else seq
            yield [_logged(row) for row in rows], (seq, 0)
            if len(rows) < BATCH_ROWS:
                await self._written()

    async def past(self, interest: Interest, after: Position, limit: int) -> tuple[list[Logged], Position]:
        """Return the changes of an interest after a number; see `Journal.past`."""
        return await self._runner.run(lambda job: _past(job, interest, after[0], limit), writes=False)

    async def trim(self, now: datetime) -> int:
        """Remove what is kept no longer; return how many changes went."""
        total = 0
        for owner, cut in await self._runner.run(lambda job: _cuts(job, to_ms(now - RETENTION)), writes=False):
            removed = BATCH_ROWS
            while removed == BATCH_ROWS:
                removed = await self._runner.run(partial(_remove, owner=owner, cut=cut), writes=True)
                total += removed
        return total

    async def _written(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._runner.written.wait()
        except TimeoutError:
            return


async def _head(job: Job) -> int:
    return int((await job.execute(LAST)).scalar_one())


async def _next(job: Job, after: int) -> list[Row[Any]]:
    async with job.transaction():
        _check((await job.execute(_ANY_HORIZON)).scalar_one(), after)
        return list((await job.execute(_FOLLOWING, {"after": after})).all())


def _check(horizon: int | None, after: int) -> None:
    if horizon is not None and after < horizon:
        raise PastGone


def matching(interest: Interest, after: int, limit: int) -> Select[Any]:
    """Return the statement for an interest's changes after a number."""
    wanted: list[ColumnElement[bool]] = [
        changes.c.owner == interest.place.owner,
        changes.c.seq > after,
        changes.c.namespace == interest.place.namespace,
    ]
    if interest.exact:
        wanted.append(changes.c.key == interest.prefix)
    elif interest.prefix:
        wanted.append(changes.c.key >= interest.prefix)
        end = prefix_end(interest.prefix)
        wanted += [] if end is None else [changes.c.key < end]
    return select(*_COLUMNS).where(*wanted).order_by(changes.c.seq).limit(limit)


async def _past(job: Job, interest: Interest, after: int, limit: int) -> tuple[list[Logged], Position]:
    async with job.transaction():
        whose = {"owner": interest.place.owner, "erased": erased(interest.place.owner)}
        _check((await job.execute(_THEIR_HORIZON, whose)).scalar_one(), after)
        rows = (await job.execute(matching(interest, after, limit))).all()
        reached = rows[-1].seq if len(rows) == limit else await _head(job)
    return [_logged(row) for row in rows], (reached, 0)


def _logged(row: Row[Any]) -> Logged:
    return Logged(Place(row.owner, row.namespace), row.key, row.version, (row.seq, 0))


async def _cuts(job: Job, before: int) -> list[tuple[str, int]]:
    """Return up to which number changes are to go, by owner, all as of one moment: others write on."""
    async with job.transaction():
        oldest = select(changes.c.seq).where(changes.c.at >= before).order_by(changes.c.seq).limit(1)
        first = (await job.execute(oldest)).scalar_one_or_none()
        last = await _head(job)
        cut = (last if first is None else first) - 1
        found = (await job.execute(select(changes.c.seq).where(changes.c.seq <= cut).limit(1))).first()
        cuts = [(EVERYONE, cut)] if found else []
        many = select(changes.c.owner).group_by(changes.c.owner).having(func.count() > MOST_ROWS)
        for (owner,) in (await job.execute(many)).all():
            newest = select(changes.c.seq).where(changes.c.owner == owner).order_by(changes.c.seq.desc())
            cuts.append((owner, (await job.execute(newest.limit(1).offset(MOST_ROWS))).scalar_one()))
        return cuts


async def _remove(job: Job, owner: str, cut: int) -> int:
    """Remove one batch of changes, and move the horizon behind all of them; return how many went."""
    theirs = [] if owner == EVERYONE else [changes.c.owner == owner]
    some = select(changes.c.seq).where(*theirs, changes.c.seq <= cut).order_by(changes.c.seq).limit(BATCH_ROWS)
    async with job.transaction():
        removed = (await job.execute(delete(changes).where(changes.c.seq.in_(some)))).rowcount
        if removed:
            await move_horizon(job, owner, cut)
        if owner == EVERYONE:
            await job.execute(delete(horizons).where(horizons.c.owner != EVERYONE, horizons.c.seq <= cut))
        return removed


async def move_horizon(job: Job, owner: str, cut: int) -> None:
    """Say that an owner's changes up to a number are gone."""
    moved = job.dialect.insert(horizons).values(owner=owner, seq=cut)
    further = case((moved.excluded.seq > horizons.c.seq, moved.excluded.seq), else_=horizons.c.seq)
    await job.execute(moved.on_conflict_do_update(index_elements=[horizons.c.owner], set_={"seq": further}))
