"""From a stored document to an entry, and what a value takes as BSON.

Values come back as plain JSON types, exactly as they were written. Left alone, the driver would turn an object that
holds `$ref` and `$id` into a `DBRef`, which forgets the order of its fields, and every 64-bit integer into an
`Int64`. So documents arrive undecoded: those without `$ref` anywhere take the driver's fast decoder with integers
made plain, the others are walked field by field, where no such rule applies. Nothing that BSON can hold under a value
that the store accepted makes either of them fail.

A driver double in tests hands out plain dicts; they pass through.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final, cast

import bson
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.errors import InvalidBSON
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from datastore import values
from datastore.backends.mongo.driver import Document
from datastore.entry import NEVER, Entry
from datastore.ports import Record, Stub

MEASURED_BYTES: Final = 1024 * 1024
"""Values of less compact JSON than this are not measured: BSON takes less than seven times as much."""
LARGEST_BYTES: Final = 16 * 1024 * 1024 - 128 * 1024
"""What a value may take as BSON: a document's 16 MiB, less the names, the largest metadata and the other fields."""


class _PlainInteger(TypeDecoder):
    """Integers of 64 bits as `int`."""

    bson_type = Int64

    def transform_bson(self, value: Any) -> Any:
        return int(value)


_TYPES: Final = TypeRegistry([_PlainInteger()])
_PLAIN: Final[CodecOptions[Document]] = CodecOptions(tz_aware=True, tzinfo=UTC, type_registry=_TYPES)
UNDECODED: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    document_class=RawBSONDocument, tz_aware=True, tzinfo=UTC, type_registry=_TYPES
)
"""How collections are read; `plain` decodes."""
COMMANDS: Final[CodecOptions[Document]] = CodecOptions(tz_aware=True, tzinfo=UTC)
"""For statements whose answer the driver itself reads: with other options it finds neither labels nor write concern
errors in the answer, and then does not retry."""
_ANY: Final = _PLAIN.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


def plain(document: Mapping[str, Any]) -> Document:
    """Return a document in plain types."""
    if not isinstance(document, RawBSONDocument):
        return dict(document)
    if b"$ref" in document.raw:
        return {name: _walk(value) for name, value in document.items()}
    return bson.decode(document.raw, _PLAIN)


def number(found: float) -> int | float:
    """Return a number that a command answered as a plain one."""
    return int(found) if isinstance(found, Int64) else found


def _walk(value: Any) -> Any:
    if isinstance(value, RawBSONDocument):
        return {name: _walk(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner) for inner in value]
    return value


def entry(document: Document) -> Entry:
    """Return the entry that a plain document holds; its value is None where it was left out."""
    expires_at = document["expiresAt"]
    return Entry(
        namespace=document["namespace"],
        key=document["key"],
        value=document.get("value"),
        metadata=document["metadata"],
        version=document["version"],
        created_at=document["createdAt"],
        updated_at=document["updatedAt"],
        last_accessed_at=document["lastAccessedAt"],
        expires_at=None if expires_at == NEVER else expires_at,
        created_by_agent=document["createdByAgent"],
        updated_by_agent=document["updatedByAgent"],
        last_accessed_by_agent=document["lastAccessedByAgent"],
        created_by_run=document["createdByRun"],
        updated_by_run=document["updatedByRun"],
        created_by_user=document.get("createdByUser"),
        updated_by_user=document.get("updatedByUser"),
        access_count=document["accessCount"],
        size_bytes=document["sizeBytes"],
    )


def record(stored: Mapping[str, Any]) -> Record:
    """Return what a document holds, whatever that is."""
    try:
        document = plain(stored)
    except InvalidBSON:  # A time that no `datetime` can say, which others have put there.
        document = bson.decode(cast(RawBSONDocument, stored).raw, _ANY)
    owner = document.get("userId")
    whose = owner if isinstance(owner, str) else None
    try:
        return Record(document["_id"], whose, entry(document))
    except KeyError as error:
        return Record(document["_id"], whose, None, f"it has no field {error}")


def fields(given: Entry) -> Document:
    """Return what is stored of an entry besides its names; the inverse of `entry`."""
    return {
        "value": given.value,
        "metadata": given.metadata,
        "version": given.version,
        "createdAt": given.created_at,
        "updatedAt": given.updated_at,
        "lastAccessedAt": given.last_accessed_at,
        "expiresAt": given.expires_at or NEVER,
        "createdByAgent": given.created_by_agent,
        "updatedByAgent": given.updated_by_agent,
        "lastAccessedByAgent": given.last_accessed_by_agent,
        "createdByRun": given.created_by_run,
        "updatedByRun": given.updated_by_run,
        "accessCount": given.access_count,
        "sizeBytes": given.size_bytes,
        **_users(given),
    }


def _users(given: Entry) -> Document:
    """Return who acted in a space; what belongs to a user itself has no such fields."""
    users = {"createdByUser": given.created_by_user, "updatedByUser": given.updated_by_user}
    return {name: each for name, each in users.items() if each is not None}


def stub(document: Document) -> Stub:
    """Return what stands at a key."""
    return Stub(
        document["key"], document["version"], document["expiresAt"], document["metadata"], document["sizeBytes"]
    )


def check_encoded(key: str, value: Any, size_bytes: int) -> None:
    """Refuse a value that MongoDB cannot hold; small ones are not encoded for it.

    Raises:
        ValueTooLarge: it takes more than `LARGEST_BYTES` as BSON: many small items in few bytes of JSON.
    """
    if size_bytes > MEASURED_BYTES:
        values.check_size(len(bson.encode({"value": value})), LARGEST_BYTES, f"value of {key!r} as BSON")
