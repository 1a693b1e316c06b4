"""The latest changes of a store, kept in memory: what most watchers ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from datastore.document import Interest, Place
from datastore.ports import Logged, Position

MOST: Final = 10_000
"""Changes that are kept; older ones are asked of the engine."""


class Ring:
    """Every change after `start`, up to `seen`, and nothing before.

    Args:
        start: the position at which it begins, empty.
    """

    def __init__(self, start: Position) -> None:
        self.start = self.seen = start
        self._order: deque[Logged] = deque()
        self._by_place: dict[Place, deque[Logged]] = {}

    def add(self, changes: Sequence[Logged], reached: Position) -> None:
        """Take the changes that came next."""
        for change in changes:
            self._order.append(change)
            self._by_place.setdefault(change.place, deque()).append(change)
            if len(self._order) > MOST:
                self._drop()
        self.seen = max(self.seen, reached)

    def _drop(self) -> None:
        oldest = self._order.popleft()
        self.start = max(self.start, oldest.position)
        theirs = self._by_place[oldest.place]
        theirs.popleft()
        if not theirs:
            del self._by_place[oldest.place]

    def after(self, interest: Interest, position: Position, limit: int) -> list[Logged]:
        """Return the changes of an interest after a position that is not before `start`, `limit` at most."""
        found = []
        for change in reversed(self._by_place.get(interest.place, ())):
            if change.position <= position:
                break
            if interest.holds(change.key):
                found.append(change)
        return found[::-1][:limit]
