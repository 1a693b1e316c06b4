"""What operators look at, and what an owner holds: aggregations over live entries. No look counts as a read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pymongo import IndexModel

from datastore.backends.mongo import documents, errors, indexes, ledger, ranges
from datastore.backends.mongo.driver import Collection
from datastore.backends.mongo.reads import Reader
from datastore.backends.mongo.statements import BY_ID, LONG_AGO, live
from datastore.document import Place, Span
from datastore.entry import Entry
from datastore.ports import Holder, Holding, Part, Record

_TOTALS: Final = {"keys": {"$sum": 1}, "bytes": {"$sum": "$sizeBytes"}, "last": {"$max": "$updatedAt"}}
_ALL_NAMES: Final = {"owner": "$userId", "namespace": "$namespace"}
_OWNER: Final = {
    "_id": "$_id.owner",
    "namespaces": {"$sum": 1},
    "keys": {"$sum": "$keys"},
    "bytes": {"$sum": "$bytes"},
    "last": {"$max": "$last"},
}


class Inspection(Reader):
    """The operators' part of the backend."""

    _audit: Collection
    _collect_garbage: bool

    async def usage(self, owner: str, now: datetime) -> dict[str, Holding]:
        """Return what each stored namespace of the owner holds."""
        found = await self._aggregate(
            {"$match": {"userId": owner} | live(now)}, {"$group": {"_id": "$namespace"} | _TOTALS}
        )
        return {each["_id"]: Holding(each["keys"], each["bytes"], each["last"]) for each in found}

    async def owners(self, after: str | None, limit: int, now: datetime) -> list[Holder]:
        """Return owners with live entries in code point order: their names from the index, then what these hold."""
        names = await self._owners(after, limit, now)
        found = await self._aggregate(
            {"$match": {"userId": {"$in": names}} | live(now)},
            {"$group": {"_id": _ALL_NAMES} | _TOTALS},
            {"$group": _OWNER},
            {"$sort": {"_id": 1}},
        )
        return [_holder(each) for each in found]

    async def _owners(self, after: str | None, limit: int, now: datetime) -> list[str]:
        found = await self._aggregate(
            {"$match": {"userId": {"$gt": after or ""}} | live(now)},  # no owner is the empty string
            {"$group": {"_id": "$userId"}},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
        )
        return [each["_id"] for each in found]

    async def outline(self, place: Place, span: Span, now: datetime) -> tuple[list[Entry], str | None]:
        """Return a page of entries with None for their values, and the key after which to go on."""
        return await self._scan(place, span, now, {"value": 0})

    async def survey(self, begin: str, after: str | None, limit: int) -> list[Record]:
        """Return the next records in the order of their ids, none of their values."""
        wanted = {"_id": ranges.starting(begin) | {"$gt": after or begin}, "expiresAt": {"$ne": LONG_AGO}}
        found = await errors.answered(
            lambda: self._entries.find(
                wanted, {"value": 0}, sort=BY_ID, limit=limit, batch_size=limit, hint=BY_ID
            ).to_list()
        )
        return [documents.record(each) for each in found]

    async def parts(self, *, thorough: bool) -> list[Part]:
        """Return the indexes, and whether every document has an id of the store's form."""
        del thorough  # A server looks after its own files.
        wanted = indexes.wanted(collect_garbage=self._collect_garbage)
        entries = await self._indexes(self._entries, "", wanted)
        audit = await self._indexes(self._audit, "audit ", ledger.INDEXES)
        return [*entries, *audit, await self._ids()]

    async def _indexes(self, collection: Collection, before: str, wanted: Sequence[IndexModel]) -> list[Part]:
        standing = await errors.answered(collection.index_information)
        named = {each.document["name"]: each for each in wanted}
        return [Part(before + name, indexes.fault(each, standing.get(name))) for name, each in named.items()]

    async def _ids(self) -> Part:
        """Look for documents that lists would show and that no verb could read, from the index of ids alone."""
        foreign = {"$match": {"_id": {"$not": {"$gte": ""}}}}
        found = await self._aggregate(foreign, {"$group": {"_id": None, "number": {"$sum": 1}}})
        fault = "documents have an _id that is no string, so this store did not write them; move them away"
        number = found[0]["number"] if found else 0
        return Part("_id", f"{number:,} {fault}" if number else None)


def _holder(found: dict[str, Any]) -> Holder:
    return Holder(found["_id"], found["namespaces"], found["keys"], found["bytes"], found["last"])
