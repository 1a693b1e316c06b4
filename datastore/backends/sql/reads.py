"""What agents read: entries by key, pages in key order, keys, counts, namespaces, usage.

Theory of operation:

- A prefix is a range of keys, from itself to `prefix_end`; no pattern ever reaches the engine.
- A page of values is cut by sizes that were measured when they were written: the first `limit + 1` keys, or those
  asked for, with their sizes, a running sum over them, and only the values under the budget. It is one statement,
  hence one moment in time and one round trip. Keys asked for go in one parameter, however many they are.
- Keys and counts come from the index alone.
- Namespaces are found by jumping: the least one after the last, again and again, so that a namespace costs the same
  however much it holds. One subject, so longer than most files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Text,
    bindparam,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy import literal_column as words

from datastore.backends.sql import rows
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import entries, from_ms
from datastore.document import Place, Span, prefix_end
from datastore.entry import Entry
from datastore.ports import PAGE_BYTES, Holding, Stub

Condition = ColumnElement[bool]


def within(place: Place, prefix: str) -> list[Condition]:
    """Return the range of the entries of a place that have the prefix."""
    here = _inside(place.owner, place.namespace)
    return [*here, entries.c.key >= prefix, *_below(entries.c.key, prefix_end(prefix))]


def _inside(owner: str | BindParameter[str], namespace: str | BindParameter[str]) -> list[Condition]:
    return [entries.c.owner == owner, entries.c.namespace == namespace]


def _below(column: ColumnElement[str], end: str | None) -> list[Condition]:
    return [] if end is None else [column < end]


class Shape(NamedTuple):
    """What the statement for a span depends on; it is made once for each, which takes as long as SQLite's answer."""

    above: bool
    """Whether the lower bound is excluded."""
    bounded: bool
    """Whether there is an upper one."""
    backwards: bool


def stretch(place: Place, span: Span, now: int) -> tuple[Shape, dict[str, object]]:
    """Return the shape of the statement for a span, and its parameters: one lower and at most one upper bound.

    Of two lower bounds the engine would seek to one and filter by the other, and it may well choose the prefix: each
    page would walk over all pages before it.
    """
    low, high, above = span.prefix, span.end, False
    if span.after is not None and span.reverse:
        high = span.after if high is None else min(span.after, high)
    elif span.after is not None and span.after >= low:
        low, above = span.after, True
    bounds = {"owner": place.owner, "namespace": place.namespace, "low": low, "high": high, "now": now}
    return Shape(above, high is not None, span.reverse), {**bounds, "most": span.limit, "rows": span.limit + 1}


@cache
def page(shape: Shape, columns: tuple[ColumnElement[Any], ...]) -> Select[Any]:
    """Return the statement for a span in key order and one row more, which says whether there is a next page."""
    key, low = entries.c.key, bindparam("low", type_=Text())
    here = _inside(bindparam("owner"), bindparam("namespace"))
    ends = (key > low if shape.above else key >= low, *([key < bindparam("high")] if shape.bounded else []))
    living = select(*columns).where(*here, *ends, entries.c.expires_at > bindparam("now"))
    return living.order_by(key.desc() if shape.backwards else key).limit(bindparam("rows", type_=Integer()))


@cache
def values_page(shape: Shape) -> Select[Any]:
    """Return the statement for a page with values, cut at `PAGE_BYTES`; `found` is how many rows an uncut one has."""
    bounds = page(shape, (entries.c.id, entries.c.key, entries.c.size_bytes)).subquery("bounds")
    return _cut(bounds, bounds.c.key.desc() if shape.backwards else bounds.c.key)


def _cut(bounds: Subquery, order: ColumnElement[Any]) -> Select[Any]:
    sized = select(
        bounds.c.id,
        func.row_number().over(order_by=order).label("position"),
        func.sum(bounds.c.size_bytes).over(order_by=order).label("upto"),
        func.count().over().label("found"),
    ).subquery("sized")
    fits = (sized.c.position <= bindparam("most"), or_(sized.c.position == 1, sized.c.upto <= PAGE_BYTES))
    return (
        select(*rows.COLUMNS, *rows.LARGE, sized.c.found)
        .select_from(sized.join(entries, entries.c.id == sized.c.id))
        .where(*fits)
        .order_by(sized.c.position)
    )


async def scan(job: Job, place: Place, span: Span, now: int) -> tuple[list[Entry], str | None]:
    """Return a page of entries; see `Backend.scan`."""
    shape, given = stretch(place, span, now)
    found = (await job.execute(values_page(shape), given)).all()
    page = [rows.to_entry(place.namespace, row) for row in found]
    return page, page[-1].key if page and found[0].found > len(page) else None


async def keys(job: Job, place: Place, span: Span, now: int) -> tuple[list[str], str | None]:
    """Return a page of keys; see `Backend.keys`."""
    shape, given = stretch(place, span, now)
    found = [row.key for row in await job.execute(page(shape, (entries.c.key,)), given)]
    return found[: span.limit], found[span.limit - 1] if len(found) > span.limit else None


