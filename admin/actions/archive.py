"""A user's or a space's entries into an archive, and back, exactly as they were. No look counts as a read.

Theory of operation:

- Export reads page by page, past the agents' verbs, and writes each entry as it comes.
- Import reads twice. The first time checks everything, the store included, and writes nothing; what cannot be read
  twice is kept meanwhile in a private temporary file without a name. Only then entries are written, some at a time.
- An entry of the archive that stands already, at the very version, counts as there: so an import that was interrupted
  goes on when it is called again.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, Literal, cast

from admin.actions import quotas
from admin.actions.archive_reader import Reader
from admin.actions.archive_writer import Writer
from admin.actions.subject import NotFound, Owner, deed
from datastore import errors, names
from datastore.document import Place, Span, moment
from datastore.entry import Entry
from datastore.errors import Conflict
from datastore.ports import PAGE_BYTES, Holding, Stub
from datastore.quotas import WHOLE, Amount, Growth
from datastore.service.overrides import NOTHING, Override
from datastore.service.store import Store

Existing = Literal["refuse", "skip", "overwrite"]
"""What happens where an entry stands at another version than the archive has."""
Progress = Callable[[int], None]
"""Told how many more entries are done; an import is told once when they are checked, and again when written."""

_MOST: Final = 500


@dataclass(slots=True)
class Restored:
    """What an import did, in entries; bytes are those of the values restored.

    Attributes:
        restored: written.
        unchanged: there already, at the version of the archive.
        skipped: left standing at another version.
        expired: not written, because their time has come since the export.
        bytes: of the values restored.
        limits: whether a quota was set.
    """

    restored: int = 0
    unchanged: int = 0
    skipped: int = 0
    expired: int = 0
    bytes: int = 0
    limits: bool = False


async def contents(store: Store, owner: Owner, namespace: str | None) -> dict[str, Holding]:
    """Return what an export would take, by stored namespace.

    Raises:
        NotFound: nothing.
    """
    held = await store.engine.usage(owner.id, moment(store.clock.now()))
    wanted = {name: held[name] for name in sorted(held) if namespace in (None, name)}
    if not wanted:
        raise NotFound(f"{owner}{'' if namespace is None else f', namespace {namespace}'} holds nothing.")
    return wanted


async def export(store: Store, owner: Owner, namespace: str | None, sink: BinaryIO, progress: Progress) -> Writer:
    """Write every live entry of an owner, and its own quota; or the entries of one namespace. Return the counts.

    Raises:
        NotFound: there is none.
        OSError: it cannot be written.
    """
    wanted = await contents(store, owner, namespace)
    writer = Writer(sink, owner.id, namespace, moment(store.clock.now()))
    if namespace is None and (limits := await quotas.own(store, owner)) != NOTHING:
        writer.limit(limits)
    for name in wanted:
        after: str | None = None
        while True:
            place = Place(owner.id, name)
            page, after = await store.engine.scan(place, Span(after=after), moment(store.clock.now()))
            async with store.audit.noting(len(page), read=True) as noted:
                noted += [deed(owner, "export", each) for each in page]
            for each in page:
                writer.add(each)
            progress(len(page))
            if after is None:
                break
    writer.end()
    return writer


@dataclass(frozen=True, slots=True)
class Arrival:
    """An archive that is to become a user's or a space's.

    Args:
        owner: whose it becomes, whoever's it was.
        source: the archive.
        name: what messages call it.
        existing: what happens where an entry stands at another version than the archive has, or another quota.
        with_limits: whether the quota of the archive is set too.
    """

    owner: Owner
    source: BinaryIO
    name: str
    existing: Existing
    with_limits: bool = False

    def rule(self, namespace: str) -> Existing:
        """Return what happens in a namespace; a lock's token, put back, would be given to a second holder."""
        return "skip" if namespace.startswith(names.LOCKS) else self.existing


async def load(store: Store, arrival: Arrival, progress: Progress) -> Restored:
    """Write every entry of an archive as it was; what has expired since is left out.

    Raises:
        InvalidArgument: it is no whole, unchanged archive; nothing was written.
        ValueTooLarge: the engine cannot hold one of the values; nothing was written.
        QuotaExceeded: there is no room for all of them; nothing was written, unless others wrote meanwhile.
        Conflict: with `refuse`, an entry stands at another version. Nothing was written, unless it came while the
            import was at work; then the message says how many were.
        StoreUnavailable: the engine is away; the message says how many were written. Calling it again goes on.
    """
    with _readable_twice(arrival.source) as (again, copy):
        start = 0 if again is copy else again.tell()
        growth: defaultdict[str, Growth] = defaultdict(Growth)
        reader = Reader(arrival.source, arrival.name, copy)
        for chunk in _chunks(reader.entries()):
            added = await _check(store, arrival, chunk)
            for name in (chunk[0].namespace, WHOLE):
                growth[name].add(added)
            progress(len(chunk))
        limits = await _limits(store, arrival, reader.limits) if arrival.with_limits else None
        await store.check_room(arrival.owner.id, growth, limits)
        again.seek(start)
        done = Restored(limits=limits is not None)
        if limits is not None:
            await quotas.replace_all(store, arrival.owner, limits)
        with errors.after(done.limits, "the quota was set"):
            await _put_back(store, arrival, Reader(again, arrival.name), done, progress)
    return done


