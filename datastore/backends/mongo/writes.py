"""Changes, cleared namespaces and counted reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextvars import Context
from datetime import datetime
from typing import Final

import pymongo
from pymongo import WriteConcern

from datastore import values
from datastore.backends.mongo import documents, errors, increments, ranges, statements
from datastore.backends.mongo.batch import Batch
from datastore.backends.mongo.driver import Collection, Database, Session, maybe_await
from datastore.backends.mongo.refusals import refusal
from datastore.backends.mongo.reservations import Charge, Reservations
from datastore.backends.mongo.transactions import Transaction
from datastore.document import Place, Span
from datastore.errors import NotSupported, QuotaExceeded
from datastore.metering import metered
from datastore.operations import Applied, Outcome
from datastore.ports import Access, Actor, Change, Clause, Clock, Increment, Renewal, Requirement, Step, Write

_UNDOING_SECONDS: Final = 1.0
"""How long undoing a transaction may take beyond its deadline; else the server undoes it in its own time."""
DURABLE: Final = WriteConcern(w="majority", j=True)


class Writer:
    """The half of the backend that changes something."""

    _database: Database
    _entries: Collection
    _commands: Collection
    _counts: Collection
    _seconds: float
    _transactions: bool
    _reservations: Reservations
    _clock: Clock

    async def apply(self, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
        """Make the changes; keys are distinct. Unconditional ones of a batch share a round trip."""
        for change in changes:
            _check_encoded(change)
        writes = [number for number, each in enumerate(changes) if isinstance(each, Write)]
        try:
            return await self._reservations.within(
                actor.quota,
                _charges((place, each) for each in changes),
                actor.now,
                lambda: Batch(self._commands, place, actor, self._clock).run(changes),
                lambda answer: not any(answer.outcomes[number].applied for number in writes),
            )
        except QuotaExceeded:
            match changes:
                case (Write() as alone,) if (told := await refusal(self._entries, place, alone, actor)) is not None:
                    return Applied(0, (told,))  # It would not have been written anyway.
            raise

    async def increment(self, place: Place, increment: Increment, actor: Actor) -> Outcome:
        """Add to a number, in one atomic write; an expired entry starts anew.

        Where `if_version` does not hold, the outcome is not applied and has the version that stands.

        Raises:
            NotANumber: the entry holds something else.
            ValueNotStorable: the sum is beyond 64 bits, or infinite.
        """
        return await self._reservations.within(
            actor.quota,
            _charges([(place, increment)]),
            actor.now,
            lambda: increments.increment(self._commands, self._entries, place, increment, actor, self._clock),
            lambda answer: not answer.applied,
        )

    async def atomic(self, steps: Sequence[Step], actor: Actor) -> Applied:
        """Make all of the changes or none, in a transaction; see `Backend.atomic`.

        Raises:
            NotANumber, ValueNotStorable: as `increment`; nothing was written.
            NotSupported: the server is a standalone one.
        """
        if not self._transactions:
            raise NotSupported(
                "atomic() over several keys needs a MongoDB replica set, and this server is a standalone one. "
                "Keep what changes together under one key, or ask the host for a replica set (mongod --replSet)."
            )
        for _, clause in steps:
            _check_encoded(clause)
        return await self._reservations.within(
            actor.quota,
            _charges(steps, together=True),
            actor.now,
            lambda: self._transact(steps, actor),
            lambda answer: not all(each.applied for each in answer.outcomes),
        )

    async def _transact(self, steps: Sequence[Step], actor: Actor) -> Applied:
        session = await maybe_await(self._database.client.start_session())
        try:
            transaction = Transaction(self._commands, self._entries, session, DURABLE, self._seconds, self._clock)
            return await transaction.run(steps, actor)
        finally:  # In a context of its own: when the deadline of the write has passed, it is still to be undone.
            await asyncio.create_task(metered(_ended(session)), context=Context())

    async def clear(self, place: Place, prefix: str, now: datetime) -> int:
        """Remove the live entries that have the prefix; return how many.

        Where the connection broke it is sent again, and the number is then the least that went.
        """
        wanted = ranges.within(place, Span(prefix=prefix), now)
        with errors.translated(write=True):
            answer = await errors.repeated(lambda: self._commands.delete_many(wanted))
        return int(answer.deleted_count)

    async def record(self, accesses: Sequence[Access]) -> None:
        """Add reads to the entries they were made of; one that is gone or was created anew is left alone."""
        if not accesses:
            return
        requests = [statements.count_reads(each) for each in sorted(accesses, key=lambda each: each.last)]
        with errors.translated(write=True):
            await self._counts.bulk_write(requests, ordered=False)


async def _ended(session: Session) -> None:
    with pymongo.timeout(_UNDOING_SECONDS):
        await session.end_session()


def _charges(changes: Iterable[tuple[Place, Change | Clause]], *, together: bool = False) -> list[Charge]:
    """Return what becomes of keys where something is written, removed or renewed; `together`: of all or none."""
    return [
        Charge(place, each.key, _size(each), sure=together or _surely(each), keeps=isinstance(each, Renewal))
        for place, each in changes
        if not isinstance(each, Requirement)
    ]


def _size(change: Change | Increment) -> int | None:
    match change:
        case Write():
            return change.size_bytes
        case Increment():
            return values.NUMBER_BYTES
    return None


def _surely(change: Change | Increment) -> bool:
    """Say whether a change happens if others of its batch do."""
    absent = isinstance(change, Increment) or (isinstance(change, Write) and change.if_absent)
    return change.if_version is None and not absent and not isinstance(change, Renewal)


def _check_encoded(change: object) -> None:
    if isinstance(change, Write):
        documents.check_encoded(change.key, change.value, change.size_bytes)
