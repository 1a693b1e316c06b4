"""An increment: one `findAndModify` that adds to the number that stands, or inserts the first one.

What may be added to is part of the filter: a number, and no larger than the sum can hold, since the server would store
an infinite sum and has no answer of its own for every wrong type. Where the filter misses, an upsert meets the `_id`
that is there (E11000) and nothing is done. A second statement then replaces what has expired; it also inserts where
`initial` is not 0, because `$inc` cannot begin anywhere else. Only where both miss is the entry read to say why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from datastore.backends.mongo import documents, errors, statements
from datastore.backends.mongo.driver import Collection, Document
from datastore.backends.mongo.refusals import refusal
from datastore.clock import retimed
from datastore.document import Place
from datastore.errors import TOO_MANY_WRITERS, StoreUnavailable
from datastore.operations import Outcome
from datastore.ports import Actor, Clock, Increment

_MOST_TRIES: Final = 10


async def increment(
    commands: Collection, entries: Collection, place: Place, change: Increment, asked: Actor, clock: Clock
) -> Outcome:
    """Add to a number; see `Backend.increment`.

    Args:
        commands: the collection, for statements whose answer the driver reads.
        entries: the same, for reading what stands.
        place: where it is.
        change: how much.
        asked: who adds, and when that was asked for.
        clock: the present, which each attempt is judged by.
    """
    start = change.initial + change.by
    at_zero = start == change.by and type(start) is type(change.by) and change.if_version is None
    for _ in range(_MOST_TRIES):
        actor = retimed(asked, clock)
        query, update = statements.increment(place, change, actor)
        if not at_zero:
            query |= statements.lasting(actor.now)
        if (found := await _modify(commands, query, update, upsert=at_zero)) is not None:
            return Outcome(applied=True, version=change.version, number=documents.number(found["value"]))
        if change.if_version is None:
            expired, creation = statements.begin(place, change.creation(start), actor)
            if await _modify(commands, expired, creation, upsert=True, hint=statements.BY_ID) is not None:
                return Outcome(applied=True, version=change.version, number=start)
        if (outcome := await refusal(entries, place, change, actor)) is not None:
            return outcome
    raise StoreUnavailable(TOO_MANY_WRITERS)


async def _modify(
    commands: Collection, query: Document, update: Document, *, upsert: bool, hint: list[tuple[str, int]] | None = None
) -> Mapping[str, Any] | None:
    """Return the value that was written, or None where nothing was."""
    wanted = {"_id": 0, "value": 1}
    with errors.translated(write=True):
        try:
            return await commands.find_one_and_update(
                query, update, projection=wanted, upsert=upsert, return_document=ReturnDocument.AFTER, hint=hint
            )
        except DuplicateKeyError:
            return None
