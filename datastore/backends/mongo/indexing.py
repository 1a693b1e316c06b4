"""The making of indexes that a start finds missing.

Theory of operation:

- Every list needs one index, so a start waits until that is made, and says in the log that it waits. What the others
  serve (garbage collection, erasures, questions to the audit log) works without them, slowly. A start waits for those
  only for a few seconds; a larger collection's are made in the background.
- An index counts as made when a majority of a replica set's members has it. The server would otherwise wait for every
  voting member, also for one that is down.
- A client of its own makes them, because an index takes long and a call of Motor's cannot be cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Final

import pymongo
from pymongo import IndexModel, WriteConcern

from datastore.backends.mongo import indexes, opening
from datastore.backends.mongo.driver import Client, Database

INDEXING_SECONDS: Final = 3600.0
"""The longest that an index may take, on a large collection."""
_TELLING_SECONDS: Final = 10.0

_log = logging.getLogger("datastore.mongo")

Wanted = Mapping[str, Sequence[IndexModel]]
"""Indexes by collection."""


class Indexing:
    """The indexes of one store, from its start to its end.

    Args:
        database: a handle, to see what is missing.
        wanted: the indexes by collection; reads need only `indexes.LISTING`.
        durable: the write concern.
        seconds: how long a start waits for indexes that no read needs.
    """

    def __init__(self, database: Database, wanted: Wanted, durable: WriteConcern, seconds: float) -> None:
        self._database = database
        self._wanted = wanted
        self._at = ""
        self._durable = durable
        self._seconds = seconds
        self._making: asyncio.Task[None] | None = None
        self._can_list = asyncio.Event()

    async def complete(
        self, at: str, connect: Callable[[], tuple[Client, Database]] | None, *, replicated: bool
    ) -> None:
        """Make what is missing.

        Args:
            at: the server's name in messages.
            connect: makes the client for it, whose calls end when they are cancelled; None: the handle is used.
            replicated: whether the server has a majority that can be waited for.

        Raises:
            ConfigurationError: another index stands in the way.
            StoreUnavailable: the server does not answer.
        """
        self._at = at
        if not (missing := await self._missing()):
            return None
        if connect is None:
            return await self._make(self._database, missing, replicated=replicated)
        work = self._make_apart(connect, missing, replicated=replicated)
        self._making = asyncio.create_task(work, name="datastore indexes", context=Context())
        try:
            await self._wait(missing)
        except BaseException:
            await self.aclose()
            raise
        return None

    async def aclose(self) -> None:
        """Stop waiting for what is being made; a server may go on with it, and the next start looks again."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _missing(self) -> dict[str, list[IndexModel]]:
        found = {}
        for name, wanted in self._wanted.items():
            with opening.answering(self._at), pymongo.timeout(self._seconds):
                standing = await self._database.get_collection(name).index_information()
            if faulty := [each for each in wanted if indexes.fault(each, standing.get(each.document["name"]))]:
                found[name] = faulty
        return found

    async def _make_apart(
        self, connect: Callable[[], tuple[Client, Database]], missing: Wanted, *, replicated: bool
    ) -> None:
        client, database = connect()
        try:
            await self._make(database, missing, replicated=replicated)
        finally:
            await opening.close(client)

    async def _make(self, database: Database, missing: Wanted, *, replicated: bool) -> None:
        """Make first what lists need, then the rest."""
        options = {"commitQuorum": "majority"} if replicated else {}
        for needed in (True, False):
            for name, models in missing.items():
                made = [each for each in models if (each is indexes.LISTING) is needed]
                if made:
                    collection = database.get_collection(name, write_concern=self._durable)
                    with opening.answering(self._at, _names(made)), pymongo.timeout(INDEXING_SECONDS):
                        await collection.create_indexes(made, **options)
            self._can_list.set()

    async def _wait(self, missing: Wanted) -> None:
        assert self._making is not None  # noqa: S101 - `complete` has begun it
        waiting = asyncio.create_task(self._can_list.wait())
        names = _names([each for models in missing.values() for each in models if each is not indexes.LISTING])
        try:
            while not await _any({self._making, waiting}, _TELLING_SECONDS):
                _log.warning(
                    "this start waits for MongoDB at %s to make an index that every list needs (%s). "
                    "A large collection takes minutes; if it takes longer, is a majority of the members up?",
                    self._at,
                    indexes.LISTING.document["name"],
                )
        finally:
            waiting.cancel()
        if await _any({self._making}, self._seconds):
            return self._making.result()
        _log.warning("MongoDB at %s is still making indexes (%s), which no read waits for", self._at, names)
        self._making.add_done_callback(self._ended)
        return None

    def _ended(self, making: asyncio.Task[None]) -> None:
        if not making.cancelled() and (error := making.exception()) is not None:
            _log.error("MongoDB at %s has not made all indexes, and the next start tries again: %s", self._at, error)


async def _any(tasks: set[asyncio.Task[Any]], seconds: float) -> bool:
    """Wait until one has ended; say whether one has in time."""
    ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return bool(ended)


def _names(models: Sequence[IndexModel]) -> str:
    return ", ".join(each.document["name"] for each in models)
