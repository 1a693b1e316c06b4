"""What changed, by looking: for a server without change streams, that is one which is no replica set.

Theory of operation:

- Of every namespace that was ever watched here the versions are remembered, as they stood when it was last looked at.
  Each look tells what is new, what has another version and what is gone. What happens between two looks shows once,
  as what came of it.
- Positions are this process's own, so a cursor is of no use to another one: it is told that the past is gone.
- What is remembered is bounded; beyond it everything is forgotten, and cursors from before are of the past.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from collections.abc import Collection as AnyOf
from typing import Any, Final

from datastore.backends.mongo import errors
from datastore.backends.mongo.driver import Collection
from datastore.document import Interest, Place
from datastore.errors import NotSupported, PastGone, StoreUnavailable
from datastore.ports import Logged, Position

LOOK_SECONDS: Final = 0.5
MOST_KEYS: Final = 100_000
_MOST_CHANGES: Final = 10_000
_SHOWN: Final = {"_id": 0, "key": 1, "version": 1, "updatedAt": 1}


class PollingJournal:
    """The half of the backend that tells of changes, where the server cannot."""

    def __init__(self, entries: Collection) -> None:
        self._entries = entries
        self._looking = asyncio.Lock()
        self._known: dict[Place, dict[str, str]] = {}
        self._epoch = time.time_ns() // 1000
        self._number = 0
        self._log: deque[Logged] = deque()
        self._start: Position = (self._epoch, 0)

    async def head(self, place: Place | None = None) -> Position:
        """Return the present; look at the place now, so that what changes from now on can be told from it."""
        if place is not None:
            await self._look(place)
        return self._epoch, self._number

    async def latest(self) -> Position:
        """Return the last that this process has told."""
        return self._epoch, self._number

    async def follow(
        self, after: Position, watched: Callable[[], AnyOf[Place]]
    ) -> AsyncGenerator[tuple[list[Logged], Position], None]:
        """Give what a look at the watched places finds, every LOOK_SECONDS."""
        while True:
            try:
                for place in list(watched()):
                    await self._look(place)
            except StoreUnavailable:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            found = self._since(after)
            after = (self._epoch, self._number)
            yield found, after
            await asyncio.sleep(LOOK_SECONDS)

    async def past(self, interest: Interest, after: Position, limit: int) -> tuple[list[Logged], Position]:
        """Return the changes of an interest that this process has found after a position."""
        await self._look(interest.place)
        theirs = [c for c in self._since(after) if c.place == interest.place and interest.holds(c.key)]
        found = theirs[:limit]
        return found, found[-1].position if len(found) == limit else (self._epoch, self._number)

    def _since(self, after: Position) -> list[Logged]:
        if after < self._start:
            raise PastGone
        return [change for change in self._log if change.position > after]

    async def _look(self, place: Place) -> None:
        async with self._looking:
            stood = self._known.get(place)
            stands = await self._read(place)
            if stood is not None:
                for key, version in _different(stood, stands):
                    self._note(place, key, version)
            self._known[place] = stands
            if sum(map(len, self._known.values())) > MOST_KEYS:
                self._forget()

    async def _read(self, place: Place) -> dict[str, str]:
        wanted = {"userId": place.owner, "namespace": place.namespace}
        found: list[Any] = await errors.answered(
            lambda: self._entries.find(wanted, _SHOWN, limit=MOST_KEYS + 1).to_list()
        )
        if len(found) > MOST_KEYS:
            raise NotSupported(
                f"A MongoDB that is no replica set cannot watch a namespace of more than {MOST_KEYS:,} entries. "
                "Run it as a replica set, of one member if need be."
            )
        found.sort(key=lambda each: (each["updatedAt"], each["key"]))
        return {str(each["key"]): str(each["version"]) for each in found}

    def _note(self, place: Place, key: str, version: str | None) -> None:
        self._number += 1
        self._log.append(Logged(place, key, version, (self._epoch, self._number)))
        if len(self._log) > _MOST_CHANGES:
            self._start = self._log.popleft().position

    def _forget(self) -> None:
        self._known.clear()
        self._log.clear()
        self._epoch, self._number = self._epoch + 1, 0
        self._start = (self._epoch, 0)


def _different(stood: dict[str, str], stands: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """Give what is gone, then what is new or has another version, in the order in which it was written."""
    yield from ((key, None) for key in stood if key not in stands)
    yield from ((key, version) for key, version in stands.items() if stood.get(key) != version)
