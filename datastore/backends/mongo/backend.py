"""The backend: a database handle of either driver, with the reading and the writing half over it."""

from __future__ import annotations

from collections import abc
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Any, Final, Self

from bson.codec_options import CodecOptions
from pymongo import ReadPreference, WriteConcern

from datastore.backends.migrations import migrate
from datastore.backends.mongo import indexes, layouts, ledger, opening, restoring
from datastore.backends.mongo.documents import COMMANDS, UNDECODED
from datastore.backends.mongo.driver import Client, Collection, Database, Listener
from datastore.backends.mongo.erasing import Erasing
from datastore.backends.mongo.indexing import Indexing
from datastore.backends.mongo.inspection import Inspection
from datastore.backends.mongo.polling import PollingJournal
from datastore.backends.mongo.reservations import Charge, Reservations
from datastore.backends.mongo.streams import StreamJournal, has_streams
from datastore.backends.mongo.writes import DURABLE, Writer
from datastore.clock import latest
from datastore.document import Interest, Place
from datastore.entry import Entry
from datastore.layout import Layout
from datastore.ports import FRESH_SECONDS, Clock, Logged, Position
from datastore.quotas import Quota
from datastore.settings import Settings

_COUNTED: Final = WriteConcern(w=1)
"""For counts of reads: a crash may lose the last of them, never data."""


class MongoBackend(Inspection, Erasing, Writer, ledger.Auditing):
    """Entries in one MongoDB collection, and the audit log in one beside it; implements `ports.Engine`.

    Args:
        database: a handle of Motor or of PyMongo's async client; whoever made it closes it.
        settings: which collection.
        clock: the present, which writes are judged by.
        collect_garbage: whether `prepare` makes the index by which the server removes what expired.
        transactions: whether the server has them: a replica set or a sharded cluster.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        *,
        collect_garbage: bool = True,
        transactions: bool = False,
    ) -> None:
        name = settings.mongo_collection

        def collection(name: str, codec: CodecOptions[Any] = COMMANDS, durable: WriteConcern = DURABLE) -> Collection:
            return database.get_collection(
                name, codec_options=codec, write_concern=durable, read_preference=ReadPreference.PRIMARY
            )

        self._entries = collection(name, UNDECODED)
        self._commands = collection(name)
        self._counts = collection(name, durable=_COUNTED)
        self._audit = collection(f"{name}.audit", ledger.CODEC)
        self._layout = layouts.MongoLayoutRecord(collection(f"{name}_layout"), self._entries)
        self._reservations = Reservations(
            collection(f"{name}_counters"), self._entries, settings.operation_timeout_seconds, clock
        )
        wanted = {name: indexes.wanted(collect_garbage=collect_garbage), f"{name}.audit": ledger.INDEXES}
        self._indexing = Indexing(database, wanted, DURABLE, settings.connect_timeout_seconds)
        self._database = database
        self._clock = clock
        self._seconds = settings.operation_timeout_seconds
        self._transactions = transactions
        self._journal: StreamJournal | PollingJournal = PollingJournal(self._entries)
        self._collect_garbage = collect_garbage
        self._client: Client | None = None

    @classmethod
    async def open(
        cls, url: str, settings: Settings, clock: Clock, *, event_listeners: Sequence[Listener] = ()
    ) -> Self:
        """Connect, compare clocks, refuse what would break a promise, make or repair indexes.

        Args:
            url: where the server is; the database it names, else `datastore`, holds the collection.
            settings: driver, collection and deadlines.
            clock: the time of writes; reads carry theirs.
            event_listeners: told by the driver of every command.

        Raises:
            ConfigurationError: the URL or the server's set-up cannot be used; the message has the remedy.
            StoreUnavailable: the server does not answer within `settings.connect_timeout_seconds`.
        """
        client, database = opening.connect(url, settings, event_listeners)
        try:
            backend = cls(database, settings, clock)
            hello = await opening.examine(database, backend._entries, url, settings)
            backend._transactions = has_streams(hello)
            if has_streams(hello):
                backend._journal = StreamJournal(database, settings)
            patient = settings.model_copy(update={"mongo_driver": "pymongo"})
            await backend.prepare(
                opening.hosts(url), lambda: opening.connect(url, patient), replicated="setName" in hello
            )
        except BaseException:
            await opening.close(client)
            raise
        backend._client = client
        return backend

    async def prepare(
        self,
        at: str = "the given handle",
        connect: Callable[[], tuple[Client, Database]] | None = None,
        *,
        replicated: bool = False,
    ) -> None:
        """Bring the store to the layout of this version, and make the indexes that are missing.

        Args:
            at: what messages call the server.
            connect: makes a client that makes indexes; None: the given handle does.
            replicated: whether the server is a replica set.
        """
        with opening.answering(at):
            settling = FRESH_SECONDS + self._seconds
            await migrate(self._layout, layouts.MIGRATIONS, f"the MongoDB store at {at}", settling)
        await self._indexing.complete(at, connect, replicated=replicated)

    async def layout(self) -> Layout:
        """Return the layout that the store has; see `Engine.layout`."""
        return await self._layout.read()

    async def aclose(self) -> None:
        """Release connections; idempotent. A handle that was given stays open."""
        await self._indexing.aclose()
        await self._reservations.aclose()
        client, self._client = self._client, None
        if client is not None:
            await opening.close(client)

    def vet(self, entries: Sequence[Entry]) -> None:
        """Refuse entries that a document cannot hold; see `Inspector.vet`."""
        restoring.vet(entries)

    async def restore(
        self, place: Place, entries: Sequence[Entry], now: datetime, *, replace: bool, quota: Quota | None = None
    ) -> list[str]:
        """Put entries back as they are given; return the keys left standing."""
        standing: list[str] = []
        if quota is not None and not replace:  # What is left alone takes no room.
            standing = [each.key for each in await self.peek(place, [each.key for each in entries], now)]
        given = [each for each in entries if each.key not in standing]
        if not given:
            return standing
        left = await self._reservations.within(
            quota,
            [Charge(place, each.key, each.size_bytes, sure=replace) for each in given],
            now,
            lambda: restoring.restore(self._commands, place, given, latest(now, self._clock), replace=replace),
            lambda left: len(left) == len(given),
        )
        return standing + left

    async def head(self, place: Place | None = None) -> Position:
        """Return the present; see `Journal.head`."""
        return await self._journal.head(place)

    async def latest(self) -> Position:
        """Return what no change is beyond which was told; see `Journal.latest`."""
        return await self._journal.latest()

    def follow(
        self, after: Position, watched: Callable[[], abc.Collection[Place]]
    ) -> AsyncGenerator[tuple[list[Logged], Position], None]:
        """Give the changes of all owners as they come; see `Journal.follow`."""
        return self._journal.follow(after, watched)

    async def past(self, interest: Interest, after: Position, limit: int) -> tuple[list[Logged], Position]:
        """Return the changes of an interest after a position until now; see `Journal.past`."""
        return await self._journal.past(interest, after, limit)
