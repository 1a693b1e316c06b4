"""Users whose operations are refused on every host, because an operator blocked them.

Theory of operation:

- A blocked user has a record in the store's own owner, under a digest of the name: what is left of an erased user does
  not say who it was.
- A host looks for the record before a user's first operation. While the user goes on, one look in the background renews
  what is known of all users at work, so an operation asks for nothing.
- What is known holds for FRESH_SECONDS, counted from before the look was sent. Where no look succeeds in that time the
  operation waits for one, and is refused where there is none: nobody acts for longer on what may have changed.
- Who is at work for a user without asking for anything, as a run may be, is told of a block by an event.
- `Guard` asks again right before each write, since an operation may make several, or wait for others meanwhile. So
  FRESH_SECONDS and the deadline of one write after a record is stored, nothing of its user is written any more,
  anywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from datastore import deadlines, names
from datastore.document import Place, moment
from datastore.entry import Entry
from datastore.errors import AccessDenied, StoreUnavailable
from datastore.operations import MOST_ITEMS, Applied, Outcome
from datastore.ports import FRESH_SECONDS, Actor, Change, Clock, Engine, Increment, Removal, Step
from datastore.quotas import Quota
from datastore.service.elapsed import elapsed

_log = logging.getLogger("datastore.blocks")

BLOCKED: Final = Place("@@datastore", "blocked")
"""Where the records are: a key is `digest(user)`."""
_KEPT_SECONDS: Final = 60.0
_MOST_USERS: Final = 100_000
_TRIES: Final = 3


def digest(user: str) -> str:
    """Return what stands for a user or space in the store's own records; who guesses a name can check it, no more."""
    return hashlib.sha256(b"agent-data-store user:" + user.encode()).hexdigest()


def blocked() -> AccessDenied:
    """Return the refusal of whatever a blocked user does."""
    return AccessDenied(
        "this user is blocked, so the store refuses whatever its agents ask. "
        "No retry helps: only an operator can end it, with `datastore admin unblock`."
    )


@dataclass(slots=True)
class _Look:
    """What is known of a user, from when, and when it was last asked for."""

    at: float
    used: float
    blocked: bool


