"""The deadline of the operation under way, counted from its start, whatever path it takes and wherever it waits.

A task inherits the deadline of the operation that starts it. Work for several operations starts in a context of its
own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar, Token
from typing import Any, Final

from datastore.errors import StoreUnavailable

_until: Final[ContextVar[float]] = ContextVar("datastore_deadline", default=math.inf)

TIMEOUT_SECONDS: Final = 25.0
"""The default deadline of an operation. A MongoDB replica set has no primary for about 10 seconds after it lost one, so
an operation outlives one failover."""
TOO_LATE: Final = "the store did not answer in time"
"""The trouble that an error names when the deadline has passed."""
TOO_SLOW: Final = "the store answers too slowly to decide what is allowed"
"""The trouble where each answer was too old to act on when it came."""


class within:  # noqa: N801 - a context manager that is written as a call
    """Give what is done inside at most so many seconds; an earlier deadline stays.

    Args:
        seconds: from now.
    """

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._token: Token[float] = _until.set(min(_until.get(), time.monotonic() + self._seconds))

    def __exit__(self, *_: object) -> None:
        _until.reset(self._token)


def left() -> float:
    """Return the seconds until the deadline, below 0 after it; infinite if there is none."""
    return _until.get() - time.monotonic()


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Cancel the awaits inside when the deadline comes. For reads only.

    Raises:
        StoreUnavailable: the deadline came.
    """
    seconds = left()
    try:
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            yield
    except TimeoutError:
        raise StoreUnavailable(TOO_LATE) from None


async def wait_for(shared: asyncio.Task[Any]) -> None:
    """Wait for a task that others wait for too; it goes on after the deadline.

    Raises:
        StoreUnavailable: the deadline came first; or the task's own error.
    """
    async with bounded():
        await asyncio.shield(shared)
