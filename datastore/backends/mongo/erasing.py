"""How a user is taken away: documents of its own, and its name in spaces. Some at a time, by an index.

What MongoDB remembers of changes is its oplog, which nobody can take entries out of; it is overwritten in its own time.
"""

from __future__ import annotations

from typing import Final

from datastore.backends.mongo import errors, indexes
from datastore.backends.mongo.driver import Collection, Document
from datastore.backends.mongo.reads import Reader
from datastore.backends.mongo.reservations import Reservations
from datastore.document import Place
from datastore.ports import Traces

_MOST: Final = 1000
_TOTALS: Final = {"_id": None, "keys": {"$sum": 1}, "bytes": {"$sum": "$sizeBytes"}}
_ACTORS: Final = ("createdByUser", "updatedByUser")


class Erasing(Reader):
    """The part of the backend that takes a user away."""

    _entries: Collection
    _commands: Collection
    _reservations: Reservations

    async def traces(self, user: str) -> Traces:
        """Return what is there of a user; see `Eraser.traces`."""
        held = await self._aggregate({"$match": {"userId": user}}, {"$group": _TOTALS})
        keys, used = (held[0]["keys"], held[0]["bytes"]) if held else (0, 0)
        created = await self._number({"createdByUser": user})
        updated = await self._number({"updatedByUser": user, "createdByUser": {"$ne": user}})
        return Traces(keys, used, created + updated, 0, await self._reservations.counters_of(user))

    async def expunge(self, user: str) -> int:
        """Remove some of a user's documents, guards of absent keys included, then counters; see `Eraser.expunge`."""
        wanted, named = {"userId": user}, {"_id": 0, "namespace": 1, "key": 1}
        found = await errors.answered(
            lambda: self._entries.find(wanted, named, limit=_MOST, batch_size=_MOST, hint=indexes.LISTED).to_list()
        )
        ids = [Place(user, str(each["namespace"])).id(str(each["key"])) for each in found]
        if ids:
            with errors.translated(write=True):
                await errors.repeated(lambda: self._commands.delete_many({"_id": {"$in": ids}, "userId": user}))
        return len(ids) or await self._reservations.forget(user)

    async def disown(self, user: str, pseudonym: str) -> int:
        """Put a pseudonym in some documents; see `Eraser.disown`."""
        return sum([await self._renamed(field, user, pseudonym) for field in _ACTORS])

    async def forget(self, user: str) -> int:
        """Do nothing: changes are in the server's oplog alone."""
        del user
        return 0

    async def _number(self, wanted: Document) -> int:
        found = await self._aggregate({"$match": wanted}, {"$group": {"_id": None, "number": {"$sum": 1}}})
        return int(found[0]["number"]) if found else 0

    async def _renamed(self, field: str, user: str, pseudonym: str) -> int:
        found = await errors.answered(
            lambda: self._entries.find({field: user}, {"_id": 1}, limit=_MOST, batch_size=_MOST).to_list()
        )
        ids = [each["_id"] for each in found]
        if ids:
            with errors.translated(write=True):
                change = {"$set": {field: pseudonym}}
                await errors.repeated(lambda: self._commands.update_many({"_id": {"$in": ids}, field: user}, change))
        return len(ids)