class Blocks:
    """What one host knows of blocked users.

    Args:
        engine: where the records are.
        clock: the store's.
        fresh_seconds: how long a look is good for.
        elapsed: seconds that pass, suspended or not.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        fresh_seconds: float = FRESH_SECONDS,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._elapsed = elapsed
        self._looks: dict[str, _Look] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._renewal: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def refuse(self, user: str) -> None:
        """Refuse what a blocked user does; a space is no user, and never blocked.

        Raises:
            AccessDenied: the user is blocked.
            StoreUnavailable: nobody knows, since the engine does not answer, or so late that it may have changed.
        """
        if names.is_reserved(user):
            return
        look = self._fresh(user) or await self._asked_for(user)
        if look.blocked:
            raise blocked()

    @contextmanager
    def watched(self, user: str) -> Iterator[asyncio.Event]:
        """Look for a user as long as this lasts; the event is set when it is found to be blocked."""
        found = asyncio.Event()
        if names.is_reserved(user):
            yield found
            return
        self._watched.setdefault(user, set()).add(found)
        self._looks.setdefault(user, _Look(-math.inf, self._elapsed(), blocked=False))
        self._go_on()
        try:
            yield found
        finally:
            self._watched[user].discard(found)
            if not self._watched[user]:
                del self._watched[user]

    def forget(self, user: str) -> None:
        """Look again before the user's next operation."""
        if (look := self._looks.get(user)) is not None:
            look.at = -math.inf

    async def aclose(self) -> None:
        """Begin no more looks, and let those end that are on their way: a driver may mind to be cut off."""
        self._closing.set()
        if tasks := [*self._asked.values(), *([] if self._renewal is None else [self._renewal])]:
            await asyncio.wait(tasks)

    def _fresh(self, user: str) -> _Look | None:
        look, now = self._looks.get(user), self._elapsed()
        if look is None or now > look.at + self._fresh_seconds:
            return None
        look.used = now
        return look

    async def _asked_for(self, user: str) -> _Look:
        """Return a look of now; those who want the same wait together."""
        for _ in range(_TRIES):
            if (task := self._asked.get(user)) is None:
                # In a context of its own: it works for all who wait, on nobody's account.
                task = asyncio.create_task(self._look([user]), name="datastore block look", context=Context())
                self._asked[user] = task
                task.add_done_callback(lambda done: self._ended(user, done))
            await deadlines.wait_for(task)
            if (look := self._fresh(user)) is not None:
                return look
        raise StoreUnavailable(deadlines.TOO_SLOW)

    def _ended(self, user: str, task: asyncio.Task[None]) -> None:
        del self._asked[user]
        if not task.cancelled():
            task.exception()  # Seen: whoever asked may be gone.

    async def _look(self, users: Sequence[str]) -> None:
        digests = {digest(user): user for user in users}
        began = self._elapsed()
        found = await self._engine.peek(BLOCKED, list(digests), moment(self._clock.now()))
        refused = {digests[each.key] for each in found}
        for user in users:
            known = self._looks.get(user)
            used = began if known is None else known.used
            self._looks[user] = _Look(began, used, user in refused)
        for user in refused & self._watched.keys():
            for each in self._watched[user]:
                each.set()
        while len(self._looks) > _MOST_USERS:
            del self._looks[next(iter(self._looks))]
        self._go_on()

    def _go_on(self) -> None:
        """Look for whoever is at work from now on."""
        if self._renewal is None and not self._closing.is_set():
            self._renewal = asyncio.create_task(self._renew(), name="datastore block looks", context=Context())

    async def _renew(self) -> None:
        """Look now and then for all users who are at work, or were of late; end when nobody was."""
        while self._looks and not await self._closes_within(self._fresh_seconds / 3):
            idle = self._elapsed() - _KEPT_SECONDS
            users = [user for user, look in self._looks.items() if look.used > idle or user in self._watched]
            self._looks = {user: self._looks[user] for user in users}
            try:
                for start in range(0, len(users), MOST_ITEMS):
                    await self._look(users[start : start + MOST_ITEMS])
            except StoreUnavailable:
                continue
            except Exception:  # noqa: BLE001 - what is known grows stale, and whoever asks next is told why
                _log.exception("blocked users could not be looked for")
        self._renewal = None

    async def _closes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._closing.wait()
        except TimeoutError:
            return False


class Guard:
    """An engine that writes nothing for, or by, a blocked user; everything else is the engine's own."""

    def __init__(self, engine: Engine, blocks: Blocks) -> None:
        self._engine = engine
        self._blocks = blocks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def apply(self, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
        """Make the changes, unless they leave something of a blocked user; see `Backend.apply`."""
        if not all(isinstance(each, Removal) for each in changes):
            await self._refuse(place, actor)
        return await self._engine.apply(place, changes, actor)

    async def increment(self, place: Place, increment: Increment, actor: Actor) -> Outcome:
        """Add to a number, unless it is a blocked user's; see `Backend.increment`."""
        await self._refuse(place, actor)
        return await self._engine.increment(place, increment, actor)

    async def atomic(self, steps: Sequence[Step], actor: Actor) -> Applied:
        """Make all of the changes or none, and none of a blocked user; see `Backend.atomic`."""
        for place in dict.fromkeys(place for place, _ in steps):
            await self._refuse(place, actor)
        return await self._engine.atomic(steps, actor)

    async def restore(
        self, place: Place, entries: Sequence[Entry], now: datetime, *, replace: bool, quota: Quota | None = None
    ) -> list[str]:
        """Put entries back, unless they are a blocked user's; see `Inspector.restore`."""
        await self._blocks.refuse(place.owner)
        return await self._engine.restore(place, entries, now, replace=replace, quota=quota)

    async def _refuse(self, place: Place, actor: Actor) -> None:
        await self._blocks.refuse(place.owner)
        if actor.user is not None:
            await self._blocks.refuse(actor.user)


def guarded(engine: Engine, blocks: Blocks) -> Engine:
    """Return an engine that writes nothing for, or by, a blocked user."""
    return cast("Engine", Guard(engine, blocks))