ONE: Final = select(*rows.COLUMNS, *rows.LARGE).where(
    entries.c.id == bindparam("entry_id"), entries.c.expires_at > bindparam("now")
)
"""The statement for one entry, made once: to make it anew takes as long as SQLite takes to answer it."""


def standing(listed: Subquery, *columns: ColumnElement[Any]) -> Select[Any]:
    """Return the statement for what lives at the ids listed at the time `now`."""
    there = listed.join(entries, entries.c.id == listed.c.value)
    return select(*columns).select_from(there).where(entries.c.expires_at > bindparam("now"))


@cache
def several(listed: Subquery) -> Select[Any]:
    """Return the statement for the entries at the ids listed, of which there are `most`; made once, as `ONE` is."""
    bounds = standing(listed, entries.c.id, listed.c.position, entries.c.size_bytes).subquery("bounds")
    return _cut(bounds, bounds.c.position)


@cache
def stubs(listed: Subquery) -> Select[Any]:
    """Return the statement for what stands at the ids listed, without values; made once."""
    shown = ("key", "version", "expires_at", "metadata", "size_bytes")
    return standing(listed, *(entries.c[name] for name in shown)).order_by(listed.c.position)


async def get(job: Job, place: Place, keys: Sequence[str], now: int) -> tuple[list[Entry], list[str]]:
    """Return entries in the order asked, and the keys that were not looked at; see `Backend.get`."""
    asked = list(dict.fromkeys(keys))
    if len(asked) == 1:
        here = await job.execute(ONE, {"entry_id": place.id(asked[0]), "now": now})
        return [rows.to_entry(place.namespace, row) for row in here], []
    listed = job.dialect.listing([place.id(key) for key in asked])
    given = {"listed": listed, "now": now, "most": len(asked)}
    found = (await job.execute(several(job.dialect.LISTED), given)).all()
    page = [rows.to_entry(place.namespace, row) for row in found]
    more = page and found[0].found > len(page)
    return page, asked[asked.index(page[-1].key) + 1 :] if more else []


async def peek(job: Job, place: Place, keys: Sequence[str], now: int) -> list[Stub]:
    """Return what stands at the keys; see `Backend.peek`."""
    listed = job.dialect.listing([place.id(key) for key in dict.fromkeys(keys)])
    return [rows.to_stub(row) for row in await job.execute(stubs(job.dialect.LISTED), {"listed": listed, "now": now})]


def namespaces_of(owner: str, prefix: str, now: int) -> Select[Any]:
    """Return the statement that jumps from namespace to namespace."""
    name = entries.c.namespace
    theirs = [entries.c.owner == owner, *_below(name, prefix_end(prefix))]
    first = select(func.min(name).label("name")).where(*theirs, name >= prefix)
    names = first.cte("names", recursive=True)
    following = select(func.min(name)).where(*theirs, name > names.c.name)
    names = names.union_all(select(following.scalar_subquery()).where(names.c.name.is_not(None)))
    here = (entries.c.owner == owner, entries.c.namespace == names.c.name, entries.c.expires_at > now)
    live = select(words("1")).where(*here).limit(1).scalar_subquery()  # EXISTS may become a join with every entry
    return select(names.c.name).where(names.c.name.is_not(None), live.is_not(None)).order_by(names.c.name)


async def namespaces(job: Job, owner: str, prefix: str, now: int) -> list[str]:
    """Return the names that hold a live entry; see `Backend.namespaces`."""
    return [row.name for row in await job.execute(namespaces_of(owner, prefix, now))]


def counting(place: Place, prefix: str, now: int) -> Select[Any]:
    """Return the statement that counts live entries."""
    return select(func.count()).select_from(entries).where(*within(place, prefix), entries.c.expires_at > now)


async def count(job: Job, place: Place, prefix: str, now: int) -> int:
    """Return how many live entries have the prefix."""
    return int((await job.execute(counting(place, prefix, now))).scalar_one())


HELD: Final = (
    func.count().label("keys_held"),
    cast(func.sum(entries.c.size_bytes), BigInteger).label("bytes_held"),
    func.max(entries.c.updated_at).label("last_write"),
)


def holdings(owner: str, now: int) -> Select[Any]:
    """Return the statement that sums up an owner's namespaces."""
    live = (entries.c.owner == owner, entries.c.expires_at > now)
    return select(entries.c.namespace, *HELD).where(*live).group_by(entries.c.namespace)


async def usage(job: Job, owner: str, now: int) -> dict[str, Holding]:
    """Return what each namespace of the owner holds."""
    found = await job.execute(holdings(owner, now))
    return {row.namespace: Holding(row.keys_held, row.bytes_held, from_ms(row.last_write)) for row in found}
