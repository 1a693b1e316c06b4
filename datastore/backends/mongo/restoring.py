"""Entries that come back as they were: whole documents, provenance and counts included, as no other write makes them.

They go in one unordered bulk. Where a live entry may not be replaced, the insertion meets its `_id` (E11000), which
tells by index what was left standing. Where it may, E11000 means that another writer inserted at the same moment, so
sending it again helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo.errors import BulkWriteError

from datastore.backends.mongo import documents, errors, statements
from datastore.backends.mongo.driver import Collection
from datastore.document import Place
from datastore.entry import Entry
from datastore.errors import TOO_MANY_WRITERS, StoreUnavailable

_MOST_TRIES: Final = 10


async def restore(
    entries: Collection, place: Place, given: Sequence[Entry], now: datetime, *, replace: bool
) -> list[str]:
    """Put entries back; see `Inspector.restore`."""
    vet(given)
    left = list(given)
    for _ in range(_MOST_TRIES if replace else 1):
        left = await _send(entries, place, left, now, replace=replace)
        if not left:
            return []
    if replace:
        raise StoreUnavailable(TOO_MANY_WRITERS, may_have_written=len(given) > 1)
    return [each.key for each in left]


def vet(given: Sequence[Entry]) -> None:
    """Refuse entries that a document cannot hold; see `Inspector.vet`."""
    for each in given:
        documents.check_encoded(each.key, each.value, each.size_bytes)


async def _send(
    entries: Collection, place: Place, given: Sequence[Entry], now: datetime, *, replace: bool
) -> list[Entry]:
    """Return those that met another document."""
    requests = [statements.restore(place, each, now, replace=replace) for each in given]
    with errors.translated(write=True, begun=len(requests) > 1):
        try:
            await entries.bulk_write(requests, ordered=False)
        except BulkWriteError as error:
            codes = errors.failed(error)
            if not codes.keys() <= {errors.DUPLICATE_KEY} or error.details.get("writeConcernErrors"):
                raise
            return [given[index] for index in sorted(codes[errors.DUPLICATE_KEY])]
    return []
