"""The audit log: a collection beside the entries; see `ports.Ledger`, and `datastore.chain` for what a row is.

What the collection holds may have been changed by others, which the log is there to show; so a document of any shape
is read as a row that is not intact, and never makes a look fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, Final

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import IndexModel, UpdateOne

from datastore.backends.mongo import errors
from datastore.backends.mongo.driver import Collection, Document
from datastore.chain import Deed, Row, row_id
from datastore.ports import Look

CODEC: Final[CodecOptions[Document]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Times that no `datetime` can say, which others may have put there, must not make a look fail."""
INDEXES: Final = tuple(
    IndexModel([*((each, 1) for each in first), ("at", 1), ("_id", 1)], name="_".join((*first, "at")))
    for first in ((), ("byUser",), ("byAgent",), ("key",))
)
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


FIELDS: Final = {each.name: _camel(each.name) for each in fields(Deed)}


class Auditing:
    """The part of the backend that keeps the audit log."""

    _audit: Collection

    async def append(self, rows: Sequence[Row]) -> None:
        """Add rows to the audit log; see `Ledger.append`."""
        requests = [UpdateOne({"_id": each.id}, {"$setOnInsert": _document(each)}, upsert=True) for each in rows]
        with errors.translated(write=True):
            await self._audit.bulk_write(requests, ordered=False)

    async def trail(self, after: str, limit: int) -> list[Row]:
        """Return rows of the audit log in the order of their ids."""
        return await self._rows({"_id": {"$gt": after}}, [("_id", 1)], limit)

    async def found(self, look: Look, after: Row | None, limit: int) -> list[Row]:
        """Return rows of the audit log that are wanted, in the order of time."""
        equal = {"byUser": look.user, "byAgent": look.agent, "namespace": look.namespace, "key": look.key}
        wanted: Document = {name: {"$eq": each} for name, each in equal.items() if each is not None}
        since, until = look.since, look.until
        if after is not None:
            since = after.at
            wanted["$or"] = [{"at": {"$gt": after.at}}, {"_id": {"$gt": after.id}}]
        bounds = {"$gte": since, "$lt": until}
        if given := {name: each for name, each in bounds.items() if each is not None}:
            wanted["at"] = given
        return await self._rows(wanted, [("at", 1), ("_id", 1)], limit)

    async def empty(self, rows: Sequence[Row], pseudonym: str) -> None:
        """Take away what rows of the audit log say; see `Ledger.empty`."""
        gone = dict.fromkeys((*(each for each in FIELDS.values() if each != "byUser"), "salt"), "")
        change = {"$set": {"byUser": pseudonym}, "$unset": gone}
        with errors.translated(write=True):
            await self._audit.bulk_write([UpdateOne({"_id": each.id}, change) for each in rows], ordered=False)

    async def remove(self, chain: str, until: int) -> None:
        """Remove the beginning of a chain of the audit log."""
        with errors.translated(write=True):
            wanted = {"_id": {"$gte": row_id(chain, 0), "$lte": row_id(chain, until)}}
            await errors.repeated(lambda: self._audit.delete_many(wanted))

    async def _rows(self, wanted: Document, order: list[tuple[str, int]], limit: int) -> list[Row]:
        found = await errors.answered(
            lambda: self._audit.find(wanted, sort=order, limit=limit, batch_size=limit).to_list()
        )
        return [_row(each) for each in found]


def _document(row: Row) -> Document:
    said = {FIELDS[name]: each for name, each in asdict(row.deed).items() if each is not None}
    return {"at": row.at, **said, "salt": row.salt, "content": row.content, "link": row.link}


def _row(stored: Mapping[str, Any]) -> Row:
    at = stored.get("at")
    deed = Deed(**{name: stored.get(field) for name, field in FIELDS.items()})
    proof = (stored.get("salt"), str(stored.get("content")), str(stored.get("link")))
    return Row(str(stored["_id"]), at if isinstance(at, datetime) else _NO_TIME, deed, *proof)
