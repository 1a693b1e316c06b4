"""The backend over mongomock-motor: the fast tier, without a server. Adapted here and nowhere else.

What it cannot show, and why; a real server must:

- **Amounts.** It scans all that it holds for every key, so thousands of entries take minutes; real engines show those.
- **Races.** Statements run one after another in this process; nothing is ever between two of them.
- **Bulks.** Its `bulk_write` fails with this driver (`sort`), so the adapter runs requests one by one and gathers what
  failed. Round trips, retries and what a broken connection leaves behind therefore do not exist.
- **Refused insertions.** An upsert that would change its own `_id` inserts another document instead of failing.
- **Plans and indexes.** Hints are ignored, there is no explain, and no index is ever needed.
- **Garbage collection.** With its index mongomock removes expired documents when they are read, by the real clock and
  not by the operation's time, so that index is not made.
- **Encoding.** Documents stay Python objects: nothing is encoded, so `DBRef`, `Int64`, the depth and the 16 MiB of a
  document, and an empty or dotted field name, are accepted and come back whatever the codec would do. Codec options
  are left out because it refuses all but the usual ones.
- **Numbers.** `$inc` on True gives 2, a sum beyond 64 bits is stored, `$inc` with `$setOnInsert` on one path passes.
  So it shows that the filter of an increment refuses these, but not that the server would have. Its `findAndModify`
  loses what no longer meets the filter; an update and a look take its place here.
- **Expressions.** A filter's is left out, so nothing is compared with the server's time. Pipeline updates are applied
  wrongly in silence, and `$max` over null fails; neither is used.
- **Quotas.** What reserves room runs here, but nobody ever comes between two of its steps; its `$$NOW` is put in by the
  adapter, from this process's own clock.
- **Change streams.** It has none, so the backend looks for changes now and then, as on a server that is no replica set:
  what happens between two looks shows once, and a cursor is of no use to another store.
- **Transactions, sessions, concerns, deadlines, collations.** It has none, or ignores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions
from mongomock_motor import AsyncMongoMockClient
from pymongo import DeleteOne, IndexModel, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError
from pymongo.results import BulkWriteResult

from datastore.backends.mongo import MongoBackend
from datastore.backends.mongo.driver import Client, Cursor, Document, Request
from datastore.ports import Clock
from datastore.settings import Settings

E11000 = 11000
IMMUTABLE_FIELD = 66


async def mock_backend(clock: Clock) -> MongoBackend:
    """Return a backend over an empty mock, with its indexes made."""
    backend = MongoBackend(MockDatabase(), Settings(), clock, collect_garbage=False)
    await backend.prepare()
    return backend


class MockDatabase:
    """A database handle of the narrow shape that the backend drives."""

    def __init__(self) -> None:
        self._database: Any = AsyncMongoMockClient()["datastore"]

    def get_collection(self, name: str, **options: Any) -> MockCollection:
        """Return a collection; of the options only aware times are kept."""
        del options
        return MockCollection(self._database.get_collection(name, codec_options=CodecOptions(tz_aware=True)))

    @property
    def client(self) -> Client:
        """Refuse: there is none to make sessions."""
        raise NotImplementedError

    async def command(self, command: str | Document) -> Mapping[str, Any]:
        """Refuse: a mock has no server to ask."""
        raise NotImplementedError(str(command))


class MockCollection:
    """A collection of the narrow shape, over mongomock's."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def find(self, query: Document, projection: Document | None = None, **options: Any) -> Cursor:
        """Look for documents; the mock knows no hint."""
        options.pop("hint", None)
        cursor: Cursor = self._collection.find(query, projection, **options)
        return cursor

    def aggregate(self, pipeline: Sequence[Document]) -> Any:
        """Run a pipeline; the server's time is put in, since the mock has none."""
        return self._collection.aggregate([_with_time(each) for each in pipeline])

    async def find_one_and_update(self, query: Document, update: Document, **options: Any) -> Mapping[str, Any] | None:
        """Change one document and return it, by its id: the mock looks for what it changed by the whole filter."""
        result = await self._collection.update_one(_plain(query), update, upsert=options["upsert"])
        if not result.matched_count and result.upserted_id is None:
            return None
        found: Mapping[str, Any] = await self._collection.find_one({"_id": query["_id"]}, options["projection"])
        return found

    def watch(self, pipeline: Sequence[Document], **options: Any) -> Any:
        """Refuse: the mock has no change streams, so the backend looks for changes itself."""
        raise NotImplementedError(pipeline, options)

    async def delete_many(self, query: Document) -> Any:
        """Remove every match."""
        return await self._collection.delete_many(query)

    async def update_many(self, query: Document, update: Document) -> Any:
        """Change every match."""
        return await self._collection.update_many(query, update)

    async def options(self) -> Mapping[str, Any]:
        """Return nothing: a mock is created with nothing."""
        return {}

    async def index_information(self) -> Mapping[str, Any]:
        """Return the indexes that were created."""
        found: Mapping[str, Any] = await self._collection.index_information()
        return found

    async def create_indexes(self, indexes: Sequence[IndexModel], **_options: Any) -> Any:
        """Create indexes, which change nothing here."""
        return await self._collection.create_indexes(list(indexes))

    async def bulk_write(self, requests: Sequence[Request], *, ordered: bool = True, **_: Any) -> BulkWriteResult:
        """Run requests one by one; count and report as the driver's bulk does."""
        done: dict[str, Any] = {
            "writeErrors": [],
            "writeConcernErrors": [],
            "nInserted": 0,
            "nUpserted": 0,
            "nMatched": 0,
            "nModified": 0,
            "nRemoved": 0,
            "upserted": [],
        }
        for index, request in enumerate(requests):
            try:
                await self._run(request, done)
            except WriteError as error:
                done["writeErrors"].append({"index": index, "code": error.code, "errmsg": str(error)})
                if ordered:
                    break
        if done["writeErrors"]:
            raise BulkWriteError(done)
        return BulkWriteResult(done, acknowledged=True)

    async def _run(self, request: Request, done: dict[str, Any]) -> None:
        match request:
            case DeleteOne():
                done["nRemoved"] += (await self._collection.delete_one(_plain(request._filter))).deleted_count
                return
            case ReplaceOne():
                write = self._collection.replace_one
            case UpdateOne():
                write = self._collection.update_one
        refusing = isinstance(request._doc, Mapping) and "_id" in request._doc.get("$setOnInsert", ())
        try:
            result = await write(_plain(request._filter), request._doc, upsert=bool(request._upsert) and not refusing)
        except DuplicateKeyError as error:
            raise WriteError(str(error), E11000) from error
        if refusing and not result.matched_count:
            raise WriteError("the immutable field '_id'", IMMUTABLE_FIELD)
        inserted = result.upserted_id is not None
        done["nUpserted" if inserted else "nMatched"] += 1 if inserted else result.matched_count


def _plain(query: Mapping[str, Any]) -> Document:
    return {name: each for name, each in query.items() if name != "$expr"}


def _with_time(stage: Document) -> Document:
    return {
        name: {field: datetime.now(UTC) if each == "$$NOW" else each for field, each in facts.items()}
        if isinstance(facts, dict)
        else facts
        for name, facts in stage.items()
    }
