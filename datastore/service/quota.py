"""What a write must stay within: the limits of the host, of operators' overrides, and of the scope, as one quota.

The limits of the host are everybody's; an override takes their place, for one user or space; and those of a scope
narrow both. A space's room is the space's own: what a scope says of its user's whole store does not count there.
Asked after the policy and before the engine, which makes the quota a part of the write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from datastore import grants, names
from datastore.errors import NamespaceQuotaExceeded
from datastore.models import NO_LIMITS, Limits, Scope
from datastore.operations import Apply, Copy, GetUsage, Incr, Operation, Put, Touch
from datastore.ports import Backend, Clock
from datastore.quotas import WHOLE, Amount, Ceiling, Growth, Quota
from datastore.service import policy
from datastore.service.overrides import ANY, EVERY_SECONDS, NOTHING, Override, Overrides, Room


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a scope may do to one owner's data now: sizes and numbers, and the quota; None: there is none."""

    limits: Limits
    quota: Quota | None


class Quotas:
    """The quotas of one store.

    Args:
        backend: where overrides are.
        clock: where time comes from.
        limits: the host's own.
        seconds: how often it looks for overrides that changed.
    """

    def __init__(self, backend: Backend, clock: Clock, limits: Limits, seconds: float = EVERY_SECONDS) -> None:
        self._limits = NO_LIMITS if limits == NO_LIMITS else limits
        self.overrides = Overrides(backend, clock, seconds)

    async def scoped(self, scope: Scope, operation: Operation) -> tuple[Scope, Quota | None]:
        """Return the scope with the limits that apply to an operation that `concerns` them, and its quota.

        Raises:
            StoreUnavailable: the engine does not say what was set for the owner.
        """
        bounds = await self.bounds(scope, operation.space)
        if bounds.limits == scope.limits:
            return scope, bounds.quota
        return scope.model_copy(update={"limits": bounds.limits}), bounds.quota

    async def bounds(self, scope: Scope, space: str | None, given: Override | None = None) -> Bounds:
        """Return what applies to a scope, in a space or in its user's own store; under an override that is given.

        Raises:
            StoreUnavailable: as `scoped`.
        """
        override, version = (given, None) if given else await self.overrides.of(policy.owner(scope, space))
        host, own = _overridden(self._limits, override), scope.limits
        if space is not None:
            own = own.model_copy(update={"user_bytes": None, "user_keys": None})
        limits = own if host is NO_LIMITS else _narrowed(host, own)
        return Bounds(limits, _quota(limits, override, own, version or ""))

    async def aclose(self) -> None:
        """End looking for overrides."""
        await self.overrides.aclose()


def concerns(operation: Operation) -> bool:
    """Say whether an operation adds something, keeps room, or tells what may be added."""
    match operation:
        case Apply():
            return any(isinstance(each, (Put, Incr, Touch)) for each in operation.mutations)
    return isinstance(operation, (Copy, GetUsage))


def _narrowed(limits: Limits, own: Limits) -> Limits:
    return limits.model_copy(update={name: _least(each, getattr(own, name)) for name, each in limits})


def _overridden(limits: Limits, override: Override) -> Limits:
    if override == NOTHING:
        return limits
    every = override.namespaces.get(ANY, Room())
    given = {
        "value_bytes": override.value_bytes,
        "user_bytes": override.whole.bytes,
        "user_keys": override.whole.keys,
        "namespace_bytes": every.bytes,
        "namespace_keys": every.keys,
    }
    set_ = {name: each for name, each in given.items() if each is not None}
    return limits.model_copy(update=set_)


def _quota(limits: Limits, override: Override, own: Limits, since: str) -> Quota | None:
    """Return the quota of limits that apply; a namespace's own ceiling takes the place of the one for all."""
    each = Ceiling(limits.namespace_bytes, limits.namespace_keys)
    named = {
        name: Ceiling(
            each.bytes if room.bytes is None else _least(room.bytes, own.namespace_bytes),
            each.keys if room.keys is None else _least(room.keys, own.namespace_keys),
        )
        for name, room in override.namespaces.items()
        if name != ANY
    }
    quota = Quota(Ceiling(limits.user_bytes, limits.user_keys), each, named, since)
    return None if quota == Quota() else quota


def _least(one: int | None, other: int | None) -> int | None:
    given = [each for each in (one, other) if each is not None]
    return min(given, default=None)


def check(quota: Quota, held: Mapping[str, Amount], growth: Mapping[str, Growth]) -> None:
    """Refuse what several writes together would add, before the first; each of them is bounded all the same.

    Args:
        quota: of the owner.
        held: what is alive, by stored namespace.
        growth: what would be added, likewise, and to `WHOLE`.

    Raises:
        QuotaExceeded: there is no room.
    """
    for name, added in growth.items():
        before = sum(held.values(), Amount()) if name == WHOLE else held.get(name, Amount())
        quota.check(name, before, added.most)


@contextmanager
def told(scope: Scope) -> Iterator[None]:
    """Name a private namespace that is full as the agent does."""
    try:
        yield
    except NamespaceQuotaExceeded as error:
        shown = _shown(scope, error.fields["namespace"])
        if shown == error.fields["namespace"]:
            raise
        error.message = error.message.replace(f"namespace {error.fields['namespace']!r}", f"namespace {shown!r}", 1)
        error.fields["namespace"] = shown
        raise


def _shown(scope: Scope, stored: str) -> str:
    own = grants.private(scope.agent, grants.SELF)
    locks = names.LOCKS if stored.startswith(names.LOCKS) else ""
    name = stored.removeprefix(locks)
    if name == own:
        return f"{locks}{grants.SELF}"
    return f"{locks}{grants.SELF}.{name.removeprefix(own + '/')}" if name.startswith(own + "/") else stored
