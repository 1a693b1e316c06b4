"""Who waits for changes: one feed of the engine per host, fanned out to every watcher.

Theory of operation:

- The feed runs while somebody watches, and a while longer. What it brings goes into a ring and wakes those whom it
  concerns, found by namespace. A watcher whose cursor lies within the ring is answered from it; an older one asks the
  engine for what it missed.
- Nothing is lost between two looks, because a watcher is enrolled before it looks.
- Where the feed breaks it begins anew at the present, with an empty ring: every watcher then asks the engine for what
  came between. So a gap can only be one of the engine's, which says so.
- A cursor beyond the present belongs to another history, such as that of a store restored from a backup.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from contextvars import Context
from typing import Final

from datastore.document import Interest, Place
from datastore.errors import PastGone, StoreUnavailable
from datastore.operations import MOST_ITEMS
from datastore.ports import Journal, Logged, Position
from datastore.service.ring import Ring

_log = logging.getLogger("datastore.changes")

LINGER_SECONDS: Final = 30.0
"""How long the feed goes on when nobody watches any more."""
_RETRY_SECONDS: Final = 0.5
_TELLING_SECONDS: Final = 5.0
"""The longest wait for a feed that has been silent; one that works tells something twice a second."""
_CATCHING_UP: Final = 4
"""Watchers that read the engine's past at the same time; it may be long."""


class Changes:
    """The changes of one store, for its watchers.

    Args:
        journal: the engine.
        timeout_seconds: after how long a silent feed counts as an engine that is away.
    """

    def __init__(self, journal: Journal, timeout_seconds: float) -> None:
        self._journal = journal
        self._timeout_seconds = timeout_seconds
        self._starting = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(_CATCHING_UP)
        self._feed: asyncio.Task[None] | None = None
        self._ring = Ring((0, 0))
        self._waiting: dict[Place, dict[asyncio.Event, Interest]] = {}
        self._used = self._heard = 0.0
        self._told = asyncio.Event()
        self._closed = False

    async def after(
        self, interest: Interest, position: Position | None, wait_seconds: float
    ) -> tuple[list[Logged], Position]:
        """Return the changes after a position (None: now), as soon as there is one, and the position reached.

        Raises:
            PastGone: changes after the position are no longer kept.
            StoreUnavailable: the engine is away, or the store was closed meanwhile.
        """
        until = asyncio.get_running_loop().time() + wait_seconds
        with self._enrolled(interest) as woken:
            await self._begin()
            position = await self._present(interest.place, position)
            while True:
                woken.clear()
                self._check_open()  # After clearing: who closes the store wakes everybody once.
                found, position = await self._look(interest, position)
                if found or not await _set(woken, until):
                    break
        if not found:
            await self._check_feed()
        return found, position

    async def aclose(self) -> None:
        """End the feed and every wait."""
        self._closed = True
        self._wake_all()
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)

    async def _begin(self) -> None:
        """Have the feed run; its ring then begins no later than any position that is asked for from now on."""
        async with self._starting:
            self._check_open()
            if self._feed is None:
                self._ring = Ring(await self._journal.head())
                self._check_open()
                self._heard = asyncio.get_running_loop().time()
                # In a context of its own: it works for all who watch, on nobody's account.
                self._feed = asyncio.create_task(self._run(), name="datastore changes", context=Context())

    async def _present(self, place: Place, position: Position | None) -> Position:
        """Return the position, or where there is none the present.

        Raises:
            PastGone: it is beyond the present.
        """
        if position is not None and position <= self._ring.seen:
            return position
        head = await self._journal.head(place)
        if position is None:
            return head
        if position > head and position > await self._journal.latest():
            raise PastGone
        return position

    async def _look(self, interest: Interest, position: Position) -> tuple[list[Logged], Position]:
        if position < self._ring.start:
            async with self._catching_up:
                found, position = await self._journal.past(interest, position, MOST_ITEMS)
            if found or position < self._ring.start:
                return found, position
        if found := self._ring.after(interest, position, MOST_ITEMS):
            return found, found[-1].position
        return [], max(position, self._ring.seen)

    @contextmanager
    def _enrolled(self, interest: Interest) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        theirs = self._waiting.setdefault(interest.place, {})
        theirs[woken] = interest
        try:
            yield woken
        finally:
            self._used = asyncio.get_running_loop().time()
            del theirs[woken]
            if not theirs:
                self._waiting.pop(interest.place, None)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store was closed", advice="Open it again.")

    async def _check_feed(self) -> None:
        """Raise if the feed has been silent for too long. Where this process was stopped meanwhile, it soon tells."""
        if asyncio.get_running_loop().time() - self._heard <= self._timeout_seconds:
            return
        self._told.clear()
        if not await _set(self._told, asyncio.get_running_loop().time() + _TELLING_SECONDS):
            raise StoreUnavailable("the store does not tell of changes now")

    async def _run(self) -> None:
        while not await self._followed():
            ring = None
            while ring is None:
                await asyncio.sleep(_RETRY_SECONDS)
                with contextlib.suppress(StoreUnavailable):
                    ring = Ring(await self._journal.head())
            self._ring = ring
            self._wake_all()

    async def _followed(self) -> bool:
        """Bring what the engine tells; say whether it ended because nobody watches any more."""
        try:
            async with aclosing(self._journal.follow(self._ring.seen, self._waiting.keys)) as batches:
                async for found, reached in batches:
                    self._take(found, reached)
                    if self._is_idle():
                        self._feed = None
                        return True
        except PastGone:
            _log.warning("the engine no longer keeps changes that were not read yet; watchers are told")
        except Exception:  # noqa: BLE001 - whatever it is, watchers must not wait for a feed that is gone
            _log.exception("the feed of changes ended, and begins anew")
        return False

    def _take(self, found: list[Logged], reached: Position) -> None:
        self._heard = asyncio.get_running_loop().time()
        self._told.set()
        self._ring.add(found, reached)
        for change in found:
            for woken, interest in self._waiting.get(change.place, {}).items():
                if interest.holds(change.key):
                    woken.set()

    def _is_idle(self) -> bool:
        return not self._waiting and asyncio.get_running_loop().time() - self._used > LINGER_SECONDS

    def _wake_all(self) -> None:
        for theirs in self._waiting.values():
            for woken in theirs:
                woken.set()


async def _set(event: asyncio.Event, until: float) -> bool:
    """Wait for the event; say whether it came in time."""
    try:
        async with asyncio.timeout_at(until):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
