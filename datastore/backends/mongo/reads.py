"""What agents read: one query a page, always by an index, never counted as a write.

A query asks for one entry more than the page holds, in one batch, to learn whether there are more. A page is cut where
its values pass `PAGE_BYTES`; what the server has already sent beyond is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from datastore.backends.mongo import documents, errors, ranges
from datastore.backends.mongo.driver import Collection, Cursor, Document, maybe_await
from datastore.backends.mongo.statements import BY_ID
from datastore.document import Place, Span
from datastore.entry import Entry
from datastore.ports import PAGE_BYTES, Stub

_KEY_ALONE: Final = {"_id": 0, "key": 1}
_STUB: Final = {"_id": 0, "key": 1, "version": 1, "expiresAt": 1, "metadata": 1, "sizeBytes": 1}


class Reader:
    """The half of the backend that reads."""

    _entries: Collection

    async def get(self, place: Place, keys: Sequence[str], now: datetime) -> tuple[list[Entry], list[str]]:
        """Return entries by key, a page at most, and the keys not looked at.

        They come in the order of their ids, so what a page leaves out are the keys whose ids are greater.
        """
        if not keys:
            return [], []
        wanted = ranges.among(place, keys, now)
        number = len(keys)
        entries, more = await errors.answered(
            lambda: _page(self._entries.find(wanted, sort=BY_ID, batch_size=number + 1, hint=BY_ID), number)
        )
        last = place.id(entries[-1].key) if more else None
        return entries, [] if last is None else [key for key in keys if place.id(key) > last]

    async def peek(self, place: Place, keys: Sequence[str], now: datetime) -> list[Stub]:
        """Return what stands at the keys, without reading values."""
        if not keys:
            return []
        wanted = ranges.among(place, keys, now)
        found = await errors.answered(
            lambda: self._entries.find(wanted, _STUB, batch_size=len(keys) + 1, hint=BY_ID).to_list()
        )
        return [documents.stub(documents.plain(each)) for each in found]

    async def scan(self, place: Place, span: Span, now: datetime) -> tuple[list[Entry], str | None]:
        """Return a page of entries, and the key after which to go on."""
        return await self._scan(place, span, now, None)

    async def keys(self, place: Place, span: Span, now: datetime) -> tuple[list[str], str | None]:
        """Return a page of keys from the index alone, and the key after which to go on."""
        found = await errors.answered(lambda: self._find(place, span, now, _KEY_ALONE).to_list())
        keys = [str(each["key"]) for each in found[: span.limit]]
        return keys, keys[-1] if len(found) > span.limit else None

    async def namespaces(self, owner: str, prefix: str, now: datetime) -> list[str]:
        """Return the stored names that hold a live entry, in code point order."""
        wanted: Document = {"userId": owner, "expiresAt": {"$gt": now}}
        if bounds := ranges.starting(prefix):
            wanted["namespace"] = bounds
        found = await self._aggregate({"$match": wanted}, {"$group": {"_id": "$namespace"}})
        return sorted(each["_id"] for each in found)

    async def count(self, place: Place, prefix: str, now: datetime) -> int:
        """Return how many live entries have the prefix."""
        wanted = ranges.within(place, Span(prefix=prefix), now)
        found = await self._aggregate({"$match": wanted}, {"$group": {"_id": None, "number": {"$sum": 1}}})
        return int(found[0]["number"]) if found else 0

    async def _scan(
        self, place: Place, span: Span, now: datetime, projection: Document | None
    ) -> tuple[list[Entry], str | None]:
        entries, more = await errors.answered(lambda: _page(self._find(place, span, now, projection), span.limit))
        return entries, entries[-1].key if more else None

    def _find(self, place: Place, span: Span, now: datetime, projection: Document | None) -> Cursor:
        wanted = ranges.within(place, span, now)
        order = [("key", -1 if span.reverse else 1)]
        limit = span.limit + 1
        return self._entries.find(wanted, projection, sort=order, limit=limit, batch_size=limit)

    async def _aggregate(self, *stages: Document) -> list[Document]:
        found = await errors.answered(lambda: aggregated(self._entries, stages))
        return [documents.plain(each) for each in found]


async def aggregated(collection: Collection, stages: Sequence[Document]) -> list[Mapping[str, Any]]:
    """Return all that a pipeline gives."""
    cursor: Cursor = await maybe_await(collection.aggregate(list(stages)))
    return await cursor.to_list(None)


async def _page(cursor: Cursor, limit: int) -> tuple[list[Entry], bool]:
    """Return entries up to the limit and about a page's bytes, and whether there are more."""
    entries: list[Entry] = []
    used = 0
    try:
        async for each in cursor:
            found = documents.entry(documents.plain(each))
            used += found.size_bytes
            if entries and (len(entries) == limit or used > PAGE_BYTES):
                return entries, True
            entries.append(found)
    finally:
        await cursor.close()
    return entries, False
