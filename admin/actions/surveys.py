"""What operators ask of a whole store or of one owner: sums, the largest, those that meet a condition.

Theory of operation:

- Every question is a fold over one walk: records page by page, in the order of their ids, without their values. One
  statement at a time looks at one page, so the load is bounded and memory is flat, however much there is.
- A walk is not a snapshot of one moment: each page is as it was when it was read.
- An owner, or a namespace of it, is walked by the range of its ids, and only the whole store as a whole.
- What others put into the database may be anything, so what is no entry by its types is counted and left out.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from types import UnionType
from typing import Final, Literal

from admin.actions import looks
from admin.actions.subject import Area, Owner
from datastore import values
from datastore.document import ids_of, moment
from datastore.entry import Entry
from datastore.errors import DataStoreError, InvalidArgument
from datastore.ports import Record
from datastore.service.cursors import KEYS
from datastore.service.store import Store

Measure = Literal["bytes", "reads"]


@dataclass(frozen=True, slots=True)
class Extent:
    """What is walked: the whole store, one owner, or one namespace of it."""

    owner: Owner | None = None
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.namespace is not None and self.owner is None:
            raise InvalidArgument("--namespace needs its owner: --user USER or --space SPACE.")
        _ = self.begin

    @property
    def begin(self) -> str:
        """What the ids of its records begin with, and those of namespaces whose names go on after a colon.

        Raises:
            InvalidName: the namespace is unusable.
        """
        if self.owner is None:
            return ""
        ids = ids_of(self.owner.id)
        return ids if self.namespace is None else f"{ids}{Area(self.owner, self.namespace).place.namespace}:"

    def holds(self, entry: Entry) -> bool:
        """Say whether an entry is in the namespace, where one is meant."""
        return self.namespace in (None, entry.namespace)


@dataclass(frozen=True, slots=True)
class Item:
    """A live entry without its value, and whose it is."""

    owner: str
    entry: Entry


@dataclass(slots=True)
class Walked:
    """How far a walk is: records looked at, and how many of them could not be read as entries and were left out."""

    records: int = 0
    unreadable: int = 0
    progress: Callable[[int], None] = lambda _: None

    def look(self, records: int, unreadable: int = 0) -> None:
        """Count records, and tell how many they are."""
        self.records += records
        self.unreadable += unreadable
        self.progress(records)


async def records(store: Store, extent: Extent) -> AsyncIterator[list[Record]]:
    """Give every record, page by page, but what the store keeps for itself."""
    after: str | None = None
    while page := await store.engine.survey(extent.begin, after, looks.PAGE):
        yield [each for each in page if each.owner != KEYS.owner]
        after = page[-1].id


async def walk(store: Store, extent: Extent, walked: Walked) -> AsyncIterator[list[Item]]:
    """Give every live entry, page by page; those of one owner follow each other."""
    async for page in records(store, extent):
        now = moment(store.clock.now())
        items = [item for each in page if (item := _item(each)) is not None]
        walked.look(len(page), len(page) - len(items))
        yield [each for each in items if extent.holds(each.entry) and _live(each.entry, now)]


def _item(record: Record) -> Item | None:
    owner, entry = record.owner, record.entry
    return Item(owner, entry) if owner is not None and entry is not None and _is_one(entry) else None


def _is_one(entry: Entry) -> bool:
    try:
        values.metadata(entry.metadata)
    except DataStoreError:
        return False
    return all(isinstance(getattr(entry, name), kind) for name, kind in _KINDS.items())


_KINDS: Final[dict[str, type | UnionType]] = {
    "namespace": str,
    "key": str,
    "version": str,
    "size_bytes": int,
    "access_count": int,
    "created_at": datetime,
    "updated_at": datetime,
    "last_accessed_at": datetime | None,
    "expires_at": datetime | None,
    "created_by_agent": str,
    "updated_by_agent": str,
    "last_accessed_by_agent": str | None,
}


def _live(entry: Entry, now: datetime) -> bool:
    return entry.expires_at is None or entry.expires_at > now


@dataclass(slots=True)
class Tally:
    """What some entries come to; `written` and `created` are those of a recent time, `unread` were never read."""

    keys: int = 0
    bytes: int = 0
    written_keys: int = 0
    written_bytes: int = 0
    created_keys: int = 0
    unread_keys: int = 0
    last_write: datetime | None = None

    def count(self, entry: Entry, since: datetime) -> None:
        """Add an entry."""
        written = entry.updated_at >= since
        self.keys += 1
        self.bytes += entry.size_bytes
        self.written_keys += written
        self.written_bytes += entry.size_bytes if written else 0
        self.created_keys += entry.created_at >= since
        self.unread_keys += entry.access_count == 0
        self.last_write = max(entry.updated_at, self.last_write or entry.updated_at)


@dataclass(frozen=True, slots=True)
class Sum:
    """The tally of an owner, of a namespace of it, or, without an owner, of all."""

    owner: str | None
    namespace: str | None
    tally: Tally


async def stats(store: Store, owner: Owner | None, within_seconds: float, walked: Walked) -> AsyncIterator[list[Sum]]:
    """Give a sum for each owner, or for each namespace of one owner, and at the end one of all of them."""
    since = store.clock.now() - timedelta(seconds=within_seconds)
    total = Sum(None if owner is None else owner.id, None, Tally())
    sums: dict[str, Sum] = {}
    async for page in walk(store, Extent(owner), walked):
        if (
            owner is None and len(sums) > looks.PAGE
        ):  # An owner's records follow each other, so all but one are complete.
            last = sums.popitem()
            yield list(sums.values())
            sums = dict([last])
        for item in page:
            name, namespace = (item.owner, None) if owner is None else (item.entry.namespace, item.entry.namespace)
            sums.setdefault(name, Sum(item.owner, namespace, Tally())).tally.count(item.entry, since)
            total.tally.count(item.entry, since)
    yield [*(sums.values() if owner is None else (sums[name] for name in sorted(sums))), total]


async def top(store: Store, extent: Extent, measure: Measure, most: int, walked: Walked) -> list[Item]:
    """Return the entries of the largest measure, the largest first."""
    best: list[Item] = []
    async for page in walk(store, extent, walked):
        best = heapq.nlargest(most, [*best, *page], key=_MEASURES[measure])
    return best


_MEASURES: Final[dict[Measure, Callable[[Item], int]]] = {
    "bytes": lambda item: item.entry.size_bytes,
    "reads": lambda item: item.entry.access_count,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What an entry must meet, all of it that is given; agents are meant as they are recorded.

    Raises:
        InvalidArgument: nothing is given.
    """

    written_by: str | None = None
    read_by: str | None = None
    never_read: bool = False
    expires_within_seconds: float | None = None
    written_within_seconds: float | None = None

    def __post_init__(self) -> None:
        if all(each is None or each is False for each in astuple(self)):
            raise InvalidArgument("say what to find: --written-by AGENT, --never-read or another condition.")

    def holds(self, entry: Entry, now: datetime) -> bool:
        """Say whether an entry meets it."""
        return (
            self.written_by in (None, entry.created_by_agent, entry.updated_by_agent)
            and self.read_by in (None, entry.last_accessed_by_agent)
            and not (self.never_read and entry.access_count)
            and self._in_time(entry, now)
        )

    def _in_time(self, entry: Entry, now: datetime) -> bool:
        soon, lately = self.expires_within_seconds, self.written_within_seconds
        if soon is not None and (entry.expires_at is None or entry.expires_at > now + timedelta(seconds=soon)):
            return False
        return lately is None or entry.updated_at >= now - timedelta(seconds=lately)


async def find(store: Store, extent: Extent, condition: Condition, walked: Walked) -> AsyncIterator[list[Item]]:
    """Give the entries that meet a condition, many at a time."""
    found: list[Item] = []
    async for page in walk(store, extent, walked):
        now = store.clock.now()
        found += [each for each in page if condition.holds(each.entry, now)]
        if len(found) >= looks.PAGE:
            yield found
            found = []
    if found:
        yield found
