"""One change stream of the collection, opened again wherever it ends; its resume tokens never leave this file.

The server projects each event to the id, the time and the version: never the value, which would make one large write
the end of the stream for everyone. Tokens hold the ids of other users in clear.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import pymongo
from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure, PyMongoError

from datastore.backends.mongo import errors
from datastore.backends.mongo.driver import Collection, Document, Stream, maybe_await
from datastore.document import Place
from datastore.errors import PastGone

T = TypeVar("T")

_ENDINGS: Final = ["drop", "rename", "dropDatabase", "invalidate"]
_CHANGES: Final[list[Document]] = [
    {"operationType": "delete"},
    {"operationType": {"$in": ["insert", "replace"]}, "fullDocument.version": {"$exists": True}},
    {"operationType": "update", "updateDescription.updatedFields.version": {"$exists": True}},
]
_SHOWN: Final = {
    "operationType": 1,
    "documentKey": 1,
    "clusterTime": 1,
    "version": {"$ifNull": ["$fullDocument.version", "$updateDescription.updatedFields.version"]},
}
_HISTORY_LOST: Final = frozenset(
    {
        136,  # CappedPositionLost
        260,  # InvalidResumeToken
        280,  # ChangeStreamFatalError
        286,  # ChangeStreamHistoryLost
    }
)
_TOKEN_TIME: Final = slice(2, 18)
"""Where a token holds its time: after the byte of its type, as 16 hexadecimal digits."""


class Events:
    """The events of the collection from a time on.

    Args:
        entries: the collection, decoding as the driver does by default.
        since: the time of the first ones.
        place: tells of this namespace, and of others that the server cannot tell from it; None: of everything.
        wait_seconds: how long the server waits for a change before it says that there is none.
        seconds: the deadline of one question to the server.
    """

    def __init__(
        self, entries: Collection, since: int, place: Place | None, *, wait_seconds: float, seconds: float
    ) -> None:
        self._entries = entries
        self._start: dict[str, Any] = {"start_at_operation_time": Timestamp(since >> 32, since & 0xFFFFFFFF)}
        self._pipeline = [{"$match": _match(place)}, {"$project": _SHOWN}]
        self._wait_seconds = wait_seconds
        self._seconds = seconds
        self._stream: Stream | None = None
        self.time = 0
        """Up to when the server has looked."""

    async def next(self) -> Document | None:
        """Return the next event, or None where the server has none now.

        Raises:
            StoreUnavailable: the server did not answer; to try again.
            PastGone: it no longer has what comes next.
        """
        try:
            with _translated(), pymongo.timeout(self._seconds + self._wait_seconds):
                return await to_its_end(self._next())
        except BaseException:
            await self.close()
            raise

    async def _next(self) -> Document | None:
        stream = self._stream
        if stream is None:
            wait = int(self._wait_seconds * 1000)
            opened = self._entries.watch(self._pipeline, max_await_time_ms=wait, **self._start)
            stream = self._stream = cast(Stream, await maybe_await(opened))
        event = await stream.try_next()
        if (token := stream.resume_token) is not None:
            self._start = {"start_after": token}
            self.time = int(token["_data"][_TOKEN_TIME], 16)
        if not stream.alive:
            await self.close()
        return event

    async def close(self) -> None:
        """Leave the stream; `next` opens another one where it stood."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(PyMongoError), pymongo.timeout(self._seconds):
                await to_its_end(stream.close())


def _match(place: Place | None) -> Document:
    if place is None:
        return {"$or": [{"operationType": {"$in": _ENDINGS}}, *_CHANGES]}
    first = place.id("")
    theirs = {"documentKey._id": {"$gte": first, "$lt": first[:-1] + ";"}}
    return {"$or": [{"operationType": {"$in": _ENDINGS}}, *({**each, **theirs} for each in _CHANGES)]}


@contextmanager
def _translated() -> Iterator[None]:
    with errors.translated(write=False):
        try:
            yield
        except OperationFailure as error:
            if error.code not in _HISTORY_LOST:
                raise
            raise PastGone from error


async def to_its_end(work: Awaitable[T]) -> T:
    """Await the driver's answer even when cancelled meanwhile: one driver works in threads, which go on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # Seen: whoever asked is gone.
        raise
