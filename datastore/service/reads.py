"""What is read: entries, statuses, pages, names and usage, in the words of the scope that asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from datastore import values
from datastore.document import Place, Span
from datastore.entry import NEVER, Entry
from datastore.models import Scope, Usage
from datastore.operations import Found, Get, GetUsage, Names, Namespaces, Page, Scan, Status
from datastore.ports import PAGE_BYTES, Backend, Stub
from datastore.service import policy


async def get(backend: Backend, scope: Scope, operation: Get, now: datetime) -> Found:
    """Return what stands at the keys, until the byte budget of one answer is used up."""
    place = policy.place(scope, operation.namespace, operation.space)
    if operation.detail == "key":
        stubs = await backend.peek(place, operation.keys, now)
        return Found(tuple(_status(each, now) for each in stubs))
    entries, rest = await backend.get(place, operation.keys, now)
    fitting = _fitting(entries, operation)
    left = [entry.key for entry in entries[len(fitting) :]]
    return Found(_named(fitting, place, operation.namespace), (*left, *rest))


async def scan(backend: Backend, scope: Scope, operation: Scan, now: datetime) -> Page:
    """Return a page in key order."""
    place = policy.place(scope, operation.namespace, operation.space)
    span = Span(operation.prefix, operation.after, operation.limit, operation.reverse)
    if operation.detail == "key":
        keys, after = await backend.keys(place, span, now)
        return Page(tuple(keys), after)
    entries, after = await backend.scan(place, span, now)
    fitting = _fitting(entries, operation)
    if len(fitting) < len(entries):
        after = fitting[-1].key
    return Page(_named(fitting, place, operation.namespace), after)


async def namespaces(backend: Backend, scope: Scope, operation: Namespaces, now: datetime) -> Names:
    """Return a page of the names that the scope may read."""
    owner = policy.owner(scope, operation.space)
    stored = await backend.namespaces(owner, operation.prefix, now)
    names = [each for each in stored if policy.listed(scope, Place(owner, each), now)]
    if operation.after is not None:
        names = [each for each in names if each > operation.after]
    page = names[: operation.limit]
    return Names(tuple(page), page[-1] if len(names) > len(page) else None)


async def usage(backend: Backend, scope: Scope, operation: GetUsage, now: datetime) -> Usage:
    """Return keys and bytes of what the scope may read."""
    owner = policy.owner(scope, operation.space)
    held = await backend.usage(owner, now)
    readable = [held[each] for each in held if policy.readable(scope, Place(owner, each), now)]
    return Usage(
        keys=sum(each.keys for each in readable), bytes=sum(each.bytes for each in readable), limits=scope.limits
    )


def _fitting(entries: list[Entry], operation: Get | Scan) -> list[Entry]:
    """Return the entries of one answer; the engine bounds their values, but entries also carry metadata."""
    if operation.detail != "entry":
        return entries
    left = PAGE_BYTES
    for index, entry in enumerate(entries):
        left -= entry.size_bytes + values.size(entry.metadata)
        if left < 0:
            return entries[: max(index, 1)]
    return entries


def _status(stub: Stub, now: datetime) -> Status:
    left = None if stub.expires_at >= NEVER else (stub.expires_at - now).total_seconds()
    return Status(stub.key, stub.version, left)


def _named(entries: list[Entry], place: Place, namespace: str) -> tuple[Entry, ...]:
    """Show a private namespace by the name that the agent used for it."""
    if place.namespace == namespace:
        return tuple(entries)
    return tuple(replace(each, namespace=namespace) for each in entries)
