"""The runs that wait for a slot: a line for each user, and the users take turns.

However many runs one user sends, another user's next run waits for one run of each user at most. Where too many wait,
the longest line gives way, so that nobody can keep others out by being there first.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Queue(Generic[T]):
    """Futures of those who wait, each in its user's line."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[asyncio.Future[T], None]] = {}  # In the order of turns, and of arrival.
        self._length = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._length

    def join(self, user: str) -> asyncio.Future[T]:
        """Return the future of one more, at the end of the user's line."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(user, {})[waiter] = None
        self._length += 1
        return waiter

    def leave(self, user: str, waiter: asyncio.Future[T]) -> None:
        """Take out one that no longer waits."""
        line = self._lines[user]
        del line[waiter]
        self._length -= 1
        if not line:
            del self._lines[user]

    def pop(self) -> asyncio.Future[T]:
        """Take out the first of the user whose turn it is; the turn goes on to the next user. Somebody must wait."""
        user, line = next(iter(self._lines.items()))
        waiter = next(iter(line))
        self.leave(user, waiter)
        if line:
            self._lines[user] = self._lines.pop(user)
        return waiter

    def drop(self, newcomer: str) -> asyncio.Future[T]:
        """Take out the last of the longest line, the newcomer's if it is as long as any. Somebody must wait."""
        user = max(self._lines, key=lambda each: (len(self._lines[each]), each == newcomer))
        waiter = next(reversed(self._lines[user]))
        self.leave(user, waiter)
        return waiter
