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

from datetime import datetime
from typing import Any, Final

from pymongo import DeleteOne, ReplaceOne, UpdateOne

from datastore.backends.mongo.driver import Document
from datastore.document import Place
from datastore.ports import Access, Actor, Removal, Renewal, Write

BY_ID: Final = [("_id", 1)]
NOBODY: Final = ""
"""An `_id` that no document has: every real one holds colons."""


def named(place: Place, key: str) -> Document:
    """Return the fields that name one entry."""
    return {"_id": place.id(key), "userId": place.owner, "namespace": place.namespace, "key": key}


def live(now: datetime) -> Document:
    """Return the condition that every entry meets that exists."""
    return {"expiresAt": {"$gt": now}}


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


def replace(place: Place, write: Write, actor: Actor) -> UpdateOne:
    """Write over the live entry if it is at the version; else code 66, which tells by index within a bulk.

    A bulk only counts what matched. So the statement is an upsert whose insertion cannot succeed, because it would
    give the document another `_id` than its own filter names.
    """
    wanted = named(place, write.key) | live(actor.now) | {"version": write.if_version}
    return UpdateOne(wanted, {"$set": _written(write, actor), "$setOnInsert": {"_id": NOBODY}}, upsert=True)


def remove(place: Place, removal: Removal, actor: Actor) -> DeleteOne:
    """Remove the live entry, where it must be at a version only then."""
    wanted = named(place, removal.key) | live(actor.now)
    return DeleteOne(wanted if removal.if_version is None else wanted | {"version": removal.if_version})


def renew(place: Place, renewal: Renewal, actor: Actor) -> UpdateOne:
    """Move the expiry of the live entry, and nothing else."""
    return UpdateOne(named(place, renewal.key) | live(actor.now), {"$set": {"expiresAt": renewal.expires_at}})


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
    }
    return fields if write.metadata is None else fields | {"metadata": write.metadata}


def _created(write: Write, actor: Actor) -> Document:
    fields: dict[str, Any] = {
        "createdAt": actor.now,
        "createdByAgent": actor.agent,
        "createdByRun": actor.run,
        "accessCount": 0,
        "lastAccessedAt": None,
        "lastAccessedByAgent": None,
    }
    return fields | {"metadata": {}} if write.metadata is None else fields
