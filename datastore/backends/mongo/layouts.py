"""The layout of a MongoDB store: a document in a collection beside the entries, and the migrations.

Theory of operation: the document is made by the first start that finds none, and tells what a host must know. Where
there are entries without it, an earlier version wrote them: the documents of layout 1 are also those of layout 2, and
no layout after it lacks the document. Nothing here is one with a step in one transaction, since a server may have none:
the document is changed only if it still says what was read, and a step that was made twice did no more than once.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from datastore.backends.migrations import Migration, advanced
from datastore.backends.mongo import errors
from datastore.backends.mongo.driver import Collection, Document
from datastore.layout import LAYOUT, Layout

MIGRATIONS: Final[tuple[Migration[Collection], ...]] = ()

_BEFORE_THE_DOCUMENT: Final = 2
_ID: Final = "layout"


class MongoBook:
    """Keeps the layout of a store; see `migrations.Book`.

    Args:
        collection: where the document is.
        entries: what migrations work on.
    """

    def __init__(self, collection: Collection, entries: Collection) -> None:
        self._collection = collection
        self._entries = entries

    async def read(self) -> Layout:
        """Return what the store says, and have it say something."""
        if (told := await self._told()) is not None:
            return told
        number = _BEFORE_THE_DOCUMENT if await self._first(self._entries, {}) else LAYOUT
        first = Layout(number, number)
        await self._change({"_id": _ID}, {"$setOnInsert": _document(first)}, upsert=True)
        return await self._told() or first

    async def require(self, standing: Layout, needs: int) -> Layout:
        """Let the store refuse hosts that know less; see `Book.require`."""
        await self._replace(standing, Layout(standing.number, needs, standing.position))
        return await self.read()

    async def advance(self, standing: Layout, migration: Migration[Collection]) -> None:
        """Make one step and keep how far it came; see `Book.advance`."""
        position = await migration.step(self._entries, standing.position)
        await self._replace(standing, advanced(standing, migration, position))

    async def _told(self) -> Layout | None:
        found = await self._first(self._collection, {"_id": _ID})
        return None if found is None else Layout(found["number"], found["needs"], found["position"])

    async def _first(self, collection: Collection, query: Document) -> Any:
        with errors.translated(write=False):
            found = await collection.find(query, limit=1, batch_size=1).to_list(1)
        return found[0] if found else None

    async def _replace(self, standing: Layout, told: Layout) -> None:
        await self._change({"_id": _ID, **_document(standing)}, {"$set": _document(told)})

    async def _change(self, query: Document, update: Document, *, upsert: bool = False) -> None:
        try:
            with errors.translated(write=True):
                await self._collection.bulk_write([UpdateOne(query, update, upsert=upsert)])
        except BulkWriteError as error:
            if errors.DUPLICATE_KEY not in errors.failed(error):  # Another start has made it.
                raise


def _document(told: Layout) -> Document:
    return {"number": told.number, "needs": told.needs, "position": told.position}
