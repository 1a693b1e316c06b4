"""A change in MongoDB's words. Nothing is sent here.

Each is one statement with its condition inside. A put is an upsert filtered on the live entry: it finds the entry,
or inserts a new document. Where an expired document still stands, or another first writer won, the insertion meets
the `_id` that is there (E11000) and nothing is done; then `afresh` is the form that cannot be refused for long: first
the expired document loses what a new entry does not inherit (it stays expired, so nobody sees it), then an upsert by
id alone.

Neither form is a pipeline, so values are data by their position: `$set` of a whole field. Statements that look for
expired documents name the `_id` index, because the garbage collection's index would fit them too.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from pymongo import DeleteOne, ReplaceOne, UpdateOne

from datastore import values
from datastore.backends.mongo import documents
from datastore.backends.mongo.driver import Document, Request
from datastore.document import Place
from datastore.entry import Entry
from datastore.ports import RENEWAL_SECONDS, Access, Actor, Clause, Increment, Removal, Renewal, Requirement, Write

BY_ID: Final = [("_id", 1)]
NOBODY: Final = ""
"""An `_id` that no document has: every real one holds colons."""
RENEWAL: Final = timedelta(seconds=RENEWAL_SECONDS)
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TO_INFINITY: Final = Fraction(2**1024 - 2**970)


def named(place: Place, key: str) -> Document:
    """Return the fields that name one entry."""
    return {"_id": place.id(key), "userId": place.owner, "namespace": place.namespace, "key": key}


def live(now: datetime) -> Document:
    """Return the condition that every entry meets that exists."""
    return {"expiresAt": {"$gt": now}}


def lasting(now: datetime, margin: timedelta = timedelta()) -> Document:
    """Return the condition of an entry that exists, also by the server's own time, and will for a while.

    The driver may send a statement again much later, as after a change of primary. Not for an upsert, which may hold no
    expression.
    """
    server = {"$add": ["$$NOW", round(margin.total_seconds() * 1000)]}
    return live(now + margin) | {"$expr": {"$gt": ["$expiresAt", server]}}


def put(place: Place, write: Write, actor: Actor) -> UpdateOne:
    """Write over the live entry, or insert a new one; E11000 where neither is possible."""
    update = {"$set": _written(write, actor), "$setOnInsert": _created(write, actor)}
    return UpdateOne(named(place, write.key) | live(actor.now), update, upsert=True)


def afresh(place: Place, write: Write, actor: Actor) -> list[UpdateOne]:
    """Write whatever stands; E11000 only where another writer inserts between, so sending it again helps."""
    name, created = named(place, write.key), _created(write, actor)
    expired = {"expiresAt": {"$lte": actor.now}}
    return [
        UpdateOne(name | expired, {"$set": created}, hint=BY_ID),
        UpdateOne(name, {"$set": _written(write, actor), "$setOnInsert": created}, upsert=True),
    ]


def add(place: Place, write: Write, actor: Actor) -> ReplaceOne[Document]:
    """Insert, or replace the expired document; E11000 where a live entry stands."""
    name = named(place, write.key)
    document = name | _created(write, actor) | _written(write, actor)
    return ReplaceOne(name | {"expiresAt": {"$lte": actor.now}}, document, upsert=True, hint=BY_ID)


def restore(place: Place, entry: Entry, now: datetime, *, replace: bool) -> ReplaceOne[Document]:
    """Put an entry back as it was; E11000 where a live one stands and may not be replaced, or where another inserts."""
    name = named(place, entry.key)
    wanted = name if replace else name | {"expiresAt": {"$lte": now}}
    return ReplaceOne(wanted, name | documents.fields(entry), upsert=True, hint=BY_ID)


def replace(place: Place, write: Write, actor: Actor) -> UpdateOne:
    """Write over the live entry if it is at the version; else code 66, which tells by index within a bulk.

    A bulk only counts what matched. So the statement is an upsert whose insertion cannot succeed, because it would
    give the document another `_id` than its own filter names.
    """
    wanted = named(place, write.key) | live(actor.now) | {"version": write.if_version}
    return UpdateOne(wanted, {"$set": _written(write, actor), "$setOnInsert": {"_id": NOBODY}}, upsert=True)


def rewrite(place: Place, write: Write, actor: Actor) -> UpdateOne:
    """Write over the live entry if it is at the version; whether it matched says whether it was."""
    wanted = named(place, write.key) | lasting(actor.now) | {"version": write.if_version}
    return UpdateOne(wanted, {"$set": _written(write, actor)})


def remove(place: Place, removal: Removal, actor: Actor) -> DeleteOne:
    """Remove the live entry, where it must be at a version only then."""
    if removal.if_version is None:
        return DeleteOne(named(place, removal.key) | live(actor.now))
    return DeleteOne(named(place, removal.key) | lasting(actor.now) | {"version": removal.if_version})


def increment(place: Place, change: Increment, actor: Actor) -> tuple[Document, Document]:
    """Return filter and update: add to the live number if it can hold the sum; an upsert inserts `by`."""
    creation = change.creation(change.by)
    written, created = _written(creation, actor), _created(creation, actor) | {"metadata": {}}
    del written["value"], written["metadata"]
    if change.expires_at is None:
        created["expiresAt"] = written.pop("expiresAt")
    query = named(place, change.key) | live(actor.now) | addable(change.by)
    if change.if_version is not None:
        query["version"] = change.if_version
    return query, {"$inc": {"value": change.by}, "$set": written, "$setOnInsert": created}


def begin(place: Place, write: Write, actor: Actor) -> tuple[Document, Document]:
    """Return filter and update: insert a new entry, or give an expired document all that a new entry has."""
    query = named(place, write.key) | {"expiresAt": {"$lte": actor.now}}
    return query, {"$set": _created(write, actor) | _written(write, actor)}


def addable(by: float) -> Document:
    """Return the condition under which a value is a number to which `by` can be added.

    An array would pass for the numbers in it. An integer stays within 64 bits. A float, which every number becomes that
    a float is added to, stays below the first one whose sum is infinite.
    """
    if isinstance(by, int):
        bound = {"$lte": values.MOST_INT - by} if by > 0 else {"$gte": values.LEAST_INT - by}
        kinds = [{"value": {"$type": "double"}}, {"value": {"$type": "number", **bound}}]
        return {"value": {"$not": {"$type": "array"}}, "$or": kinds}
    first = _first_infinite(abs(by))
    below = {"$lt": first} if by > 0 else {"$gt": -first}
    return {"value": {"$type": "number", "$not": {"$type": "array"}, **below}}


def _first_infinite(by: float) -> float:
    """Return the least float whose sum with a positive `by` is infinite; infinity itself where there is no other.

    A sum rounds to infinity from half a unit beyond the largest float on.
    """
    exact = _TO_INFINITY - Fraction(by)
    nearest = float(exact) if exact < _TO_INFINITY else math.inf
    return nearest if nearest >= exact else math.nextafter(nearest, math.inf)


def require(place: Place, requirement: Requirement, actor: Actor) -> UpdateOne:
    """Write the guard of what is required, in a transaction; else code 66 for a version and E11000 for absence.

    A document that stands for an absent key holds nothing else, and was never alive by any host's clock.
    """
    name, guard = named(place, requirement.key), {"$inc": {"guard": 1}}
    if requirement.version is None:
        absent = name | {"expiresAt": {"$lte": actor.now}}
        return UpdateOne(absent, {**guard, "$setOnInsert": {"expiresAt": LONG_AGO}}, upsert=True, hint=BY_ID)
    wanted = name | live(actor.now) | {"version": requirement.version}
    return UpdateOne(wanted, {**guard, "$setOnInsert": {"_id": NOBODY}}, upsert=True)


def transactional(place: Place, clause: Clause, actor: Actor) -> list[Request]:
    """Return the statements of one step of a transaction: no other than a condition that does not hold may fail."""
    match clause:
        case Requirement():
            return [require(place, clause, actor)]
        case Removal(if_version=str(version)):
            return [require(place, Requirement(clause.key, version), actor), remove(place, Removal(clause.key), actor)]
        case Removal():
            return [remove(place, clause, actor)]
        case Increment():
            return _increment_anyhow(place, clause, actor)
        case Write(if_absent=True):
            return [add(place, clause, actor)]
        case Write(if_version=str()):
            return [replace(place, clause, actor)]
    return [*afresh(place, clause, actor)]


def _increment_anyhow(place: Place, change: Increment, actor: Actor) -> list[Request]:
    """Begin at `initial` where nothing is alive, then add; code 66 where that is impossible."""
    query, update = increment(place, change, actor)
    added = UpdateOne(query, update | {"$setOnInsert": {"_id": NOBODY}}, upsert=True)
    if change.if_version is not None:
        return [added]
    expired, beginning = begin(place, change.creation(change.initial), actor)
    inserted = UpdateOne(named(place, change.key), {"$setOnInsert": beginning["$set"]}, upsert=True)
    return [UpdateOne(expired, beginning, hint=BY_ID), inserted, added]


def renew(place: Place, renewal: Renewal, actor: Actor) -> UpdateOne:
    """Move the expiry of an entry that lives for a while yet, and nothing else."""
    wanted = named(place, renewal.key) | lasting(actor.now, RENEWAL)
    if renewal.if_version is not None:
        wanted["version"] = renewal.if_version
    return UpdateOne(wanted, {"$set": {"expiresAt": renewal.expires_at}})


def count_reads(access: Access) -> UpdateOne:
    """Add reads to the entry they were made of, which its creation time identifies."""
    wanted = named(access.place, access.key) | {"createdAt": access.created_at}
    last = {"lastAccessedAt": access.last, "lastAccessedByAgent": access.agent}
    return UpdateOne(wanted, {"$inc": {"accessCount": access.count}, "$set": last})


def _written(write: Write, actor: Actor) -> Document:
    fields: dict[str, Any] = {
        "value": write.value,
        "sizeBytes": write.size_bytes,
        "version": write.version,
        "expiresAt": write.expires_at,
        "updatedAt": actor.now,
        "updatedByAgent": actor.agent,
        "updatedByRun": actor.run,
        "metadata": write.metadata,
    }
    if actor.user is not None:
        fields["updatedByUser"] = actor.user
    kept = {"expiresAt", "metadata"}
    return {name: each for name, each in fields.items() if each is not None or name not in kept}


def _created(write: Write, actor: Actor) -> Document:
    fields: dict[str, Any] = {
        "createdAt": actor.now,
        "createdByAgent": actor.agent,
        "createdByRun": actor.run,
        "accessCount": 0,
        "lastAccessedAt": None,
        "lastAccessedByAgent": None,
    }
    if actor.user is not None:
        fields["createdByUser"] = actor.user
    return fields | {"metadata": {}} if write.metadata is None else fields
