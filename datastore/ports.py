"""The seams: what a backend must do for agents and for operators, the clock, and who watches operations.

A backend knows owners, stored namespaces and keys, and nothing of users' rights: the service asks the policy first.
Everything that passes here was checked and made by the host, so these are plain frozen values.

Rules that every backend keeps:

- An entry whose `expires_at` is not after `now` does not exist, whatever the engine still holds. A read judges by the
  time when its operation began. A write judges by the present: the time is taken again for each attempt, after every
  wait, and where the engine can, its server's own time is compared too.
- A renewal needs an entry that has `RENEWAL_SECONDS` left at least, so that it is never made of one that a reader
  has seen as gone while the renewal was on its way.
- A write is one atomic statement; a condition is part of it, never a check before it.
- Writing over a live entry keeps `created_*`, `access_count` and `last_accessed_*`; over an expired one it starts anew.
- Names and values are data: never an operator, a field path, a pattern or an expression of the engine.
- A write that has a quota raises `QuotaExceeded` instead of passing a ceiling, and has then written nothing, however
  many writers there are. A batch counts as a whole. What would not grow passes.
- A driver's exception leaves as `StoreUnavailable`, or, unexpected, as it is; the service hides it from agents.
One subject, so longer than most files.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, Self

from datastore import values
from datastore.chain import Row
from datastore.document import Interest, Place, Span
from datastore.entry import NEVER, Entry
from datastore.layout import Layout
from datastore.models import Scope
from datastore.operations import Answer, Applied, Operation, Outcome
from datastore.quotas import Quota
from datastore.settings import Settings


@dataclass(frozen=True, slots=True)
class Write:
    """A put, ready for the engine.

    `metadata` replaces; None keeps what stands (empty on creation). `expires_at` None, only with `if_version`, keeps
    what stands too.
    """

    key: str
    value: Any
    size_bytes: int
    version: str
    expires_at: datetime | None
    metadata: dict[str, Any] | None = None
    if_version: str | None = None
    if_absent: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """A delete, ready for the engine."""

    key: str
    if_version: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """A touch, ready for the engine, of an entry that has `RENEWAL_SECONDS` left; version and `updated_*` stay."""

    key: str
    expires_at: datetime
    if_version: str | None = None


Change = Write | Removal | Renewal


@dataclass(frozen=True, slots=True)
class Increment:
    """An incr, ready for the engine: add `by` to the number that stands, or begin a new entry with `initial` + `by`.

    `expires_at` None keeps the entry's expiry; a new entry has none then. With `if_version` there is no beginning.
    """

    key: str
    by: int | float
    initial: int | float
    version: str
    expires_at: datetime | None
    if_version: str | None = None

    def creation(self, number: float) -> Write:
        """Return the put that creates the entry with a number."""
        size = values.size(number)
        return Write(self.key, number, size, self.version, self.expires_at or NEVER, {}, if_absent=True)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A check, ready for the engine: the entry must be at the version, or absent (None)."""

    key: str
    version: str | None


Clause = Write | Removal | Increment | Requirement
Step = tuple[Place, Clause]
"""What one atomic operation does to one key."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes, and when; `user` is recorded in a space, where it does not follow from the owner.

    `quota` is what the write must stay within: a condition of the write itself, whatever others write meanwhile.
    """

    agent: str
    run: str
    now: datetime
    user: str | None = None
    quota: Quota | None = None

    def at(self, now: datetime) -> Actor:
        """Return the same who, at another time."""
        return self if now == self.now else replace(self, now=now)


@dataclass(frozen=True, slots=True)
class Stub:
    """What stands at a key, without its value."""

    key: str
    version: str
    expires_at: datetime
    metadata: dict[str, Any]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Access:
    """Reads of one entry by one agent, merged. `created_at` ties them to this entry and no later one of its key."""

    place: Place
    key: str
    created_at: datetime
    agent: str
    count: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Holding:
    """What a namespace holds."""

    keys: int
    bytes: int
    last_write: datetime


