"""All or nothing: several changes in one transaction, which a condition that does not hold rolls back.

The transaction ends as if it were alone: it has the write lock from its beginning, or it is serializable and made again
where somebody changed what a requirement read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

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
            required = {0: (place, Requirement(change.key, change.if_version))}
            async with _requiring(job, required, actor):
                number = await increments.inside(job, place, change, actor)
    except _Refused as refused:
        return refused.outcomes[0]
    return Outcome(applied=True, version=change.version, number=number)


async def _make(job: Job, steps: Sequence[Step], actor: Actor) -> Applied:
    outcomes: dict[int, Outcome] = {}
    changes = []
    async with _requiring(job, _requirements(steps), actor):
        for number, (place, clause) in enumerate(steps):
            match clause:
                case Requirement():
                    outcomes[number] = Outcome(applied=True, version=clause.version)
                case Increment():
                    await increments.inside(job, place, clause, actor)
                    outcomes[number] = Outcome(applied=True, version=clause.version)
                case _:
                    changes.append((number, (place, clause)))
        applied = await writes.make(job, [each for _, each in changes], actor)
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


@asynccontextmanager
async def _requiring(job: Job, wanted: Mapping[int, tuple[Place, Requirement]], actor: Actor) -> AsyncIterator[None]:
    """Require that entries are at versions, before what is done inside and, as far as time can tell, after it."""
    ends = await _require(job, wanted, actor)
    yield
    now = to_ms(job.latest(actor.now))
    _refuse({number: Outcome(applied=False) for number, end in ends.items() if end <= now})


async def _require(job: Job, wanted: Mapping[int, tuple[Place, Requirement]], actor: Actor) -> dict[int, int]:
    """Return when the entries expire, in milliseconds; what is required to be absent is left out."""
    ids = {number: place.id(requirement.key) for number, (place, requirement) in wanted.items()}
    standing = await writes.alive(job, list(ids.values()), to_ms(job.latest(actor.now)))
    found = {number: standing[id_] for number, id_ in ids.items() if id_ in standing}
    versions = {number: row.version for number, row in found.items()}
    _refuse(
        {
            number: Outcome(applied=False, version=versions.get(number))
            for number, (_, requirement) in wanted.items()
            if versions.get(number) != requirement.version
        }
    )
    return {number: row.expires_at for number, row in found.items()}


def _refuse(outcomes: Mapping[int, Outcome]) -> None:
    if outcomes:
        raise _Refused(outcomes)
