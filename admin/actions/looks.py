"""What operators look at. None of it is counted as a read, and lists come page by page, so memory stays flat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from admin.actions.subject import Area, NotFound, Owner, deed
from datastore import names
from datastore.document import Span, moment
from datastore.entry import Entry
from datastore.ports import Holder, Holding
from datastore.service.cursors import KEYS
from datastore.service.store import Store

PAGE: Final = 1000


async def users(store: Store) -> AsyncIterator[list[Holder]]:
    """Give every owner that holds a live entry, users and spaces, with what it holds, in order."""
    after: str | None = None
    while page := await store.engine.owners(after, PAGE, moment(store.clock.now())):
        if shown := [each for each in page if each.owner != KEYS.owner]:
            yield shown
        after = page[-1].owner


async def namespaces(store: Store, owner: Owner, prefix: str | None = None) -> AsyncIterator[list[tuple[str, Holding]]]:
    """Give the owner's namespaces that hold a live entry, those that the host makes too, in order."""
    wanted = names.prefix(prefix)
    held = await store.engine.usage(owner.id, moment(store.clock.now()))
    found = [(name, held[name]) for name in sorted(held) if name.startswith(wanted)]
    if found:
        yield found


async def keys(
    store: Store, area: Area, prefix: str | None = None, limit: int | None = None
) -> AsyncIterator[list[Entry]]:
    """Give entries without their values (None stands there), in key order; all of them, or the first `limit`."""
    place, wanted = area.place, names.prefix(prefix)
    after: str | None = None
    left = limit
    while left is None or left > 0:
        span = Span(wanted, after, PAGE if left is None else min(PAGE, left))
        page, after = await store.engine.outline(place, span, moment(store.clock.now()))
        if page:
            yield page
        if after is None:
            return
        left = None if left is None else left - len(page)


async def entry(store: Store, area: Area, key: str) -> Entry:
    """Return one entry, value included.

    Raises:
        NotFound: there is none.
        InvalidName: the key is unusable.
    """
    async with store.audit.noting(1, read=True) as noted:
        found, _ = await store.engine.get(area.place, [names.name("key", key)], moment(store.clock.now()))
        noted += [deed(area.owner, "get", each) for each in found]
    if not found:
        raise NotFound(f"{area} has no key {key!r}.")
    return found[0]


async def outline(store: Store, area: Area, key: str) -> Entry | None:
    """Return one entry without its value, or None: the first key that begins with `key` is itself, if it is there."""
    found, _ = await store.engine.outline(area.place, Span(names.name("key", key), limit=1), moment(store.clock.now()))
    return found[0] if found and found[0].key == key else None
