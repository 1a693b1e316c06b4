"""The bare drivers of MongoDB: what code without the store would call for the same work.

They work on the store's own collection, with its filters, its form of a document and its concerns. They know no users'
rights and no limits, and check nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReadPreference, UpdateOne, WriteConcern

from datastore.entry import NEVER
from tests.benchmarks import records
from tests.benchmarks.records import DataSet, Writer


class BareMongo:
    """Motor or PyMongo's async client on the store's own collection: primary, majority and journal as there."""

    def __init__(self, client: Any, sizes: Mapping[str, int], writer: Writer) -> None:
        durable = WriteConcern(w="majority", j=True)
        self._entries = client.get_default_database().get_collection(
            "entries", write_concern=durable, read_preference=ReadPreference.PRIMARY
        )
        self._sizes = sizes
        self._writer = writer
        self._here = {"userId": writer.owner, "namespace": writer.namespace}

    async def get(self, key: str) -> Any:
        """Return a value, or None."""
        found = await self._entries.find_one(self._among({"_id": self._writer.id(key)}))
        return None if found is None else found["value"]

    async def set(self, key: str, value: Any) -> None:
        """Write a value."""
        await self._entries.update_one(*self._upsert(key, value), upsert=True)

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """Return values."""
        wanted = self._among({"_id": {"$in": [self._writer.id(key) for key in keys]}})
        return [each["value"] for each in await self._entries.find(wanted, batch_size=len(keys) + 1).to_list(None)]

    async def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values, in any order and each by itself."""
        await self._entries.bulk_write(
            [UpdateOne(*self._upsert(*each), upsert=True) for each in values.items()], ordered=False
        )

    def _among(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return wanted | self._here | {"expiresAt": {"$gt": datetime.now(UTC)}}

    def _upsert(self, key: str, value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        now = datetime.now(UTC)
        name = {
            "_id": self._writer.id(key),
            "userId": self._writer.owner,
            "namespace": self._writer.namespace,
            "key": key,
        }
        written = records.written(value, self._sizes[key], records.version(), now) | {"expiresAt": NEVER}
        update = {"$set": written, "$setOnInsert": records.created(now)}
        return name | {"expiresAt": {"$gt": now}}, update


def sizes(data: DataSet) -> dict[str, int]:
    """Return what each value takes, which a bare driver of MongoDB need not measure."""
    return {key: len(records.text(each).encode()) for key, each in zip(data.keys, data.values, strict=True)}


@asynccontextmanager
async def mongo(backend: str, url: str, data: DataSet) -> AsyncIterator[BareMongo]:
    """Yield the driver, which finds what the store has written."""
    kind: Any = AsyncMongoClient if backend == "pymongo" else AsyncIOMotorClient
    client = kind(url)
    try:
        yield BareMongo(client, sizes(data), Writer("alice"))
    finally:
        if (closed := client.close()) is not None:
            await closed
