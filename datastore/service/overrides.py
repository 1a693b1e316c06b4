"""What operators set for single users and spaces, in place of the host's own limits: entries of the store's own owner.

Theory of operation: an override has a digest of the owner for its key, so that what is left of an erased user does
not say who it was. One more entry, which changes with every override, says to all hosts that there are any, and that
what they remember is old; they look at it every few seconds, off the path of any operation. So a store without
overrides costs nobody anything, and elsewhere an owner's is read once. What a host remembers is bounded in number, and
in age: unless the look succeeded lately, an operation looks itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, ValidationError

from datastore import values
from datastore.document import Place, moment
from datastore.entry import NEVER
from datastore.errors import Conflict, StoreUnavailable, after
from datastore.models import Model, Most
from datastore.ports import Actor, Backend, Change, Clock, Removal, Write
from datastore.service.blocks import digest

PLACE: Final = Place("@@datastore", "quotas")
EVERY_SECONDS: Final = 2.0
ANY: Final = "*"
"""The namespace under which the ceiling of every namespace without one of its own is kept."""
_CHANGED: Final = "@@changed"
"""A key that is no digest."""
_MOST_REMEMBERED: Final = 10_000
_MISSED: Final = 5
"""After how many looks that failed an operation looks itself."""

_log = logging.getLogger("datastore.quotas")


class Room(Model):
    """The most of both; None: as the host's own limits say."""

    bytes: Most = None
    keys: Most = None


class Override(Model):
    """What was set for one owner; None everywhere: nothing."""

    value_bytes: Annotated[int | None, Field(gt=0, le=values.VALUE_BYTES)] = None
    whole: Room = Room()
    namespaces: dict[str, Room] = Field(default_factory=dict)


NOTHING: Final = Override()


class Overrides:
    """The overrides of one store, as one host knows them.

    Args:
        backend: where they are.
        clock: where time comes from.
        seconds: how often it looks for changes.
    """

    def __init__(self, backend: Backend, clock: Clock, seconds: float = EVERY_SECONDS) -> None:
        self._backend = backend
        self._clock = clock
        self._seconds = seconds
        self._changed: str | None = None
        self._looked: float | None = None
        self._found: OrderedDict[str, tuple[Override, str | None]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def of(self, owner: str) -> tuple[Override, str | None]:
        """Return an owner's and its version; see `read`.

        Raises:
            StoreUnavailable: the engine does not answer, or holds what cannot be read.
        """
        await self.look(_MISSED * self._seconds)
        if self._changed is None:
            return NOTHING, None
        if owner not in self._found:
            changed = self._changed
            found = await read(self._backend, owner, moment(self._clock.now()))
            if changed != self._changed:
                return found
            self._found[owner] = found
        self._found.move_to_end(owner)
        if len(self._found) > _MOST_REMEMBERED:
            self._found.popitem(last=False)
        return self._found[owner]

    async def look(self, age_seconds: float = 0) -> None:
        """Forget what is old, unless somebody looked lately; go on doing so from now on.

        Raises:
            StoreUnavailable: the engine does not answer.
        """
        loop = asyncio.get_running_loop()
        if self._looked is not None and loop.time() - self._looked < age_seconds:
            return
        stubs = await self._backend.peek(PLACE, [_CHANGED], moment(self._clock.now()))
        changed = stubs[0].version if stubs else None
        if changed != self._changed:
            self._found.clear()
        self._changed, self._looked = changed, loop.time()
        if self._task is None:
            self._task = asyncio.create_task(self._forever(), name="datastore overrides", context=Context())

    async def aclose(self) -> None:
        """End looking. A driver may miss that it is cancelled, so the next look is not begun either."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        while not self._closing:
            await asyncio.sleep(self._seconds)
            try:
                await self.look()
            except StoreUnavailable:
                pass  # The next look may succeed; if none does, operations look themselves.
            except Exception:  # noqa: BLE001 - as above
                _log.warning("looking for changed quotas failed, and will be tried again", exc_info=True)


async def read(backend: Backend, owner: str, now: datetime) -> tuple[Override, str | None]:
    """Return an owner's override and its version; where there is none, one that sets nothing, and None.

    Raises:
        StoreUnavailable: what stands there cannot be read.
    """
    found, _ = await backend.get(PLACE, [digest(owner)], now)
    if not found:
        return NOTHING, None
    try:
        return Override.model_validate(found[0].value), found[0].version
    except ValidationError:
        raise StoreUnavailable(
            "the quota that was set here cannot be read", advice="Ask the host to set it again."
        ) from None


async def change(backend: Backend, owner: str, edit: Callable[[Override], Override], actor: Actor) -> Override:
    """Change an owner's override, and let all hosts know; return what stands now.

    They are told also where nothing changes: whoever changed it may have ended before it told them.

    Raises:
        Conflict: somebody else changed it meanwhile; nothing was written.
    """
    standing, version = await read(backend, owner, actor.now)
    edited = edit(standing)
    changes: list[Change] = []
    if edited != NOTHING:
        changes.append(_write(digest(owner), edited.model_dump(exclude_defaults=True), version, absent=version is None))
    elif version is not None:
        changes.append(Removal(digest(owner), version))
    if changes:
        (outcome,) = (await backend.apply(PLACE, changes, actor)).outcomes
        if not outcome.applied:
            raise Conflict(owner, outcome.version)
    with after(bool(changes), "the quota was set, and other hosts may not have been told"):
        await backend.apply(PLACE, [_write(_CHANGED, None, None, absent=False)], actor)
    return edited


def _write(key: str, value: object, version: str | None, *, absent: bool) -> Write:
    return Write(key, value, values.size(value), secrets.token_hex(12), NEVER, {}, version, absent)
