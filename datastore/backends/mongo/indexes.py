"""The indexes beside `_id`; creating them is idempotent, and one that is missing is made again.

Garbage collection only frees space: no read depends on it. Its index is partial, so that entries that never expire
are not in it and no plan of a list can choose it, and it waits a minute past the expiry, so that a host whose clock is
behind loses nothing that it still sees.

What a user wrote in spaces is found by two sparse indexes: users are named there alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import IndexModel

LISTED: Final = [("userId", 1), ("namespace", 1), ("key", 1), ("expiresAt", 1)]
LISTING: Final = IndexModel(LISTED, name="userId_namespace_key_expiresAt")
GARBAGE: Final = IndexModel(
    [("expiresAt", 1)],
    name="expiresAt_garbage",
    expireAfterSeconds=60,
    partialFilterExpression={"expiresAt": {"$lt": datetime(9999, 1, 1, tzinfo=UTC)}},
)
ACTORS: Final = [IndexModel([(name, 1)], name=name, sparse=True) for name in ("createdByUser", "updatedByUser")]


def fault(index: IndexModel, standing: Mapping[str, Any] | None) -> str | None:
    """Return what is wrong with an index, given what the server says of the one of its name; None: nothing."""
    if standing is None:
        return "it is missing; the next start makes it again"
    if [tuple(each) for each in standing["key"]] != list(index.document["key"].items()):
        return "it has other fields; drop it, and the next start makes it again"
    wanted = index.document
    same = all(standing.get(option) == wanted.get(option) for option in ("expireAfterSeconds", "sparse", "unique"))
    filtered = ("partialFilterExpression" in standing) == ("partialFilterExpression" in wanted)
    if not same or not filtered or "collation" in standing:
        return "it has other options; drop it, and the next start makes it again"
    return "it is hidden, so no statement uses it; unhide it" if standing.get("hidden") else None


def wanted(*, collect_garbage: bool) -> list[IndexModel]:
    """Return the indexes that the collection must have."""
    return [LISTING, *ACTORS, GARBAGE] if collect_garbage else [LISTING, *ACTORS]
