"""A user taken out of the store, for good, so that nothing that still runs can bring a part of it back.

Theory of operation:

- The user is blocked first. From then on hosts write for it, at the latest, until what they knew is no longer fresh and
  the write that they were at has met its deadline: `settle_seconds`.
- Everything is removed at once, to lose no time, and once more after that wait, when nothing can come after it.
- Every step removes whatever there is, some at a time, and leaves alone what is gone. So an erasure that was cut off
  anywhere goes on when it is called again, under the same receipt.
- Two may be at it at once. Whoever comes later looks before each step whether the other has ended it: the user may have
  been unblocked since, and have written anew.
- The receipt is written last; the user stays blocked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from admin.actions import audit, blocking
from admin.actions.blocking import Block, Receipt
from admin.actions.subject import NotFound
from datastore.document import moment
from datastore.errors import Conflict, StoreUnavailable, after
from datastore.ports import FRESH_SECONDS, Traces
from datastore.service import overrides
from datastore.service.overrides import NOTHING
from datastore.service.store import Store
from datastore.settings import Settings

Progress = Callable[[int], None]
"""Told how many more pieces are gone."""
Step = Callable[[Store, str, Receipt], Awaitable[int]]
"""Removes some of what is kept of a user; says how much, 0: enough for this time."""


async def _audited(store: Store, user: str, receipt: Receipt) -> int:
    """Empty all rows of the audit log; once, since whoever is refused meanwhile is noted in new ones."""
    await audit.forget(store, user, receipt.pseudonym)
    return 0


async def _unlimited(store: Store, user: str, _receipt: Receipt) -> int:
    """Remove what operators set for the user, once more where somebody sets it meanwhile."""
    if not await _is_limited(store, user):
        return 0
    try:
        await overrides.change(store.engine, user, lambda _: NOTHING, blocking.acting(store))
    except Conflict:
        return 1
    return 0


STEPS: Final[tuple[Step, ...]] = (
    lambda store, user, _: store.engine.expunge(user),
    lambda store, user, receipt: store.engine.disown(user, receipt.pseudonym),
    _unlimited,
    _audited,
    # Whatever else is kept of a user gets its step here. Changes go last, because removals are changes too.
    lambda store, user, _: store.engine.forget(user),
)
_NOTHING: Final = Traces(0, 0, 0, 0, 0)
_MOST_PASSES: Final = 3
_GRACE_SECONDS: Final = 1.0
"""What a host may need beyond the deadline of a write to be sure that it is not made."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What an erasure would meet.

    Attributes:
        found: what is there of the user.
        block: its record, where it is blocked.
        limited: whether an operator has set a quota for it.
    """

    found: Traces
    block: Block | None
    limited: bool

    @property
    def done(self) -> Receipt | None:
        """The receipt of an earlier erasure, after which nothing has come."""
        if self.block is None or self.block.erasing or self.found != _NOTHING or self.limited:
            return None
        return self.block.receipt


async def prospect(store: Store, user: str) -> Prospect:
    """Return what an erasure would meet.

    Raises:
        NotFound: there is nothing of the user, and never was an erasure.
    """
    found = await store.engine.traces(user)
    block, _ = await blocking.look(store, user)
    limited = await _is_limited(store, user)
    if found == _NOTHING and not limited and (block is None or block.receipt is None):
        raise NotFound(f"user {user} holds nothing, and no entry of a space names it.")
    return Prospect(found, block, limited)


async def _is_limited(store: Store, user: str) -> bool:
    return (await overrides.read(store.engine, user, moment(store.clock.now())))[1] is not None


def settle_seconds(settings: Settings) -> float:
    """Return how long after a block hosts may still write for the user, whose deadlines are those of the settings."""
    return FRESH_SECONDS + settings.operation_timeout_seconds + _GRACE_SECONDS


async def erase(store: Store, user: str, settle_seconds: float, progress: Progress = lambda _: None) -> Receipt:
    """Take a user out; call it again where it was interrupted.

    Raises:
        StoreUnavailable: the engine is away, or somebody else changes the user's record meanwhile.
    """
    receipt = await blocking.begin(store, user, await store.engine.traces(user))
    settled = asyncio.get_running_loop().time() + settle_seconds
    with after(True, f"the erasure of user {user} has begun"):
        await _remove(store, user, receipt, progress)
        await asyncio.sleep(settled - asyncio.get_running_loop().time())
        for _ in range(_MOST_PASSES):
            await _remove(store, user, receipt, progress)
            if await store.engine.traces(user) == _NOTHING:
                return await blocking.end(store, user, receipt)
        raise StoreUnavailable(
            f"somebody writes for user {user} although it is blocked: a host with an older version, or another program",
            may_have_written=True,
            advice="End it, and erase again.",
        )


async def _remove(store: Store, user: str, receipt: Receipt, progress: Progress) -> None:
    """Remove all that is there, as long as the user is being erased: what comes after that was written anew."""
    for step in STEPS:
        while await blocking.is_erasing(store, user, receipt) and (gone := await step(store, user, receipt)):
            progress(gone)
