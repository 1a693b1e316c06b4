"""All or nothing: the statements of several keys as one ordered bulk in a transaction, then the commit.

- What is required is written (`guard`), never only read: two transactions that each required what the other writes
  would both commit, because each reads the snapshot from before. So they meet as two writers, and one begins again.
  Of an absent key a document is written that has always been expired: no verb sees it, and the garbage collection
  takes it. Nothing else is written at a key whose condition is all that is asked.
- A condition that does not hold fails its statement by index, which ends the transaction. What stands is read then; if
  nothing stands in the way any more, the whole begins again.
- So it does after what the server calls transient, above all a conflict with another writer, after a pause with jitter
  and until the deadline. A commit whose answer was lost is sent again: it is made once.
- The transaction lives for two trips of this host (three where something is removed, since removals are a command of
  their own), and never for one to an agent. Of a host that is killed within, the server undoes it after its own
  `transactionLifetimeLimitSeconds`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import pymongo
from pymongo import DeleteOne
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from datastore import deadlines
from datastore.backends.mongo import errors, statements
from datastore.backends.mongo.driver import Collection, Request, Session, maybe_await
from datastore.backends.mongo.refusals import refusal
from datastore.clock import retimed
from datastore.errors import TOO_MANY_WRITERS, StoreUnavailable
from datastore.operations import Applied, Outcome
from datastore.ports import Actor, Clock, Increment, Step, Write

_TRANSIENT: Final = "TransientTransactionError"
_UNKNOWN: Final = "UnknownTransactionCommitResult"
_LONGEST_PAUSE_SECONDS: Final = 0.1


class Transaction:
    """One call of `atomic`.

    Args:
        commands: the collection, for statements whose answer the driver reads.
        entries: the same, for reading what stands.
        session: of the same client; whoever made it ends it.
        durable: how the commit is acknowledged.
        seconds: the deadline, from now.
        clock: the present, which each attempt is judged by.
    """

    def __init__(
        self,
        commands: Collection,
        entries: Collection,
        session: Session,
        durable: WriteConcern,
        seconds: float,
        clock: Clock,
    ) -> None:
        self._commands = commands
        self._entries = entries
        self._session = session
        self._durable = durable
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + min(seconds, deadlines.left())
        self._committing = False

    async def run(self, steps: Sequence[Step], asked: Actor) -> Applied:
        """Make all of the changes or none; see `Backend.atomic`."""
        attempt = 0
        while (left := self._until - self._loop.time()) > 0:
            actor = retimed(asked, self._clock)
            requests, owners = _requests(steps, actor)
            with pymongo.timeout(left):
                refused = await self._try(requests)
            if refused is None:
                return Applied(_changes(steps), tuple(_done(step) for step in steps))
            if refused >= 0:
                place, clause = steps[owners[refused]]
                if (outcome := await refusal(self._entries, place, clause, actor)) is not None:
                    outcomes = [_done(step) for step in steps]
                    outcomes[owners[refused]] = outcome
                    return Applied(0, tuple(outcomes))
            await self._pause(attempt)
            attempt += 1
        raise StoreUnavailable(TOO_MANY_WRITERS)

    async def _try(self, requests: Sequence[Request]) -> int | None:
        """Return None when it is committed, else which request was refused, -1 where it is only to be tried again."""
        self._committing = False
        try:
            return await self._attempt(requests)
        except PyMongoError as error:
            if error.has_error_label(_TRANSIENT) and not error.timeout:
                return -1
            # Once a commit was sent, an error that says "never sent" is about the one that was sent again.
            with errors.translated(write=self._committing, begun=self._committing):
                raise

    async def _attempt(self, requests: Sequence[Request]) -> int | None:
        await maybe_await(
            self._session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=self._durable)
        )
        try:
            await self._commands.bulk_write(requests, ordered=True, session=self._session)
        except BaseException as error:
            if getattr(error, "timeout", False):
                raise  # Out of time here; whoever ends the session undoes it.
            await self._session.abort_transaction()
            codes = errors.failed(error) if isinstance(error, BulkWriteError) else {}
            if not codes or not codes.keys() <= errors.REFUSALS:
                raise
            return min(index for indexes in codes.values() for index in indexes)
        await self._commit()
        return None

    async def _commit(self) -> None:
        self._committing = True
        for attempt in range(1_000_000):
            try:
                return await self._session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label(_UNKNOWN) or error.timeout:
                    raise
            await self._pause(attempt)
        return None

    async def _pause(self, attempt: int) -> None:
        await asyncio.sleep(random.uniform(0, min(0.001 * 2**attempt, _LONGEST_PAUSE_SECONDS)))  # noqa: S311 - jitter is not a secret


def _requests(steps: Sequence[Step], actor: Actor) -> tuple[list[Request], list[int]]:
    """Return the statements, removals last, and the step that each belongs to."""
    made: list[tuple[Request, int]] = [
        (request, number)
        for number, (place, clause) in enumerate(steps)
        for request in statements.transactional(place, clause, actor)
    ]
    made.sort(key=lambda each: isinstance(each[0], DeleteOne))
    return [request for request, _ in made], [number for _, number in made]


def _changes(steps: Sequence[Step]) -> int:
    return sum(isinstance(clause, (Write, Increment)) for _, clause in steps)


def _done(step: Step) -> Outcome:
    clause: Any = step[1]
    return Outcome(applied=True, version=getattr(clause, "version", None))
