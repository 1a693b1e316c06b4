"""The operation `watch`: from a scope's words to positions of the engine, and back to sealed cursors."""

from __future__ import annotations

import time
from typing import Final

from datastore import deadlines
from datastore.document import Interest, moment
from datastore.errors import InvalidArgument
from datastore.models import Scope
from datastore.operations import Notice, Notices, Watch
from datastore.ports import Clock, Engine, Position
from datastore.service import cursors, policy
from datastore.service.changes import Changes

_RELOAD_SECONDS: Final = 1.0
"""A key is not looked for again before: forged cursors must cost nothing."""


class Watching:
    """Answers the watches of one store.

    Args:
        engine: tells of changes, and keeps the key of cursors.
        clock: the store's.
        timeout_seconds: after how long a silent engine counts as away.
    """

    def __init__(self, engine: Engine, clock: Clock, timeout_seconds: float) -> None:
        self._engine = engine
        self._clock = clock
        self._changes = Changes(engine, timeout_seconds)
        self._seal: cursors.Seal | None = None
        self._loaded = 0.0

    async def answer(self, scope: Scope, operation: Watch) -> Notices:
        """Return the changes after the operation's cursor, waiting for the first one if it says so.

        Raises:
            InvalidArgument: the cursor was not given for this.
            PastGone: changes since the cursor are no longer kept.
            StoreUnavailable: the engine is away, or the store was closed meanwhile.
        """
        place = policy.place(scope, operation.namespace, operation.space)
        interest = Interest(place, operation.prefix, operation.exact)
        async with deadlines.bounded():
            start = None if operation.cursor is None else await self._opened(interest, operation.cursor)
            seal = await self._sealing()
            found, reached = await self._changes.after(interest, start, operation.wait_seconds)
        notices = (Notice(each.key, each.version, seal.close(interest, each.position)) for each in found)
        return Notices(tuple(notices), seal.close(interest, reached))

    async def _opened(self, interest: Interest, cursor: str) -> Position:
        """Return a cursor's position; what fits no key may be of another host, which found none and made a new one."""
        try:
            return (await self._sealing()).open(interest, cursor)
        except InvalidArgument:
            if time.monotonic() < self._loaded + _RELOAD_SECONDS:
                raise
        self._seal = None
        return (await self._sealing()).open(interest, cursor)

    async def _sealing(self) -> cursors.Seal:
        if self._seal is None:
            self._seal = await cursors.load(self._engine, moment(self._clock.now()))
            self._loaded = time.monotonic()
        return self._seal

    async def aclose(self) -> None:
        """End every wait."""
        await self._changes.aclose()
