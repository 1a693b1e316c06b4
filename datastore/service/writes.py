"""From mutations to changes that the engine can make: values checked, sizes measured, versions minted, metadata merged.

One subject, so longer than most files: every write of the service passes here.

Everything is checked before anything is written; see `merging` for metadata, and `atomics` for all or nothing.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from datastore import errors, names, values
from datastore.document import Span, expiry, moment
from datastore.entry import NEVER, Entry
from datastore.errors import InvalidArgument
from datastore.metering import WRITTEN
from datastore.models import Limits, Scope
from datastore.operations import Applied, Apply, Check, Copy, Delete, Incr, Mutation, Number, Put, Touch
from datastore.ports import Actor, Backend, Change, Clock, Increment, Removal, Renewal, Write
from datastore.quotas import Quota
from datastore.service import merging, policy

UNKNOWN_RUN: Final = "-"
"""The run of a write whose scope names none."""


async def apply(backend: Backend, scope: Scope, operation: Apply, clock: Clock, quota: Quota | None) -> Applied:
    """Check every mutation, then make the changes, merging metadata where it is given.

    Raises:
        ValueNotStorable, ValueTooLarge: a value or metadata is unusable; nothing was written.
        InvalidArgument: a key is named twice, a put has two conditions, or an incr is not alone; nothing was written.
        NotANumber: an incr of something else.
        Conflict: others changed an entry between the merge's read and its write, time after time.
        QuotaExceeded: there is no room; nothing was written.
    """
    _refuse_what_is_atomic(operation)
    actor = actor_of(scope, operation.space, moment(clock.now()), quota)
    place = policy.place(scope, operation.namespace, operation.space)
    match operation.mutations:
        case (Incr() as incr,):
            outcome = await backend.increment(place, increment(incr, scope.limits, actor), actor)
            return Applied(1, (outcome,))
    changes = [_ready(each, scope.limits, actor) for each in operation.mutations]
    if any(merging.merges(each) for each in changes):
        return await merging.write_merged(backend, place, changes, actor, scope.limits, clock)
    return await backend.apply(place, changes, actor)


async def copy(backend: Backend, scope: Scope, operation: Copy, now: datetime, quota: Quota | None = None) -> Number:
    """Copy entries page by page, as writes of the acting agent; value, metadata and expiry are the source's.

    Raises:
        InvalidArgument: source and target are one.
        QuotaExceeded: there is no room; the message says how many were copied.
        StoreUnavailable: the engine failed on the way, or time was up; the message says how many were copied.
    """
    source = policy.place(scope, operation.namespace, operation.space)
    target = policy.place(scope, operation.target, operation.space)
    if source == target:
        raise InvalidArgument(f"{operation.namespace!r} cannot be copied onto itself. Name another namespace.")
    copied, after, actor = 0, None, actor_of(scope, operation.space, now, quota)
    while True:
        with errors.after(copied, f"{copied:,} entries were copied"):
            page, after = await backend.scan(source, Span(operation.prefix, after), now)
            if page:
                await backend.apply(target, [_copied(each) for each in page], actor)
        copied += len(page)
        if after is None:
            return Number(copied)


def actor_of(scope: Scope, space: str | None, now: datetime, quota: Quota | None) -> Actor:
    """Return who writes, when and within what; in a space also for which user, which an operator is by its own name."""
    run = scope.run or UNKNOWN_RUN
    if scope.operator:
        return Actor(scope.agent, run, now, scope.agent if names.is_reserved(scope.user) else None, quota)
    return Actor(scope.agent, run, now, None if space is None else scope.user, quota)


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


def _refuse_what_is_atomic(operation: Apply) -> None:
    seen: set[str] = set()
    for mutation in operation.mutations:
        if mutation.key in seen:
            raise InvalidArgument(f"{mutation.key!r} is named twice in one batch. Keep the last one.")
        if isinstance(mutation, Check) or mutation.namespace is not None:
            raise InvalidArgument("a check, and a mutation of another namespace, stand in an atomic apply only.")
        seen.add(mutation.key)


def _ready(mutation: Mutation, limits: Limits, actor: Actor) -> Change:
    match mutation:
        case Touch():
            return Renewal(mutation.key, expiry(actor.now, mutation.ttl_seconds), mutation.if_version)
        case Put() | Delete():
            return change(mutation, limits, actor)
    raise InvalidArgument(f"{mutation.kind} of {mutation.key!r} is one of several mutations. Send it alone.")


def change(mutation: Put | Delete, limits: Limits, actor: Actor) -> Write | Removal:
    """Return what the engine is to do, checked.

    Raises:
        ValueNotStorable, ValueTooLarge, InvalidArgument: it cannot be done.
    """
    match mutation:
        case Delete():
            return Removal(mutation.key, mutation.if_version)
        case Put():
            return _write(mutation, limits, actor)


def increment(incr: Incr, limits: Limits, actor: Actor) -> Increment:
    """Return what the engine is to add, checked.

    Raises:
        ValueTooLarge: the scope's limit is less than a number takes.
        ValueNotStorable: `initial` + `by` is no number.
    """
    values.check_size(values.NUMBER_BYTES, limits.value_bytes)
    values.added(incr.key, incr.initial, incr.by)
    expires_at = None if incr.ttl_seconds is None else expiry(actor.now, incr.ttl_seconds)
    return Increment(incr.key, incr.by, incr.initial, _new_version(), expires_at)


def _write(put: Put, limits: Limits, actor: Actor) -> Write:
    if put.if_absent and put.if_version is not None:
        raise InvalidArgument("if_version and ABSENT exclude each other. Keep one.")
    if put.keep_expiry and (put.if_version is None or put.ttl_seconds is not None):
        raise InvalidArgument("keep_expiry needs if_version, and excludes ttl_seconds. Leave one out.")
    if put.if_absent and put.ttl_seconds is not None:
        names.claim_seconds(put.ttl_seconds)
    value = values.plain(_content(put))
    used = values.size(value)
    values.check_size(used, limits.value_bytes)
    WRITTEN.set(WRITTEN.get() + used)
    metadata = values.metadata(put.metadata, limits.metadata_bytes)
    return Write(
        key=put.key,
        value=value,
        size_bytes=used,
        version=_new_version(),
        expires_at=None if put.keep_expiry else expiry(actor.now, put.ttl_seconds),
        metadata=metadata or None,
        if_version=put.if_version,
        if_absent=put.if_absent,
    )


def _content(put: Put) -> object:
    try:
        return put.content()
    except ValueError:
        raise InvalidArgument("value_base64 is not base64.") from None
