"""An engine that refuses everything once a later version has changed the store's form so that this one must not use it.

Every call of it has the deadline of an operation, counted from its start, or that of the operation it is part of.

Theory of operation:

- A host may act for FRESH_SECONDS on what it knows of the layout, counted from before it read it. A migration that
  older hosts cannot be at work beside waits for that time, and for the deadline of one operation, before it begins.
- Every coroutine method of the engine is guarded, also one that is added later: reads, writes, and the host's own work
  such as counted reads, the audit log and erasures. The change feed is not: it holds versions alone, and the operations
  that wait for it are refused.
- An engine in use is read again in the background before its layout is too old to act on, so a busy host never waits.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, cast

from datastore import deadlines
from datastore.errors import StoreUnavailable
from datastore.layout import Layout
from datastore.ports import FRESH_SECONDS, Engine
from datastore.service.elapsed import elapsed

_log = logging.getLogger("datastore.layout")

_UNGUARDED: Final = frozenset({"aclose", "layout"})
_READINGS: Final = 3
"""Readings of the layout in the time for which one of them holds."""
_TRIES: Final = 3


class LayoutGuard:
    """An engine whose methods are refused if this version is too old for the store.

    Args:
        engine: what is guarded.
        seconds: the deadline of a call.
        elapsed: the seconds that pass, suspended or not.
    """

    def __init__(self, engine: Engine, seconds: float, elapsed: Callable[[], float] = elapsed) -> None:
        self._engine = engine
        self._seconds = seconds
        self._elapsed = elapsed
        self._read_at = -math.inf
        self._refusal: str | None = None
        self._reading: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name in _UNGUARDED or not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        async def guarded(*given: Any, **named: Any) -> Any:
            with deadlines.within(self._seconds):
                await self._check()
                return await found(*given, **named)

        setattr(self, name, guarded)
        return guarded

    async def aclose(self) -> None:
        """Let a reading end, and close the engine."""
        if self._reading is not None:
            await asyncio.wait({self._reading})
        await self._engine.aclose()

    async def _check(self) -> None:
        """Refuse if this version is too old.

        Raises:
            StoreUnavailable: it is; or the engine does not answer, or so late that the layout may have changed.
        """
        for _ in range(_TRIES):
            age = self._elapsed() - self._read_at
            if age <= FRESH_SECONDS:
                if age > FRESH_SECONDS / _READINGS:
                    self._begin_reading()
                break
            try:
                await deadlines.wait_for(self._begin_reading())
            except StoreUnavailable as error:
                raise StoreUnavailable(deadlines.TOO_LATE) from error  # Whatever the reading wrote, the call did not.
        else:
            raise StoreUnavailable(deadlines.TOO_SLOW)
        if self._refusal is not None:
            raise StoreUnavailable(self._refusal, advice="No operation is possible until then.")

    def _begin_reading(self) -> asyncio.Task[None]:
        """Return the one reading that is on its way."""
        if self._reading is None:
            # In a context of its own: it works for everyone who waits, on no one's account.
            self._reading = asyncio.create_task(self._read(), name="datastore layout", context=Context())
            self._reading.add_done_callback(self._ended)
        return self._reading

    async def _read(self) -> None:
        began = self._elapsed()
        with deadlines.within(self._seconds):
            layout: Layout = await self._engine.layout()
        if layout.refusal not in {None, self._refusal}:
            _log.error("every operation is refused: %s", layout.refusal)
        self._refusal, self._read_at = layout.refusal, began

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # Seen: who asked may be gone.


def guard_layout(engine: Engine, seconds: float) -> Engine:
    """Return an engine that refuses everything if this version is too old for its store.

    Args:
        engine: what is guarded.
        seconds: the deadline of a call that is not part of an operation.
    """
    return cast("Engine", LayoutGuard(engine, seconds))
