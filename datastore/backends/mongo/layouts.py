"""The layout of a MongoDB store: a document in a collection beside the entries, and the migrations.

Theory of operation: a start that finds no document writes it. If there are entries without the document, an earlier
version wrote them: the documents of layout 1 are also those of layout 2, and no later layout lacks the document. A step
and its position are not written in one transaction, because a server may not support transactions. The document is
changed only if it still holds what was read, so a step may run twice.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from datastore.backends.migrations import Migration, after_step
from datastore.backends.mongo import errors
from datastore.backends.mongo.driver import Collection, Document
from datastore.layout import LAYOUT, Layout

MIGRATIONS: Final[tuple[Migration[Collection], ...]] = ()

_WITHOUT_DOCUMENT: Final = 2
_ID: Final = "layout"


class MongoLayoutRecord:
    """The layout of a store; see `migrations.LayoutRecord`.

    Args:
        collection: holds the document.
        entries: what migrations work on.
    """

    def __init__(self, collection: Collection, entries: Collection) -> None:
        self._collection = collection
        self._entries = entries

    async def read(self) -> Layout:
        """Return the layout; write the first document if there is none."""
        if (found := await self._found()) is not None:
            return found
        number = _WITHOUT_DOCUMENT if await self._first(self._entries, {}) else LAYOUT
        first = Layout(number, number)
        await self._change({"_id": _ID}, {"$setOnInsert": _document(first)}, upsert=True)
        return await self._found() or first

    async def require(self, current: Layout, needs: int) -> Layout:
        """Refuse the store to hosts that support less; see `LayoutRecord.require`."""
        await self._replace(current, Layout(current.number, needs, current.position))
        return await self.read()

    async def advance(self, current: Layout, migration: Migration[Collection]) -> None:
        """Make one step, then store its position; see `LayoutRecord.advance`."""
        position = await migration.step(self._entries, current.position)
        await self._replace(current, after_step(current, migration, position))

    async def _found(self) -> Layout | None:
        found = await self._first(self._collection, {"_id": _ID})
        if found is None:
            return None
        record = f"document {_ID!r} in the collection of the layout"
        return Layout.parsed(found.get("number"), found.get("needs"), found.get("position"), record)

    async def _first(self, collection: Collection, query: Document) -> Any:
        found = await errors.answered(lambda: collection.find(query, limit=1, batch_size=1).to_list(1))
        return found[0] if found else None

    async def _replace(self, current: Layout, changed: Layout) -> None:
        await self._change({"_id": _ID, **_document(current)}, {"$set": _document(changed)})

    async def _change(self, query: Document, update: Document, *, upsert: bool = False) -> None:
        try:
            with errors.translated(write=True):
                await self._collection.bulk_write([UpdateOne(query, update, upsert=upsert)])
        except BulkWriteError as error:
            if errors.DUPLICATE_KEY not in errors.failed(error):  # Another start has written it.
                raise


def _document(layout: Layout) -> Document:
    return {"number": layout.number, "needs": layout.needs, "position": layout.position}
