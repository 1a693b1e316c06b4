"""An entry to a row and back.

JSON is kept as the compact text that both ends of the wire write, so that nothing is lost in columns of the engine's
own types: integers of 64 bits, floats, the order of an object's keys. `bytes` have a column of their own, and exactly
one of the two is filled.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Row

from datastore.backends.sql.schema import NEVER_MS, entries, from_ms, to_ms
from datastore.document import Place
from datastore.entry import NEVER, Entry
from datastore.ports import Actor, Stub, Write
from datastore.values import compact

LARGE: Final = (entries.c.value, entries.c.value_bytes)
COLUMNS: Final = tuple(
    each for each in entries.c if each.name not in {"id", "owner", "namespace", "value", "value_bytes"}
)
"""What an entry shows besides its value; the namespace is known to whoever asks."""


def to_entry(namespace: str, row: Row[Any], *, with_value: bool = True) -> Entry:
    """Return the entry of a row of `COLUMNS` and, for a value, of `LARGE`."""
    return Entry(
        namespace=namespace,
        key=row.key,
        value=value(row) if with_value else None,
        metadata=json.loads(row.metadata),
        version=row.version,
        created_at=from_ms(row.created_at),
        updated_at=from_ms(row.updated_at),
        last_accessed_at=None if row.last_accessed_at is None else from_ms(row.last_accessed_at),
        expires_at=None if row.expires_at == NEVER_MS else from_ms(row.expires_at),
        created_by_agent=row.created_by_agent,
        updated_by_agent=row.updated_by_agent,
        last_accessed_by_agent=row.last_accessed_by_agent,
        created_by_run=row.created_by_run,
        updated_by_run=row.updated_by_run,
        created_by_user=row.created_by_user,
        updated_by_user=row.updated_by_user,
        access_count=row.access_count,
        size_bytes=row.size_bytes,
    )


def value(row: Row[Any]) -> Any:
    """Return the value of a row of `LARGE`."""
    return json.loads(row.value) if row.value_bytes is None else bytes(row.value_bytes)


def to_stub(row: Row[Any]) -> Stub:
    """Return what stands at a key."""
    return Stub(row.key, row.version, from_ms(row.expires_at), json.loads(row.metadata), row.size_bytes)


def restored(place: Place, entry: Entry) -> dict[str, object]:
    """Return the whole row of an entry; the inverse of `to_entry`."""
    last = entry.last_accessed_at
    return {
        "id": place.id(entry.key),
        "owner": place.owner,
        "namespace": place.namespace,
        "key": entry.key,
        **_content(entry.value),
        "metadata": compact(entry.metadata),
        "size_bytes": entry.size_bytes,
        "version": entry.version,
        "created_at": to_ms(entry.created_at),
        "created_by_agent": entry.created_by_agent,
        "created_by_run": entry.created_by_run,
        "created_by_user": entry.created_by_user,
        "updated_at": to_ms(entry.updated_at),
        "updated_by_agent": entry.updated_by_agent,
        "updated_by_run": entry.updated_by_run,
        "updated_by_user": entry.updated_by_user,
        "access_count": entry.access_count,
        "last_accessed_at": None if last is None else to_ms(last),
        "last_accessed_by_agent": entry.last_accessed_by_agent,
        "expires_at": to_ms(entry.expires_at or NEVER),
    }


def _content(given: Any) -> dict[str, object]:
    is_bytes = isinstance(given, bytes)
    return {"value": None if is_bytes else compact(given), "value_bytes": given if is_bytes else None}


def updated(write: Write, actor: Actor) -> dict[str, object]:
    """Return the columns that a write sets; expiry and metadata only where it gives them."""
    columns: dict[str, object] = {
        **_content(write.value),
        "size_bytes": write.size_bytes,
        "version": write.version,
        "updated_at": to_ms(actor.now),
        "updated_by_agent": actor.agent,
        "updated_by_run": actor.run,
        "updated_by_user": actor.user,
    }
    if write.expires_at is not None:
        columns["expires_at"] = to_ms(write.expires_at)
    return columns if write.metadata is None else {**columns, "metadata": compact(write.metadata)}


def created(place: Place, write: Write, actor: Actor) -> dict[str, object]:
    """Return the whole row of an entry that begins with this write."""
    return {
        "metadata": "{}",
        **updated(write, actor),
        "id": place.id(write.key),
        "owner": place.owner,
        "namespace": place.namespace,
        "key": write.key,
        "created_at": to_ms(actor.now),
        "created_by_agent": actor.agent,
        "created_by_run": actor.run,
        "created_by_user": actor.user,
        "access_count": 0,
        "last_accessed_at": None,
        "last_accessed_by_agent": None,
    }
