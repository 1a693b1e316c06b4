"""The long polls of one peer: a few at a time, the others aside and in order, so that they hold up no other call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from datastore.errors import RunLimitExceeded
from sandbox.limits import RunLimits

SHARED_SECONDS: Final = 1.0
"""How long one waits at most while others want its place; the peer polls again."""

Message = dict[str, Any]
Parked = tuple[int, Message, int]


def is_long_poll(message: Message) -> bool:
    """Say whether a request may wait for changes."""
    return message.get("op") == "watch" and bool(message.get("wait_seconds"))


class LongPolls:
    """Who waits for changes, and who waits to.

    Args:
        limits: how many calls and how many polls of the peer may be in flight.
    """

    def __init__(self, limits: RunLimits) -> None:
        self.most = min(limits.long_polls, max(limits.in_flight - 1, 1))
        self._most_parked = limits.in_flight
        self._running: set[asyncio.Task[None]] = set()
        self.parked: deque[Parked] = deque()

    def refusal(self) -> RunLimitExceeded | None:
        """Return the error for one poll more than may wait aside, or None where there is room."""
        if len(self.parked) < self._most_parked:
            return None
        return RunLimitExceeded(
            f"{self.most + self._most_parked} calls of this run wait for changes already. "
            "Watch a common prefix with one watch() instead of many keys one by one.",
            limit="long_polls",
            value=self.most,
        )

    def ready(self) -> Iterator[Parked]:
        """Give the polls that may begin now; each must be `begun` before the next is asked for."""
        while self.parked and len(self._running) < self.most:
            number, message, size = self.parked.popleft()
            yield number, _shared(message) if self.parked else message, size

    def begun(self, task: asyncio.Task[None]) -> None:
        """Take note of a poll that has begun."""
        self._running.add(task)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Take note of any call that has ended."""
        self._running.discard(task)


def _shared(message: Message) -> Message:
    wait = message["wait_seconds"]
    return {**message, "wait_seconds": min(wait, SHARED_SECONDS)} if isinstance(wait, (int, float)) else message
