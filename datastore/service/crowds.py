"""How much a user may do at once, over all its runs in this host: walks through many entries, and long polls.

What is too much waits a while for what is under way to end, and is refused then. Each scope's own limit holds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from datastore import deadlines
from datastore.errors import RateExceeded
from datastore.models import Scope
from datastore.operations import Clear, Copy, Count, GetUsage, Namespaces, Operation, Scan, Watch

WAIT_SECONDS: Final = 5.0
"""How long an operation waits for its place."""

_SCANS: Final = (Scan, Count, Namespaces, GetUsage, Clear, Copy)
_ADVICE: Final = {
    "scans_at_once": "do them one after another",
    "long_polls_at_once": "watch a common prefix with one watch()",
}

Place = tuple[str, int]
"""The limit that an operation is subject to, and its value."""


def place_of(scope: Scope, operation: Operation) -> Place | None:
    """Return what bounds an operation, or None where nothing does."""
    limits = scope.limits
    if limits.scans_at_once is not None and isinstance(operation, _SCANS):
        return "scans_at_once", limits.scans_at_once
    if limits.long_polls_at_once is not None and isinstance(operation, Watch) and operation.wait_seconds:
        return "long_polls_at_once", limits.long_polls_at_once
    return None


class Crowds:
    """What is under way in one store, by user."""

    def __init__(self) -> None:
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._ended: dict[tuple[str, str], asyncio.Event] = {}

    @asynccontextmanager
    async def within(self, user: str, place: Place) -> AsyncIterator[None]:
        """Be one of those that are under way.

        Raises:
            RateExceeded: there were too many for `WAIT_SECONDS`.
        """
        name, most = place
        who = (user, name)
        if self._under_way[who] >= most:
            await self._wait(who, most)
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._leave(who)

    async def _wait(self, who: tuple[str, str], most: int) -> None:
        try:
            async with asyncio.timeout(min(WAIT_SECONDS, deadlines.left())):
                while self._under_way[who] >= most:
                    await self._ended.setdefault(who, asyncio.Event()).wait()
        except TimeoutError:
            what = who[1].removesuffix("_at_once").replace("_", " ")
            raise RateExceeded(
                f"as many {what} of this user are under way as may be at once ({most:,}), "
                f"and none ended within {WAIT_SECONDS:g} s",
                _ADVICE[who[1]],
                limit=who[1],
                value=most,
                retry_after_seconds=1.0,
            ) from None

    def _leave(self, who: tuple[str, str]) -> None:
        self._under_way[who] -= 1
        if not self._under_way[who]:
            del self._under_way[who]
        if ended := self._ended.pop(who, None):
            ended.set()
