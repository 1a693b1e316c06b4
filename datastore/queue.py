"""Who waits for their turn: a line for each user, and the users take turns.

However much one user sends, another user's next turn comes after one of each user at most. Standard library only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Queue(Generic[T]):
    """Futures of those who wait, each in its user's line."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, dict[asyncio.Future[T], None]] = {}  # In the order of turns, and of arrival.
        self._length = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._length

    def join(self, user: Hashable) -> asyncio.Future[T]:
        """Return the future of one more, at the end of the user's line."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(user, {})[waiter] = None
        self._length += 1
        return waiter

    def leave(self, user: Hashable, waiter: asyncio.Future[T]) -> None:
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

    def drop(self, newcomer: Hashable) -> asyncio.Future[T]:
        """Take out the last of the longest line, the newcomer's if it is as long as any: nobody keeps others out."""
        user = max(self._lines, key=lambda each: (len(self._lines[each]), each == newcomer))
        waiter = next(reversed(self._lines[user]))
        self.leave(user, waiter)
        return waiter


class Turns:
    """So many turns at once, in place of a semaphore: users who wait take turns, each in its own line."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._waiting: Queue[None] = Queue()

    async def acquire(self, user: Hashable) -> None:
        """Wait for a turn, which is to be released."""
        if self._free:
            self._free -= 1
            return
        waiter = self._waiting.join(user)
        try:
            await asyncio.wait({waiter})  # Which leaves it alone if it is cancelled itself.
        except asyncio.CancelledError:
            if waiter.done():
                self.release()
            else:
                self._waiting.leave(user, waiter)
            raise

    def release(self) -> None:
        """Give a turn back, to whoever is next."""
        if self._waiting:
            self._waiting.pop().set_result(None)
        else:
            self._free += 1
