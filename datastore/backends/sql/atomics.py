"""All or nothing: several changes in one transaction, which a condition that does not hold rolls back.

The transaction ends as if it were alone: it has the write lock from its beginning, or it is serializable and made again
where somebody changed what a requirement read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datastore.backends.sql import increments, writes
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import to_ms
from datastore.document import Place
from datastore.operations import Applied, Outcome
from datastore.ports import Actor, Increment, Requirement, Step


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A condition does not hold; by the step's number."""

    def __init__(self, outcomes: Mapping[int, Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


async def atomic(job: Job, steps: Sequence[Step], actor: Actor) -> Applied:
    """Make all of the changes or none; see `Backend.atomic`."""
    try:
        async with job.transaction():
            return await _make(job, steps, actor)
    except _Refused as refused:
        done = Outcome(applied=True)
        return Applied(0, tuple(refused.outcomes.get(number, done) for number in range(len(steps))))


async def increment(job: Job, place: Place, change: Increment, actor: Actor) -> Outcome:
    """Add to a number at a version; see `Backend.increment`."""
    try:
        async with job.transaction():
            await _require(job, {0: (place, Requirement(change.key, change.if_version))}, actor)
            number = await increments.inside(job, place, change, actor)
    except _Refused as refused:
        return refused.outcomes[0]
    return Outcome(applied=True, version=change.version, number=number)


async def _make(job: Job, steps: Sequence[Step], actor: Actor) -> Applied:
    await _require(job, _requirements(steps), actor)
    outcomes: dict[int, Outcome] = {}
    changes = []
    for number, (place, clause) in enumerate(steps):
        match clause:
            case Requirement():
                outcomes[number] = Outcome(applied=True, version=clause.version)
            case Increment():
                await increments.inside(job, place, clause, actor)
                outcomes[number] = Outcome(applied=True, version=clause.version)
            case _:
                changes.append((number, writes.step(job.dialect, place, clause, actor)))
    applied = await writes.make(job, [each for _, each in changes], to_ms(actor.now))
    outcomes |= {number: each for (number, _), each in zip(changes, applied.outcomes, strict=True)}
    if refused := {number: each for number, each in outcomes.items() if not each.applied}:
        raise _Refused(refused)
    counted = sum(isinstance(clause, Increment) for _, clause in steps)
    return Applied(applied.changed + counted, tuple(outcomes[number] for number in range(len(steps))))


def _requirements(steps: Sequence[Step]) -> dict[int, tuple[Place, Requirement]]:
    """Return what is required besides the conditions that writes carry in their own statements."""
    found: dict[int, tuple[Place, Requirement]] = {}
    for number, (place, clause) in enumerate(steps):
        if isinstance(clause, Requirement):
            found[number] = (place, clause)
        elif isinstance(clause, Increment) and clause.if_version is not None:
            found[number] = (place, Requirement(clause.key, clause.if_version))
    return found


async def _require(job: Job, wanted: Mapping[int, tuple[Place, Requirement]], actor: Actor) -> None:
    ids = {number: place.id(requirement.key) for number, (place, requirement) in wanted.items()}
    standing = await writes.versions(job, list(ids.values()), to_ms(actor.now))
    refused = {
        number: Outcome(applied=False, version=standing.get(ids[number]))
        for number, (_, requirement) in wanted.items()
        if standing.get(ids[number]) != requirement.version
    }
    if refused:
        raise _Refused(refused)
