"""What operators set for single users and spaces, in place of the host's own limits; and how much is used of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from admin.actions.subject import NotFound, Owner, scope
from datastore.chain import Deed
from datastore.document import moment
from datastore.errors import InvalidArgument, after
from datastore.quotas import Amount, Ceiling, Quota
from datastore.service import overrides
from datastore.service.overrides import NOTHING, Override, Room
from datastore.service.store import Store
from datastore.service.writes import actor_of

EVERY: Final = overrides.ANY
"""How an operator names all namespaces that have no ceiling of their own."""


@dataclass(frozen=True, slots=True)
class Line:
    """What an owner holds in all (None), or in a namespace, and the most that it may."""

    namespace: str | None
    held: Amount
    ceiling: Ceiling
    override: bool


async def show(store: Store, owner: Owner) -> AsyncIterator[list[Line]]:
    """Give the whole and then each namespace that holds something, or has a ceiling of its own, in order."""
    now = moment(store.clock.now())
    given = await own(store, owner)
    quota = (await store.quotas.bounds(scope(owner), None)).quota or Quota()
    found = await store.engine.usage(owner.id, now)
    held = {name: Amount(each.bytes, each.keys) for name, each in found.items()}
    lines = [Line(None, sum(held.values(), Amount()), quota.whole, given.whole != Room())]
    for name in sorted({*held, *given.namespaces} - {EVERY}):
        override = name in given.namespaces or EVERY in given.namespaces
        lines.append(Line(name, held.get(name, Amount()), quota.ceiling(name), override))
    yield lines


async def own(store: Store, owner: Owner) -> Override:
    """Return what was set for an owner."""
    return (await overrides.read(store.engine, owner.id, moment(store.clock.now())))[0]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is to be set: for the whole of an owner, for one namespace, or for `EVERY` one; None: as it is."""

    namespace: str | None
    bytes: int | None
    keys: int | None
    value_bytes: int | None

    def check(self) -> None:
        """Refuse what sets nothing, or what has no such limit.

        Raises:
            InvalidArgument: as said.
        """
        if (self.bytes, self.keys, self.value_bytes) == (None, None, None):
            raise InvalidArgument("say what to set: --bytes N, --keys N or --value-bytes N.")
        if self.namespace is not None and self.value_bytes is not None:
            raise InvalidArgument("--value-bytes is for all of a user's values. Leave --namespace out.")

    def upon(self, standing: Override) -> Override:
        """Return the override with this in it."""
        if self.namespace is None:
            value_bytes = standing.value_bytes if self.value_bytes is None else self.value_bytes
            return standing.model_copy(update={"whole": self._room(standing.whole), "value_bytes": value_bytes})
        room = self._room(standing.namespaces.get(self.namespace, Room()))
        return standing.model_copy(update={"namespaces": {**standing.namespaces, self.namespace: room}})

    def _room(self, standing: Room) -> Room:
        return Room(
            bytes=standing.bytes if self.bytes is None else self.bytes,
            keys=standing.keys if self.keys is None else self.keys,
        )


async def put(store: Store, owner: Owner, setting: Setting) -> None:
    """Set limits in place of the host's; every host knows within a few seconds.

    Raises:
        Conflict: another operator was at it.
    """
    await _change(store, owner, "set_quota", setting.namespace, setting.upon)


async def replace_all(store: Store, owner: Owner, limits: Override) -> None:
    """Set limits in place of whatever stands.

    Raises:
        Conflict: another operator was at it.
    """
    await _change(store, owner, "set_quota", None, lambda _: limits)


async def clear(store: Store, owner: Owner, namespace: str | None) -> None:
    """Take away all that was set, or what was for one namespace, or for `EVERY` one: the host's own limits apply.

    Where nothing was set hosts are told all the same, since an earlier call may have been cut off before it told them.

    Raises:
        NotFound: nothing was set.
        Conflict: another operator was at it.
    """
    changed = False

    def without(standing: Override) -> Override:
        nonlocal changed
        left = {name: room for name, room in standing.namespaces.items() if name != namespace}
        cleared = NOTHING if namespace is None else standing.model_copy(update={"namespaces": left})
        changed = cleared != standing
        return cleared

    await _change(store, owner, "clear_quota", namespace, without)
    if not changed:
        raise NotFound(f"{owner}{'' if namespace is None else f', namespace {namespace}'} has no quota of its own.")


async def _change(
    store: Store, owner: Owner, operation: str, namespace: str | None, edit: Callable[[Override], Override]
) -> None:
    """Change an override and note it."""
    who = scope(owner)
    deed = Deed(who.user, who.agent, who.run, operation, owner.id, namespace, outcome="unknown")
    async with store.audit.noting(1) as noted:
        noted.append(deed)
        actor = actor_of(who, None, moment(store.clock.now()), None)
        await overrides.change(store.engine, owner.id, edit, actor)
        with after(True, "the quota was changed"):
            await store.quotas.overrides.look()
        noted[:] = [replace(deed, outcome="done")]
