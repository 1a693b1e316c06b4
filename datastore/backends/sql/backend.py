"""The backend itself: each method of the port is one piece of work, run by the runner.

Here stands only what holds them together; statements are in reads, writes and inspection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from datetime import datetime
from typing import Self, TypeVar

from datastore.backends.sql import (
    atomics,
    erasing,
    increments,
    inspection,
    layouts,
    ledger,
    opening,
    quotas,
    reads,
    restoring,
    server,
    writes,
)
from datastore.backends.sql.garbage import Collector
from datastore.backends.sql.journal import SqlJournal
from datastore.backends.sql.runner import Runner, Work
from datastore.backends.sql.schema import to_ms
from datastore.chain import Row
from datastore.document import Interest, Place, Span
from datastore.entry import Entry
from datastore.errors import after
from datastore.layout import Layout
from datastore.operations import Applied, Outcome
from datastore.ports import (
    Access,
    Actor,
    Change,
    Clock,
    Holder,
    Holding,
    Increment,
    Logged,
    Look,
    Part,
    Position,
    Record,
    Step,
    Stub,
    Traces,
)
from datastore.quotas import Quota
from datastore.settings import Settings

T = TypeVar("T")


class SqlBackend:
    """Entries in a SQLite file, in memory, or in a database of a PostgreSQL server.

    Implements `datastore.ports.Engine`; open it with `open`.
    """

    def __init__(self, runner: Runner, collector: Collector, journal: SqlJournal) -> None:
        self._runner = runner
        self._journal = journal
        self._collector = collector

    @classmethod
    async def open(cls, url: str, settings: Settings, clock: Clock) -> Self:
        """Open the file or the database that the URL names, making whatever is missing in it.

        Args:
            url: `sqlite:///relative.db`, `sqlite:////absolute/path.db`, `sqlite://` for memory, or
                `postgresql://HOST:PORT/DATABASE`.
            settings: for the timeouts.
            clock: the time of writes and of garbage collection; reads are told theirs.

        Raises:
            ConfigurationError: the URL, the file or the server cannot be used; the message has the remedy.
            StoreUnavailable: the file stays locked, or the server silent, for `settings.connect_timeout_seconds`.
        """
        opener = server if url.partition("://")[0] in server.SCHEMES else opening
        runner = await opener.open_runner(url, settings, clock)
        journal = SqlJournal(runner)
        collector = Collector(runner, clock, journal)
        collector.start()
        return cls(runner, collector, journal)

    async def aclose(self) -> None:
        """End what is at work and close every connection; idempotent."""
        self._runner.check_home()
        await self._collector.stop()
        await self._runner.aclose()

    async def layout(self) -> Layout:
        """Return the layout that the store has; see `Engine.layout`."""
        return await layouts.SqlLayoutRecord(self._runner).read()

    async def get(self, place: Place, keys: Sequence[str], now: datetime) -> tuple[list[Entry], list[str]]:
        """Return entries in the order asked, and the keys not looked at."""
        return await self._runner.run(lambda job: reads.get(job, place, keys, to_ms(now)), writes=False)

    async def peek(self, place: Place, keys: Sequence[str], now: datetime) -> list[Stub]:
        """Return what stands at the keys, without reading values."""
        return await self._runner.run(lambda job: reads.peek(job, place, keys, to_ms(now)), writes=False)

    async def scan(self, place: Place, span: Span, now: datetime) -> tuple[list[Entry], str | None]:
        """Return a page of entries, and the key after which to go on."""
        return await self._runner.run(lambda job: reads.scan(job, place, span, to_ms(now)), writes=False)

    async def keys(self, place: Place, span: Span, now: datetime) -> tuple[list[str], str | None]:
        """Return a page of keys from the index alone, and the key after which to go on."""
        return await self._runner.run(lambda job: reads.keys(job, place, span, to_ms(now)), writes=False)

    async def namespaces(self, owner: str, prefix: str, now: datetime) -> list[str]:
        """Return the stored names that hold a live entry, in code point order."""
        return await self._runner.run(lambda job: reads.namespaces(job, owner, prefix, to_ms(now)), writes=False)

    async def count(self, place: Place, prefix: str, now: datetime) -> int:
        """Return how many live entries have the prefix."""
        return await self._runner.run(lambda job: reads.count(job, place, prefix, to_ms(now)), writes=False)

    async def usage(self, owner: str, now: datetime) -> dict[str, Holding]:
        """Return what each stored namespace of the owner holds."""
        return await self._runner.run(lambda job: reads.usage(job, owner, to_ms(now)), writes=False)

    async def apply(self, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
        """Make the changes in one transaction; a condition that fails aborts nothing else."""
        return await self._write(
            lambda job: writes.apply(job, place, changes, actor),
            [(place, each) for each in changes],
            actor.quota,
            actor.now,
        )

    async def increment(self, place: Place, increment: Increment, actor: Actor) -> Outcome:
        """Add to a number, in one atomic write; an expired entry starts anew.

        Where `if_version` does not hold, the outcome is not applied and has the version that stands.

        Raises:
            NotANumber: the entry holds something else.
            ValueNotStorable: the sum is beyond 64 bits, or infinite.
        """
        add = increments.increment if increment.if_version is None else atomics.increment
        return await self._write(
            lambda job: add(job, place, increment, actor), [(place, increment)], actor.quota, actor.now
        )

    async def atomic(self, steps: Sequence[Step], actor: Actor) -> Applied:
        """Make all of the changes or none, in a transaction; see `Backend.atomic`.

        Raises:
            NotANumber, ValueNotStorable: as `increment`; nothing was written.
        """
        return await self._write(lambda job: atomics.atomic(job, steps, actor), steps, actor.quota, actor.now)

    async def _write(
        self, work: Work[T], changes: Sequence[tuple[Place, quotas.Keyed]], quota: Quota | None, now: datetime
    ) -> T:
        """Do work that writes, at keys of one owner, within its quota."""
        if quota is None:
            return await self._runner.run(work, writes=True)
        claim = quotas.Claim(changes, quota, now)
        return await self._runner.run(lambda job: quotas.within(job, claim, work), writes=True)

    async def clear(self, place: Place, prefix: str, now: datetime) -> int:
        """Remove the live entries that have the prefix, some at a time; return how many.

        Raises:
            StoreUnavailable: the deadline came first; the message says how many are gone. Repeating it goes on.
        """
        until = self._runner.deadline()
        total, removed = 0, self._runner.dialect.CLEAR_ROWS
        while removed == self._runner.dialect.CLEAR_ROWS:
            with after(total, f"{total:,} entries were removed"):
                removed = await self._runner.run(
                    lambda job: writes.clear(job, place, prefix, to_ms(now)), writes=True, until=until
                )
            total += removed
        return total

    async def record(self, accesses: Sequence[Access]) -> None:
        """Add reads to the entries they were made of; one that is gone or was created anew is left alone."""
        if accesses:
            await self._runner.run(lambda job: writes.record(job, accesses), writes=True)

    async def owners(self, after: str | None, limit: int, now: datetime) -> list[Holder]:
        """Return owners with live entries in code point order."""
        return await self._runner.run(lambda job: inspection.owners(job, after, limit, to_ms(now)), writes=False)

    async def outline(self, place: Place, span: Span, now: datetime) -> tuple[list[Entry], str | None]:
        """Return a page of entries with None for their values, and the key after which to go on."""
        return await self._runner.run(lambda job: inspection.outline(job, place, span, to_ms(now)), writes=False)

    async def survey(self, begin: str, after: str | None, limit: int) -> list[Record]:
        """Return the next records in the order of their ids, none of their values."""
        return await self._runner.run(lambda job: inspection.survey(job, begin, after, limit), writes=False)

    async def parts(self, *, thorough: bool) -> list[Part]:
        """Return indexes and triggers, and where it is to be thorough a SQLite file as a whole."""
        return await self._runner.run(lambda job: inspection.parts(job, thorough=thorough), writes=False)

    def vet(self, entries: Sequence[Entry]) -> None:
        """Do nothing: both engines hold whatever the store accepts."""

    async def restore(
        self, place: Place, entries: Sequence[Entry], now: datetime, *, replace: bool, quota: Quota | None = None
    ) -> list[str]:
        """Put entries back as they are given, in one transaction; return the keys left standing."""
        return await self._write(
            lambda job: restoring.restore(job, place, entries, now, replace=replace),
            [(place, each) for each in entries],
            quota,
            now,
        )

    async def traces(self, user: str) -> Traces:
        """Return what is there of a user."""
        return await self._runner.run(lambda job: erasing.traces(job, user), writes=False)

    async def expunge(self, user: str) -> int:
        """Remove some of a user's entries, in one transaction; see `Eraser.expunge`."""
        return await self._runner.run(lambda job: erasing.expunge(job, user), writes=True)

    async def disown(self, user: str, pseudonym: str) -> int:
        """Put a pseudonym in some entries of spaces."""
        return await self._runner.run(lambda job: erasing.disown(job, user, pseudonym), writes=True)

    async def forget(self, user: str) -> int:
        """Remove some of a user's changes, in one transaction."""
        return await self._runner.run(lambda job: erasing.forget(job, user), writes=True)

    async def head(self, place: Place | None = None) -> Position:
        """Return the number of the last change."""
        del place
        return await self._journal.head()

    async def latest(self) -> Position:
        """Return the number of the last change, which every server of this store knows."""
        return await self._journal.head()

    def follow(
        self, after: Position, watched: Callable[[], Collection[Place]]
    ) -> AsyncGenerator[tuple[list[Logged], Position], None]:
        """Give the changes of all owners as they come; see `Journal.follow`."""
        del watched
        return self._journal.follow(after)

    async def past(self, interest: Interest, after: Position, limit: int) -> tuple[list[Logged], Position]:
        """Return the changes of an interest after a position until now; see `Journal.past`."""
        return await self._journal.past(interest, after, limit)

    async def append(self, rows: Sequence[Row]) -> None:
        """Add rows to the audit log; see `Ledger.append`."""
        await self._runner.run(lambda job: ledger.append(job, rows), writes=True)

    async def trail(self, after: str, limit: int) -> list[Row]:
        """Return rows of the audit log in the order of their ids."""
        return await self._runner.run(lambda job: ledger.read(job, ledger.trail(after, limit)), writes=False)

    async def found(self, look: Look, after: Row | None, limit: int) -> list[Row]:
        """Return rows of the audit log that are wanted, in the order of time."""
        return await self._runner.run(lambda job: ledger.read(job, ledger.found(look, after, limit)), writes=False)

    async def empty(self, rows: Sequence[Row], pseudonym: str) -> None:
        """Take away what rows of the audit log say; see `Ledger.empty`."""
        await self._runner.run(lambda job: ledger.empty(job, rows, pseudonym), writes=True)

    async def remove(self, chain: str, until: int) -> None:
        """Remove the beginning of a chain of the audit log."""
        await self._runner.run(lambda job: job.execute(ledger.removal(chain, until)), writes=True)
