"""An increment: one `findAndModify` that adds to the number that stands, or inserts the first one.

What may be added to is part of the filter: a number, and no larger than the sum can hold, since the server would store
an infinite sum and has no answer of its own for every wrong type. Where the filter misses, an upsert meets the `_id`
that is there (E11000) and nothing is done. A second statement then replaces what has expired; it also inserts where
`initial` is not 0, because `$inc` cannot begin anywhere else. Only where both miss is the entry read to say why.
"""

from __future__ import annotations

from typing import Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from datastore.backends.mongo import documents, errors, statements
from datastore.backends.mongo.driver import Collection, Document
from datastore.backends.mongo.refusals import refusal
from datastore.document import Place
from datastore.errors import StoreUnavailable
from datastore.operations import Outcome
from datastore.ports import Actor, Increment

_MOST_TRIES: Final = 10


async def increment(entries: Collection, place: Place, change: Increment, actor: Actor) -> Outcome:
    """Add to a number; see `Backend.increment`."""
    query, update = statements.increment(place, change, actor)
    start = change.initial + change.by
    at_zero = start == change.by and type(start) is type(change.by) and change.if_version is None
    for _ in range(_MOST_TRIES):
        if (found := await _modify(entries, query, update, upsert=at_zero)) is not None:
            return Outcome(applied=True, version=change.version, number=found["value"])
        if change.if_version is None:
            expired, creation = statements.begin(place, change.creation(start), actor)
            if await _modify(entries, expired, creation, upsert=True, hint=statements.BY_ID) is not None:
                return Outcome(applied=True, version=change.version, number=start)
        if (outcome := await refusal(entries, place, change, actor)) is not None:
            return outcome
    raise StoreUnavailable("Too many writers want the same key at once. Write it again.")


async def _modify(
    entries: Collection, query: Document, update: Document, *, upsert: bool, hint: list[tuple[str, int]] | None = None
) -> Document | None:
    """Return the value that was written, or None where nothing was."""
    wanted = {"_id": 0, "value": 1}
    with errors.translated(write=True):
        try:
            found = await entries.find_one_and_update(
                query, update, projection=wanted, upsert=upsert, return_document=ReturnDocument.AFTER, hint=hint
            )
        except DuplicateKeyError:
            return None
    return None if found is None else documents.plain(found)
