"""What changed, from MongoDB's change streams: on a replica set or a sharded cluster.

Theory of operation:

- A stream tells of insertions, replacements, removals and new versions; counted reads and new expiries change no
  version. An entry that expires is removed by the server's garbage collection.
- A position is (cluster time, ordinal). The changes of a transaction share their time; the ordinal counts those of one
  namespace, so a stream of that namespace alone counts as the stream of everything does.
- Once the server has nothing more, its token says up to when it has looked, and everything until then was told.
- A stream that breaks or is ended goes on where it stood. What a drop or a rename of the collection took away is not
  told of entry by entry; what is written afterwards is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from typing import Any, Final

from bson.timestamp import Timestamp

from datastore.backends.mongo import errors
from datastore.backends.mongo.driver import Database, Document
from datastore.backends.mongo.events import Events
from datastore.document import Interest, Place
from datastore.errors import StoreUnavailable
from datastore.ports import Logged, Position
from datastore.settings import Settings

_LAST: Final = 2**31
"""The ordinal after every change of its time."""
_AWAIT_SECONDS: Final = 0.5
_HASTY_SECONDS: Final = 0.01
_RETRY_SECONDS: Final = 0.2


def has_streams(hello: Mapping[str, Any]) -> bool:
    """Say whether a server that introduced itself so is part of a replica set, or leads to some."""
    return "setName" in hello or hello.get("msg") == "isdbgrid"


class StreamJournal:
    """The half of the backend that tells of changes.

    Args:
        database: the handle.
        settings: which collection, and the deadline of an operation.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._entries = database.get_collection(settings.mongo_collection)
        self._seconds = settings.operation_timeout_seconds

    async def head(self, place: Place | None = None) -> Position:
        """Return the time of the last write that a majority of the members has."""
        del place
        return await self._last_write("majorityOpTime")

    async def latest(self) -> Position:
        """Return the time of the primary's last write.

        A new primary has all that a majority has, but learns only a moment later that a majority has it.
        """
        return await self._last_write("opTime")

    async def _last_write(self, which: str) -> Position:
        hello = await errors.answered(lambda: self._database.command("hello"))
        last = hello["lastWrite"][which]["ts"] if "lastWrite" in hello else hello["operationTime"]
        return _number(last), _LAST

    async def follow(
        self, after: Position, watched: Callable[[], Collection[Place]]
    ) -> AsyncGenerator[tuple[list[Logged], Position], None]:
        """Give changes as they come; nothing while the server is away."""
        del watched
        events = Events(self._entries, after[0], None, wait_seconds=_AWAIT_SECONDS, seconds=self._seconds)
        ordinals = _Ordinals()
        try:
            while True:
                try:
                    event = await events.next()
                except StoreUnavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                if event is None:
                    yield [], (events.time, _LAST)
                elif (change := ordinals.logged(event)) is not None and change.position > after:
                    yield [change], (change.position[0], 0)
        finally:
            await events.close()

    async def past(self, interest: Interest, after: Position, limit: int) -> tuple[list[Logged], Position]:
        """Return the changes of an interest after a position; see `Journal.past`."""
        head = await self.head()
        events = Events(self._entries, after[0], interest.place, wait_seconds=_HASTY_SECONDS, seconds=self._seconds)
        ordinals = _Ordinals()
        found: list[Logged] = []
        try:
            async with asyncio.timeout(self._seconds):
                while len(found) < limit:
                    event = await events.next()
                    change = None if event is None else ordinals.logged(event)
                    if change is not None and change.position > after and _is_meant(interest, change):
                        found.append(change)
                    if event is None and events.time >= head[0]:
                        # What was found may be later than the head: others write on meanwhile.
                        return found, max((events.time, _LAST), after)
        except TimeoutError as error:
            raise StoreUnavailable("the store did not find the changes in time") from error
        finally:
            await events.close()
        return found, found[-1].position


def _is_meant(interest: Interest, change: Logged) -> bool:
    return change.place == interest.place and interest.holds(change.key)


class _Ordinals:
    """Counts the changes of a time, namespace by namespace."""

    def __init__(self) -> None:
        self._time = 0
        self._counted: dict[Place, int] = {}

    def logged(self, event: Document) -> Logged | None:
        """Return the change that an event tells of, or None where it is none of ours."""
        if "documentKey" not in event or (named := Place.of_id(str(event["documentKey"]["_id"]))) is None:
            return None
        place, key = named
        time = _number(event["clusterTime"])
        if time != self._time:
            self._time, self._counted = time, {}
        ordinal = self._counted[place] = self._counted.get(place, 0) + 1
        version = None if event["operationType"] == "delete" else str(event.get("version", ""))
        return Logged(place, key, version, (time, ordinal))


def _number(time: Timestamp) -> int:
    return time.time << 32 | time.inc
