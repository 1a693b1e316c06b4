"""Metadata merges by compare-and-set: read what stands, merge, write only if the version is unchanged, again if not.

The merge is exact in size, and no key of it is ever a field path.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeGuard, TypeVar

from datastore import values
from datastore.clock import retimed
from datastore.document import Place
from datastore.errors import Conflict, after
from datastore.models import Limits
from datastore.operations import Applied, Outcome
from datastore.ports import Actor, Backend, Change, Clause, Clock, Stub, Write

TRIES: Final = 16

C = TypeVar("C", Change, Clause)


def merges(change: object) -> TypeGuard[Write]:
    """Say whether a change has metadata to merge into what stands."""
    return isinstance(change, Write) and bool(change.metadata) and not change.if_absent


async def write_merged(
    backend: Backend, place: Place, changes: Sequence[Change], asked: Actor, limits: Limits, clock: Clock
) -> Applied:
    """Make changes of which some have metadata to merge.

    Raises:
        Conflict: others changed an entry between the read and the write, time after time.
        DataStoreError: of the engine. Each of these says how many were written before.
    """
    todo = dict(enumerate(changes))
    outcomes: dict[int, Outcome] = {}
    changed = 0
    for attempt in range(TRIES):
        actor = retimed(asked, clock)
        with after(changed, f"{changed:,} of {len(changes):,} were written"):
            merged = await merge(backend, place, list(todo.values()), actor, limits)
            applied = await backend.apply(place, merged, actor)
        changed += applied.changed
        outcomes.update(zip(todo, applied.outcomes, strict=True))
        todo = {i: each for i, each in todo.items() if not outcomes[i].applied and again(each)}
        if not todo:
            return Applied(changed, tuple(outcomes[i] for i in range(len(changes))))
        await pause(attempt)
    index, change = next(iter(todo.items()))
    with after(changed, f"{changed:,} of {len(changes):,} were written"):
        raise Conflict(change.key, outcomes[index].version)


async def pause(attempt: int) -> None:
    """Let others go first, the longer the more often they were faster."""
    await asyncio.sleep(random.uniform(0, 0.001 * 2 ** min(attempt, 6)))  # noqa: S311 - jitter is not a secret


def again(change: object) -> bool:
    """Say whether the condition that failed was the merge's own, not the caller's."""
    return merges(change) and change.if_version is None


async def merge(backend: Backend, place: Place, changes: Sequence[C], actor: Actor, limits: Limits) -> list[C | Write]:
    """Return the changes with metadata merged into what stands, to be written only if that still stands.

    Raises:
        ValueTooLarge: metadata would be larger than the limit.
    """
    keys = [each.key for each in changes if merges(each)]
    stubs = {stub.key: stub for stub in await backend.peek(place, keys, actor.now)}
    return [_merged(each, stubs.get(each.key), limits) if merges(each) else each for each in changes]


def _merged(change: Write, stub: Stub | None, limits: Limits) -> Write:
    if stub is None:
        return change if change.if_version is not None else replace(change, if_absent=True)
    metadata = {**stub.metadata, **(change.metadata or {})}
    values.check_size(values.size(metadata), limits.metadata_bytes, "metadata, merged with what is stored,")
    return replace(change, metadata=metadata, if_version=change.if_version or stub.version)
