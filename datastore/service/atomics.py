"""All or nothing: the mutations of an atomic operation become one step per key, and the engine makes all of them.

A check of a key that is also changed becomes the condition of that change, so a step is a single conditional write, or
a requirement where nothing is changed. One step alone needs no transaction and takes the path of a plain write. A
condition that does not hold is a `Conflict`, and then nothing was written.
"""

from __future__ import annotations

from dataclasses import replace

from datastore.clock import retimed
from datastore.document import Place, moment
from datastore.errors import Conflict, InvalidArgument
from datastore.models import Limits, Scope
from datastore.operations import Applied, Apply, Check, Incr, Outcome, Touch
from datastore.ports import Actor, Backend, Clause, Clock, Increment, Removal, Requirement, Step, Write
from datastore.quotas import Quota
from datastore.service import merging, policy, writes

Name = tuple[Place, str]


async def apply(backend: Backend, scope: Scope, operation: Apply, clock: Clock, quota: Quota | None) -> Applied:
    """Make all changes or none.

    Raises:
        ValueNotStorable, ValueTooLarge, InvalidArgument: a mutation is unusable; nothing was written.
        Conflict: a condition does not hold; nothing was written.
        NotANumber: an incr of something else; nothing was written.
        NotSupported: the engine has no transactions; nothing was written.
        QuotaExceeded: there is no room; nothing was written.
    """
    actor = writes.actor_of(scope, operation.space, moment(clock.now()), quota)
    named = [(policy.home(scope, operation, each), each.key) for each in operation.mutations]
    steps = _steps(operation, named, scope.limits, actor)
    made = await _commit(backend, list(steps.values()), actor, scope.limits, clock)
    outcomes = dict(zip(steps, made, strict=True))
    return Applied(len(steps), tuple(replace(outcomes[name], number=None) for name in named))


def _steps(operation: Apply, named: list[Name], limits: Limits, actor: Actor) -> dict[Name, Step]:
    checks: dict[Name, Requirement] = {}
    changes: dict[Name, Clause] = {}
    for name, mutation in zip(named, operation.mutations, strict=True):
        if name in (checks if isinstance(mutation, Check) else changes):
            done = "checked" if isinstance(mutation, Check) else "changed"
            raise InvalidArgument(f"{mutation.key!r} is {done} twice in one atomic. Keep the last one.")
        match mutation:
            case Check():
                checks[name] = Requirement(mutation.key, mutation.version)
            case Incr():
                changes[name] = writes.increment(mutation, limits, actor)
            case Touch():
                raise InvalidArgument(f"touch of {mutation.key!r} cannot be atomic. Give set or incr a ttl_seconds.")
            case _:
                changes[name] = writes.change(mutation, limits, actor)
    return {name: (name[0], _folded(checks.get(name), changes.get(name))) for name in dict.fromkeys(named)}


def _folded(check: Requirement | None, change: Clause | None) -> Clause:
    """Return a change under the condition of its key's check."""
    if change is None or check is None:
        clause = change or check
        assert clause is not None  # noqa: S101 - every name has one of the two
        return clause
    if getattr(change, "if_version", None) is not None or getattr(change, "if_absent", False):
        raise InvalidArgument(f"{change.key!r} has a check and a condition of its own. Keep one.")
    match change:
        case Write() if check.version is None:
            return replace(change, if_absent=True)
        case Increment() if check.version is None:
            return change.creation(change.initial + change.by)
        case Write() | Increment() | Removal() if check.version is not None:
            return replace(change, if_version=check.version)
    return check


async def _commit(
    backend: Backend, steps: list[Step], asked: Actor, limits: Limits, clock: Clock
) -> tuple[Outcome, ...]:
    refused: list[tuple[Clause, Outcome]] = []
    for attempt in range(merging.TRIES):
        actor = retimed(asked, clock)
        outcomes = await _attempt(backend, await _merged(backend, steps, actor, limits), actor)
        told = [(clause, each) for (_, clause), each in zip(steps, outcomes, strict=True) if not each.applied]
        if not told:
            return outcomes
        refused = [each for each in told if not merging.again(each[0])] or told
        if not merging.again(refused[0][0]):
            break
        await merging.pause(attempt)
    clause, outcome = refused[0]
    raise Conflict(clause.key, outcome.version)


async def _merged(backend: Backend, steps: list[Step], actor: Actor, limits: Limits) -> list[Step]:
    merged = list(steps)
    for place in dict.fromkeys(place for place, clause in steps if merging.merges(clause)):
        mine: dict[int, Clause] = {
            i: clause for i, (at, clause) in enumerate(steps) if at == place and merging.merges(clause)
        }
        changes = await merging.merge(backend, place, list(mine.values()), actor, limits)
        for index, change in zip(mine, changes, strict=True):
            merged[index] = (place, change)
    return merged


async def _attempt(backend: Backend, steps: list[Step], actor: Actor) -> tuple[Outcome, ...]:
    if len(steps) > 1:
        return (await backend.atomic(steps, actor)).outcomes
    place, clause = steps[0]
    match clause:
        case Requirement():
            return (await _required(backend, place, clause, actor),)
        case Increment():
            return (await backend.increment(place, clause, actor),)
    return (await backend.apply(place, [clause], actor)).outcomes


async def _required(backend: Backend, place: Place, requirement: Requirement, actor: Actor) -> Outcome:
    stubs = await backend.peek(place, [requirement.key], actor.now)
    version = stubs[0].version if stubs else None
    return Outcome(applied=version == requirement.version, version=version)