async def _put_back(store: Store, arrival: Arrival, reader: Reader, done: Restored, progress: Progress) -> None:
    """Write every entry of an archive that was checked; an error tells how many were written before it."""
    chunks = _chunks(reader.entries())
    while True:
        with errors.after(done.restored, f"{done.restored:,} entries were written"):
            if (chunk := next(chunks, None)) is None:
                return
            left = await _restore(store, arrival, chunk, done)
        with errors.after(done.restored, f"{done.restored:,} entries were written"):
            await _count_left(store, arrival, _place(arrival, chunk), left, done)
        progress(len(chunk))


async def _limits(store: Store, arrival: Arrival, given: Override | None) -> Override | None:
    """Return the quota that is to be set; None: what stands is kept.

    Raises:
        Conflict: with `refuse`, another one stands.
    """
    standing = await quotas.own(store, arrival.owner)
    if given is None or given == standing or (standing != NOTHING and arrival.existing == "skip"):
        return None
    if standing != NOTHING and arrival.existing == "refuse":
        refusal = Conflict(arrival.owner.id, None)
        refusal.message = (
            f"{arrival.owner} has another quota than that of {arrival.name!r}; nothing was written. "
            "Leave --with-limits out to keep it, or write --existing overwrite."
        )
        raise refusal
    return given


@contextmanager
def _readable_twice(source: BinaryIO) -> Iterator[tuple[BinaryIO, BinaryIO | None]]:
    """Give what to read the second time, and where to keep a copy until then; None: nowhere."""
    if source.seekable():
        yield source, None
        return
    with tempfile.TemporaryFile() as copy:
        kept = cast("BinaryIO", copy)
        yield kept, kept


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Give entries of one namespace each time, about a page of them."""
    chunk: list[Entry] = []
    size = 0
    for each in entries:
        full = len(chunk) == _MOST or size + each.size_bytes > PAGE_BYTES
        if chunk and (full or each.namespace != chunk[0].namespace):
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += each.size_bytes
    if chunk:
        yield chunk


async def _check(store: Store, arrival: Arrival, chunk: list[Entry]) -> Amount:
    """Refuse entries that cannot be written; return what they would add."""
    store.engine.vet(chunk)
    now = moment(store.clock.now())
    found = await store.engine.peek(_place(arrival, chunk), [each.key for each in chunk], now)
    standing = {each.key: each for each in found}
    _unchanged(arrival, chunk, standing, "nothing was written")
    replace = arrival.rule(chunk[0].namespace) == "overwrite"
    return sum((_added(each, standing.get(each.key), now, replace=replace) for each in chunk), Amount())


def _added(entry: Entry, standing: Stub | None, now: datetime, *, replace: bool) -> Amount:
    if entry.expires_at is not None and entry.expires_at <= now:
        return Amount()
    if standing is None:
        return Amount(entry.size_bytes, 1)
    return Amount(entry.size_bytes - standing.size_bytes) if replace else Amount()


def _place(arrival: Arrival, chunk: list[Entry]) -> Place:
    return Place(arrival.owner.id, chunk[0].namespace)


async def _restore(store: Store, arrival: Arrival, chunk: list[Entry], done: Restored) -> list[Entry]:
    """Write those of some entries that have not expired; return those that were left standing."""
    now = moment(store.clock.now())
    live = [each for each in chunk if each.expires_at is None or each.expires_at > now]
    done.expired += len(chunk) - len(live)
    place = _place(arrival, chunk)
    replace = arrival.rule(place.namespace) == "overwrite"
    standing = await _written(store, arrival.owner, live, replace=replace) if live else set()
    done.restored += len(live) - len(standing)
    done.bytes += sum(each.size_bytes for each in live if each.key not in standing)
    return [each for each in live if each.key in standing]


async def _count_left(store: Store, arrival: Arrival, place: Place, left: list[Entry], done: Restored) -> None:
    now = moment(store.clock.now())
    found = await store.engine.peek(place, [each.key for each in left], now) if left else []
    so_far = "the rest was not written" if done.restored else "nothing was written"
    unchanged = _unchanged(arrival, left, {each.key: each for each in found}, so_far)
    done.unchanged += unchanged
    done.skipped += len(left) - unchanged


async def _written(store: Store, owner: Owner, live: list[Entry], *, replace: bool) -> set[str]:
    """Write entries and note it; return the keys whose entries were left standing."""
    async with store.audit.noting(len(live)) as noted:
        noted += [deed(owner, "restore", each, "unknown") for each in live]
        standing = set(await store.restore(Place(owner.id, live[0].namespace), live, replace=replace))
        noted[:] = [deed(owner, "restore", each) for each in live if each.key not in standing]
    return standing


def _unchanged(arrival: Arrival, entries: list[Entry], found: Mapping[str, Stub], so_far: str) -> int:
    """Return how many entries stand at their versions.

    Raises:
        Conflict: with `refuse`, one stands at another.
    """
    versions = {key: each.version for key, each in found.items()}
    unchanged = sum(versions.get(each.key) == each.version for each in entries)
    other = next((each for each in entries if versions.get(each.key, each.version) != each.version), None)
    if other is not None and arrival.rule(other.namespace) == "refuse":
        refusal = Conflict(other.key, versions[other.key])
        refusal.message = (
            f"{other.key!r} of {arrival.owner}, namespace {other.namespace}, stands already and is another than that "
            f"of {arrival.name}; {so_far}. Write --existing skip to keep such entries, or --existing overwrite."
        )
        raise refusal
    return unchanged
