"""What operators look at, and what an owner holds: aggregations over live entries. No look counts as a read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from datastore.backends.mongo.reads import Reader
from datastore.backends.mongo.statements import live
from datastore.document import Place, Span
from datastore.entry import Entry
from datastore.ports import Holder, Holding

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


def _holder(found: dict[str, Any]) -> Holder:
    return Holder(found["_id"], found["namespaces"], found["keys"], found["bytes"], found["last"])
