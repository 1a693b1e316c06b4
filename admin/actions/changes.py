"""What operators change: through the store, so that its rules hold and the change is recorded as theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from admin.actions import looks
from admin.actions.subject import Area, NotFound, scope
from datastore.dispatch import parse
from datastore.document import moment
from datastore.errors import Conflict, InvalidArgument
from datastore.operations import Applied, Number
from datastore.service.store import Store


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to be written; without ttl_seconds it does not expire, with if_version it must stand at that version."""

    key: str
    value: Any
    metadata: dict[str, Any] | None = None
    ttl_seconds: float | None = None
    if_version: str | None = None


async def put(store: Store, area: Area, draft: Draft) -> str:
    """Write an entry over whatever stands there, merging metadata, and return its new version.

    Raises:
        Conflict: `if_version` is not what stands.
        DataStoreError: a name or value is unusable.
    """
    change = {
        "kind": "put",
        "key": draft.key,
        "value": draft.value,
        "metadata": draft.metadata,
        "ttl_seconds": draft.ttl_seconds,
        "if_version": draft.if_version,
    }
    outcome = (await _apply(store, area, change)).outcomes[0]
    if not outcome.applied or outcome.version is None:
        raise Conflict(draft.key, outcome.version)
    return outcome.version


@dataclass(frozen=True, slots=True)
class Selection:
    """What a deletion takes: one key, the keys with a prefix, or, with neither, the whole namespace."""

    key: str | None = None
    prefix: str | None = None

    @classmethod
    def of(cls, key: str | None, prefix: str | None, *, everything: bool) -> Self:
        """Return the selection of which exactly one was given.

        Raises:
            InvalidArgument: none or several were given, or the prefix is empty, as an unset variable would be.
        """
        if [key is not None, prefix is not None, everything].count(True) != 1:
            raise InvalidArgument("say what to delete: a KEY, --prefix PREFIX, or --all, one of the three.")
        if prefix == "":
            raise InvalidArgument("an empty prefix would take the whole namespace. Write --all if that is meant.")
        return cls(key, prefix)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a deletion would take now."""

    keys: int
    bytes: int


async def loss(store: Store, area: Area, selection: Selection) -> Loss:
    """Return what deleting a selection would take, without reading values.

    Raises:
        NotFound: there is nothing to delete.
    """
    if selection.key is not None:
        found = await _loss_of_key(store, area, selection.key)
    elif selection.prefix is not None:
        found = await _loss_of_prefix(store, area, selection.prefix)
    else:
        found = await _loss_of_all(store, area)
    if not found.keys:
        raise NotFound(f"{area} has no {_words(selection)}.")
    return found


async def delete(store: Store, area: Area, selection: Selection) -> int:
    """Delete a selection and return how many entries went."""
    if selection.key is not None:
        return (await _apply(store, area, {"kind": "delete", "key": selection.key})).changed
    operation = parse({"op": "clear", "namespace": area.namespace, "prefix": selection.prefix or ""})
    answer = await store.execute(scope(area.owner), operation)
    assert isinstance(answer, Number)  # noqa: S101 - what a clear answers
    return answer.number


async def _loss_of_key(store: Store, area: Area, key: str) -> Loss:
    found = await looks.outline(store, area, key)
    return Loss(0, 0) if found is None else Loss(1, found.size_bytes)


async def _loss_of_prefix(store: Store, area: Area, prefix: str) -> Loss:
    keys = size = 0
    async for page in looks.keys(store, area, prefix):
        keys += len(page)
        size += sum(each.size_bytes for each in page)
    return Loss(keys, size)


async def _loss_of_all(store: Store, area: Area) -> Loss:
    held = (await store.engine.usage(area.owner.id, moment(store.clock.now()))).get(area.place.namespace)
    return Loss(0, 0) if held is None else Loss(held.keys, held.bytes)


def _words(selection: Selection) -> str:
    if selection.key is not None:
        return f"key {selection.key!r}"
    return "keys" if selection.prefix is None else f"keys that begin with {selection.prefix!r}"


async def _apply(store: Store, area: Area, change: dict[str, Any]) -> Applied:
    operation = parse({"op": "apply", "namespace": area.namespace, "mutations": [change]})
    answer = await store.execute(scope(area.owner), operation)
    assert isinstance(answer, Applied)  # noqa: S101 - what an apply answers
    return answer
