"""The verbs that look at a whole store, or at all of an owner: stats, top, find, check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

from admin.actions import snapshots, soundness, surveys
from admin.actions.snapshots import Growth, Snapshot
from admin.actions.soundness import Fault
from admin.actions.subject import Owner
from admin.actions.surveys import Condition, Extent, Item, Measure, Sum, Walked
from admin.cli import render, sources
from admin.cli.failures import ExitCode
from admin.cli.progress import awaited
from admin.cli.render import Column, Sheet
from admin.cli.text import note, when
from datastore.service.store import Store

T = TypeVar("T")


async def stats(store: Store, owner: Owner | None, within_seconds: float, *, json: bool) -> None:
    """Print what each owner, or each namespace of one, comes to, and the sum."""
    walked = Walked()
    found = surveys.stats(store, owner, within_seconds, walked)
    await _print(found, Sheet((_name(owner), *_SUM), _sum), walked, json=json)


async def growth(store: Store, owner: Owner | None, file: str, *, json: bool) -> None:
    """Print what has changed since a saved list."""
    walked = Walked()
    with sources.usable(file) as source:
        snapshot = Snapshot(source, sources.named(file), owner)
        found = snapshots.growth(surveys.stats(store, owner, 1, walked), snapshot)
        if not await _print(found, Sheet((_name(owner), *_GROWTH), _growth), walked, json=json):
            note(f"everything is as large as in {sources.named(file)}")


async def top(store: Store, extent: Extent, measure: Measure, most: int, *, json: bool) -> None:
    """Print the entries of the largest measure."""
    walked = Walked()

    async def pages() -> AsyncIterator[list[Item]]:
        yield await surveys.top(store, extent, measure, most, walked)

    await _print(pages(), ITEMS, walked, json=json)


async def find(store: Store, extent: Extent, condition: Condition, *, json: bool) -> None:
    """Print the entries that meet a condition."""
    walked = Walked()
    if not await _print(surveys.find(store, extent, condition, walked), ITEMS, walked, json=json):
        note(f"no entry is so, of {walked.records:,} records")


async def check(store: Store, owner: Owner | None, *, values: bool, json: bool) -> ExitCode:
    """Print what is wrong with the store and its records."""
    walked = Walked()

    async def pages() -> AsyncIterator[list[Fault]]:
        yield await soundness.parts(store, values=values)
        async for page in soundness.faults(store, owner, walked, values=values):
            yield page

    found = await _print(pages(), FAULTS, walked, json=json)
    note(f"looked at {walked.records:,} records; {f'faults: {found:,}' if found else 'nothing is wrong'}")
    return ExitCode.REFUSED if found else ExitCode.DONE


async def _print(pages: AsyncIterator[list[T]], sheet: Sheet[T], walked: Walked, *, json: bool) -> int:
    filled = (page async for page in awaited(pages, walked) if page)
    found = await render.listing(filled, sheet, json=json)
    if walked.unreadable:
        left_out = f"records that cannot be read and were left out: {walked.unreadable:,}"
        note(f"{left_out}; `datastore admin check` names them")
    return found


def _name(owner: Owner | None) -> Column[Any]:
    """Return the first column of a list of owners, or of an owner's namespaces, whose last line is the sum."""
    if owner is None:
        return Column("owner", lambda each: each.owner or "(all)")
    return Column("namespace", lambda each: each.namespace or "(all)")


_SUM: Final[tuple[Column[Sum], ...]] = (
    Column("keys", lambda each: f"{each.tally.keys:,}", right=True),
    Column("bytes", lambda each: f"{each.tally.bytes:,}", right=True),
    Column("written", lambda each: f"{each.tally.written_keys:,}", right=True),
    Column("bytes written", lambda each: f"{each.tally.written_bytes:,}", right=True),
    Column("created", lambda each: f"{each.tally.created_keys:,}", right=True),
    Column("never read", lambda each: f"{each.tally.unread_keys:,}", right=True),
    Column("last write (UTC)", lambda each: when(each.tally.last_write)),
)


def _sum(each: Sum) -> dict[str, Any]:
    last = each.tally.last_write
    return {
        "owner": each.owner,
        "namespace": each.namespace,
        "keys": each.tally.keys,
        "bytes": each.tally.bytes,
        "written_keys": each.tally.written_keys,
        "written_bytes": each.tally.written_bytes,
        "created_keys": each.tally.created_keys,
        "unread_keys": each.tally.unread_keys,
        "last_write": last and last.isoformat(timespec="milliseconds"),
    }


_GROWTH: Final[tuple[Column[Growth], ...]] = (
    Column("keys", lambda each: f"{each.keys:,}", right=True),
    Column("bytes", lambda each: f"{each.bytes:,}", right=True),
    Column("more keys", lambda each: f"{each.more_keys:+,}", right=True),
    Column("more bytes", lambda each: f"{each.more_bytes:+,}", right=True),
)


def _growth(each: Growth) -> dict[str, Any]:
    whose = {"owner": each.owner, "namespace": each.namespace, "keys": each.keys, "bytes": each.bytes}
    return {**whose, "more_keys": each.more_keys, "more_bytes": each.more_bytes}


ITEMS: Final[Sheet[Item]] = Sheet(
    (
        Column("owner", lambda each: each.owner),
        Column("namespace", lambda each: each.entry.namespace),
        Column("key", lambda each: each.entry.key),
        Column("bytes", lambda each: f"{each.entry.size_bytes:,}", right=True),
        Column("reads", lambda each: f"{each.entry.access_count:,}", right=True),
        Column("updated (UTC)", lambda each: when(each.entry.updated_at)),
        Column("by", lambda each: each.entry.updated_by_agent),
        Column("expires (UTC)", lambda each: when(each.entry.expires_at, never="never")),
    ),
    lambda each: {"owner": each.owner, **render.KEYS.data(each.entry)},
)

FAULTS: Final[Sheet[Fault]] = Sheet(
    (
        Column("where", lambda each: each.where),
        Column("owner", lambda each: each.owner or "-"),
        Column("namespace", lambda each: each.namespace or "-"),
        Column("key", lambda each: each.key or "-"),
        Column("fault", lambda each: each.what),
    ),
    lambda each: {
        "where": each.where,
        "owner": each.owner,
        "namespace": each.namespace,
        "key": each.key,
        "fault": each.what,
    },
)