class Backend(Protocol):
    """What agents need of an engine. All times are aware UTC in milliseconds."""

    async def get(self, place: Place, keys: Sequence[str], now: datetime) -> tuple[list[Entry], list[str]]:
        """Return entries by key, about `PAGE_BYTES` of values at most and one at least, and the keys not looked at."""

    async def peek(self, place: Place, keys: Sequence[str], now: datetime) -> list[Stub]:
        """Return what stands at the keys, without reading values."""

    async def scan(self, place: Place, span: Span, now: datetime) -> tuple[list[Entry], str | None]:
        """Return a page of entries, about `PAGE_BYTES` at most and one at least, and the key after which to go on."""

    async def keys(self, place: Place, span: Span, now: datetime) -> tuple[list[str], str | None]:
        """Return a page of keys from an index alone, and the key after which to go on."""

    async def namespaces(self, owner: str, prefix: str, now: datetime) -> list[str]:
        """Return the stored names that hold a live entry, in code point order."""

    async def count(self, place: Place, prefix: str, now: datetime) -> int:
        """Return how many live entries have the prefix."""

    async def apply(self, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
        """Make the changes; keys are distinct. Unconditional ones of a batch share a round trip."""

    async def increment(self, place: Place, increment: Increment, actor: Actor) -> Outcome:
        """Add to a number, in one atomic write; an expired entry starts anew.

        Where `if_version` does not hold, the outcome is not applied and has the version that stands.

        Raises:
            NotANumber: the entry holds something else.
            ValueNotStorable: the sum is beyond 64 bits, or infinite.
        """

    async def atomic(self, steps: Sequence[Step], actor: Actor) -> Applied:
        """Make all of the changes or none; keys are distinct. Outcomes have no numbers.

        Where a condition does not hold nothing is written; the outcome of one such step, at least, is not applied and
        has the version that stands. What is required is held until the commit, as if it were written: two operations
        that each require what the other writes never both happen.

        Raises:
            NotANumber, ValueNotStorable: as `increment`; nothing was written.
            NotSupported: the engine has no transactions, and there are several steps.
        """

    async def clear(self, place: Place, prefix: str, now: datetime) -> int:
        """Remove the live entries that have the prefix; return how many."""

    async def usage(self, owner: str, now: datetime) -> dict[str, Holding]:
        """Return what each stored namespace of the owner holds."""

    async def record(self, accesses: Sequence[Access]) -> None:
        """Add reads to the entries they were made of; one that is gone or was created anew is left alone."""

    async def aclose(self) -> None:
        """Release connections; idempotent."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What an owner holds, for the operator's list of users and spaces."""

    owner: str
    namespaces: int
    keys: int
    bytes: int
    last_write: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored at an id, whoever's it is; without its value.

    Attributes:
        id: where it stands.
        owner: whose it says it is; None where it does not say.
        entry: what it holds, with None for its value and not checked; None where it cannot be read as an entry.
        fault: why it cannot; None where it can.
    """

    id: str
    owner: str | None
    entry: Entry | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What a store stands on besides its records, such as an index; `fault` says what is wrong with it, if anything."""

    name: str
    fault: str | None = None


class Inspector(Protocol):
    """What operators need besides: looks that are not counted as reads, and entries that come back as they were."""

    async def owners(self, after: str | None, limit: int, now: datetime) -> list[Holder]:
        """Return owners with live entries in code point order."""

    async def outline(self, place: Place, span: Span, now: datetime) -> tuple[list[Entry], str | None]:
        """Return a page of entries with None for their values, and the key after which to go on."""

    async def survey(self, begin: str, after: str | None, limit: int) -> list[Record]:
        """Return the next records whose ids begin so, in the order of ids, expired or not.

        It reads `limit` records and none of their values, so it costs the engine the same however much there is.
        """

    async def parts(self, *, thorough: bool) -> list[Part]:
        """Return what the store stands on; where it is to be thorough, also after reading all of it, if that tells."""

    def vet(self, entries: Sequence[Entry]) -> None:
        """Refuse entries that `restore` could not write; asks nobody.

        Raises:
            ValueTooLarge: the engine cannot hold a value that is within the store's own limit.
        """

    async def restore(
        self, place: Place, entries: Sequence[Entry], now: datetime, *, replace: bool, quota: Quota | None = None
    ) -> list[str]:
        """Put entries of the place back as they are given, in every field: version, provenance, counts, expiry.

        Each is one atomic write; keys are distinct. A live entry is left standing, unless `replace`.

        Returns:
            The keys whose entries were left standing.

        Raises:
            ValueTooLarge: as `vet`; nothing was written.
            QuotaExceeded: there is no room for all of them; nothing was written.
        """


Position = tuple[int, int]
"""A point in an engine's own order of changes, of which later ones are greater; each part has at most 63 bits."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A change as the engine remembers it: a put at `version`, or a removal (None), and its position."""

    place: Place
    key: str
    version: str | None
    position: Position


class Journal(Protocol):
    """What an engine tells of changes, whoever made them: puts and removals, never reads, expiries or counts.

    An entry that expires is removed at the latest when the engine's garbage collection removes it.
    """

    async def head(self, place: Place | None = None) -> Position:
        """Return the present: what is changed after this call is later. Changes of `place` are asked for soon."""

    async def latest(self) -> Position:
        """Return a position that no change is beyond which was ever told, even where another server told of it."""

    def follow(
        self, after: Position, watched: Callable[[], Collection[Place]]
    ) -> AsyncGenerator[tuple[list[Logged], Position], None]:
        """Give the changes of all owners in order as they come, and the position reached.

        It gives something at least once a second while the engine answers, if need be no change; while the engine is
        away it tries again. What only looks for changes now and then looks at the `watched` places alone.

        Raises:
            PastGone: changes are missing; to begin anew.
        """

    async def past(self, interest: Interest, after: Position, limit: int) -> tuple[list[Logged], Position]:
        """Return the changes after a position until now, in order, `limit` at most, and the position reached.

        Raises:
            PastGone: some of them are no longer kept, or there never was such a position.
        """


@dataclass(frozen=True, slots=True)
class Look:
    """Which rows of the audit log are wanted: those that have all that is given; `until` is exclusive."""

    user: str | None = None
    agent: str | None = None
    namespace: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Ledger(Protocol):
    """What keeps the audit log; rows are only added, emptied, and removed."""

    async def append(self, rows: Sequence[Row]) -> None:
        """Add rows; one that is there already is left as it is, so that what may have been written is sent again."""

    async def trail(self, after: str, limit: int) -> list[Row]:
        """Return rows in the order of their ids, which is that of chain and number, after an id (exclusive)."""

    async def found(self, look: Look, after: Row | None, limit: int) -> list[Row]:
        """Return rows that are wanted, in the order of time and id, after one (exclusive)."""

    async def empty(self, rows: Sequence[Row], pseudonym: str) -> None:
        """Take away what rows say, and their salts; `pseudonym` takes the user's place. The chain stays whole."""

    async def remove(self, chain: str, until: int) -> None:
        """Remove a chain's rows up to a number (inclusive), none before those with lower numbers."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What an engine holds of a user.

    Attributes:
        keys: entries of its own, what has expired and everything else under its name included.
        bytes: of their values.
        shared: entries in spaces that name it.
        changes: its changes that the engine remembers and can forget.
        counters: of what it holds, kept for quotas.
    """

    keys: int
    bytes: int
    shared: int
    changes: int
    counters: int


class Eraser(Protocol):
    """What takes a user away. Each removal does some at a time, and says how many; 0: none is left."""

    async def traces(self, user: str) -> Traces:
        """Return what is there of a user."""

    async def expunge(self, user: str) -> int:
        """Remove entries of a user, whether they have expired or not, and then the counters of them."""

    async def disown(self, user: str, pseudonym: str) -> int:
        """Put a pseudonym in the place of a user in entries of spaces; nothing else of them changes."""

    async def forget(self, user: str) -> int:
        """Remove what is remembered of a user's changes; a watcher with an older cursor is told that it is gone."""


class Engine(Backend, Inspector, Journal, Ledger, Eraser, Protocol):
    """What a backend's factory gives."""

    @classmethod
    async def open(cls, url: str, settings: Settings, clock: Clock) -> Self:
        """Connect, compare clocks, bring the store to the layout of this version, make or repair indexes.

        Raises:
            ConfigurationError: the URL or the server's set-up cannot be used; the message has the remedy.
            StoreUnavailable: the server does not answer within `settings.connect_timeout_seconds`.
        """

    async def layout(self) -> Layout:
        """Return the layout that the store has now: a later version may have changed it since this host started."""


class Clock(Protocol):
    """Where the store takes its time from."""

    def now(self) -> datetime:
        """Return the aware time."""


class Observer(Protocol):
    """Who is told of every operation, after it ended and off its path."""

    def saw(self, scope: Scope, operation: Operation, outcome: Answer | BaseException, seconds: float) -> None:
        """Take note; must not wait and must not raise. What was cancelled may have happened."""


RENEWAL_SECONDS: Final = 0.25
"""The time that an entry must have left to be renewed; it covers a commit, and how far hosts' clocks differ."""
FRESH_SECONDS: Final = 2.0
"""The time for which a host may act on what it last read of blocked users and of the store's layout."""
PAGE_BYTES = 1024 * 1024
"""The values of one page, about; one entry larger than that is a page of its own."""
