"""From mutations to changes that the engine can make: values checked, sizes measured, versions minted, metadata merged.

One subject, so longer than most files: every write of the service passes here.

Everything is checked before anything is written. Metadata merges by compare-and-set: read what stands, merge, write
only if the version is unchanged, again if not. The merge is exact in size, and no key of it is ever a field path.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from datastore import values
from datastore.document import Place, Span, expiry
from datastore.entry import NEVER, Entry
from datastore.errors import Conflict, InvalidArgument, StoreUnavailable
from datastore.models import Limits, Scope
from datastore.operations import Applied, Apply, Copy, Delete, Mutation, Number, Outcome, Put, Touch
from datastore.ports import Actor, Backend, Change, Removal, Renewal, Stub, Write
from datastore.service import policy

UNKNOWN_RUN: Final = "-"
"""The run of a write whose scope names none."""

_TRIES: Final = 16


async def apply(backend: Backend, scope: Scope, operation: Apply, now: datetime) -> Applied:
    """Check every mutation, then make the changes, merging metadata where it is given.

    Raises:
        ValueNotStorable, ValueTooLarge: a value or metadata is unusable; nothing was written.
        InvalidArgument: a key is named twice, or a put has two conditions; nothing was written.
        Conflict: others changed an entry between the merge's read and its write, time after time.
    """
    _refuse_twice(operation)
    actor = _actor(scope, now)
    changes = [_ready(each, scope.limits, actor) for each in operation.mutations]
    place = policy.place(scope, operation.namespace)
    if any(_merges(each) for each in changes):
        return await _write_merged(backend, place, changes, actor, scope.limits)
    return await backend.apply(place, changes, actor)


async def copy(backend: Backend, scope: Scope, operation: Copy, now: datetime, timeout_seconds: float) -> Number:
    """Copy entries page by page, as writes of the acting agent; value, metadata and expiry are the source's.

    Raises:
        InvalidArgument: source and target are one.
        StoreUnavailable: the engine failed on the way, or time was up; the message says how many were copied.
    """
    source, target = policy.place(scope, operation.namespace), policy.place(scope, operation.target)
    if source == target:
        raise InvalidArgument(f"{operation.namespace!r} cannot be copied onto itself. Name another namespace.")
    copied, after, actor = 0, None, _actor(scope, now)
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            _in_time(deadline, timeout_seconds)
            page, after = await backend.scan(source, Span(operation.prefix, after), now)
            if page:
                await backend.apply(target, [_copied(each) for each in page], actor)
        except StoreUnavailable as error:
            if not copied:
                raise
            told = f"{copied:,} entries were copied; of the next page: {error.message}"
            raise StoreUnavailable(told, done=copied) from error
        copied += len(page)
        if after is None:
            return Number(copied)


def _in_time(deadline: float, timeout_seconds: float) -> None:
    if time.monotonic() > deadline:
        raise StoreUnavailable(f"The copy did not end within {timeout_seconds:g} seconds.")


def _actor(scope: Scope, now: datetime) -> Actor:
    return Actor(scope.agent, scope.run or UNKNOWN_RUN, now)


def _copied(entry: Entry) -> Write:
    return Write(
        key=entry.key,
        value=entry.value,
        size_bytes=entry.size_bytes,
        version=_new_version(),
        expires_at=entry.expires_at or NEVER,
        metadata=entry.metadata,
    )


def _new_version() -> str:
    """Return 96 random bits: new with every write of a key and never used again for it."""
    return secrets.token_hex(12)


def _refuse_twice(operation: Apply) -> None:
    seen: set[str] = set()
    for mutation in operation.mutations:
        if mutation.key in seen:
            raise InvalidArgument(f"{mutation.key!r} is named twice in one batch. Keep the last one.")
        seen.add(mutation.key)


def _ready(mutation: Mutation, limits: Limits, actor: Actor) -> Change:
    match mutation:
        case Delete():
            return Removal(mutation.key, mutation.if_version)
        case Touch():
            return Renewal(mutation.key, expiry(actor.now, mutation.ttl_seconds))
        case Put():
            return _write(mutation, limits, actor)


def _write(put: Put, limits: Limits, actor: Actor) -> Write:
    if put.if_absent and put.if_version is not None:
        raise InvalidArgument("if_version and ABSENT exclude each other. Keep one.")
    value = values.plain(_content(put))
    used = values.size(value)
    values.check_size(used, limits.value_bytes)
    metadata = values.metadata(put.metadata, limits.metadata_bytes)
    return Write(
        key=put.key,
        value=value,
        size_bytes=used,
        version=_new_version(),
        expires_at=expiry(actor.now, put.ttl_seconds),
        metadata=metadata or None,
        if_version=put.if_version,
        if_absent=put.if_absent,
    )


def _content(put: Put) -> object:
    try:
        return put.content()
    except ValueError:
        raise InvalidArgument("value_base64 is not base64.") from None


def _merges(change: Change) -> bool:
    return isinstance(change, Write) and bool(change.metadata) and not change.if_absent


async def _write_merged(
    backend: Backend, place: Place, changes: Sequence[Change], actor: Actor, limits: Limits
) -> Applied:
    todo = dict(enumerate(changes))
    outcomes: dict[int, Outcome] = {}
    changed = 0
    for attempt in range(_TRIES):
        merged = await _merge(backend, place, list(todo.values()), actor, limits)
        applied = await backend.apply(place, merged, actor)
        changed += applied.changed
        outcomes.update(zip(todo, applied.outcomes, strict=True))
        todo = {i: each for i, each in todo.items() if not outcomes[i].applied and _again(each)}
        if not todo:
            return Applied(changed, tuple(outcomes[i] for i in range(len(changes))))
        await asyncio.sleep(random.uniform(0, 0.001 * 2 ** min(attempt, 6)))  # noqa: S311 - jitter is no secret
    index, change = next(iter(todo.items()))
    raise Conflict(change.key, outcomes[index].version)


def _again(change: Change) -> bool:
    """Say whether the condition that failed was the merge's own, not the caller's."""
    return isinstance(change, Write) and _merges(change) and change.if_version is None


async def _merge(backend: Backend, place: Place, changes: list[Change], actor: Actor, limits: Limits) -> list[Change]:
    keys = [each.key for each in changes if _merges(each)]
    stubs = {stub.key: stub for stub in await backend.peek(place, keys, actor.now)}
    return [_merged(each, stubs.get(each.key), limits) for each in changes]


def _merged(change: Change, stub: Stub | None, limits: Limits) -> Change:
    if not isinstance(change, Write) or not _merges(change):
        return change
    if stub is None:
        return change if change.if_version is not None else replace(change, if_absent=True)
    metadata = {**stub.metadata, **(change.metadata or {})}
    values.check_size(values.size(metadata), limits.metadata_bytes, "metadata, merged with what is stored,")
    return replace(change, metadata=metadata, if_version=change.if_version or stub.version)
