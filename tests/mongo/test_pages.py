"""Pages: in order, complete, cut by limit and by bytes, and none of it by a pattern."""

from __future__ import annotations

import pytest

from datastore.backends.mongo import MongoBackend
from datastore.document import Place, Span
from datastore.ports import PAGE_BYTES, Holder
from tests.mongo.words import HERE, LATER, NOW, at, write

KEYS = sorted(
    ["a", "a.", "a.*", "a\ud7ff", "a\ue000", "a\uffff", "a\U0010ffff", "a\U0010ffffz", "b", "A", "$a", "ä", "é", "_"]
)
PREFIXES = ["", "a", "a.", "a.*", "a\ud7ff", "a\uffff", "a\U0010ffff", "\U0010ffff", "$", ".*", "z"]


@pytest.fixture
async def filled(backend: MongoBackend) -> MongoBackend:
    await backend.apply(HERE, [write(key, key) for key in KEYS], at())
    await backend.apply(HERE, [write("a expired", expires_at=NOW)], at())
    return backend


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("reverse", [False, True])
async def test_pages_together_are_every_key_with_the_prefix_in_order(
    filled: MongoBackend, prefix: str, *, reverse: bool
) -> None:
    wanted = sorted((key for key in KEYS if key.startswith(prefix)), reverse=reverse)
    for limit in (1, 3, 100):
        assert await pages(filled, prefix, limit, reverse=reverse) == wanted
    assert await filled.count(HERE, prefix, NOW) == len(wanted)


async def pages(filled: MongoBackend, prefix: str, limit: int, *, reverse: bool) -> list[str]:
    """Read all pages twice, of keys and of entries; return the keys."""
    keys: list[str] = []
    entries: list[str] = []
    after: str | None = None
    for _ in range(len(KEYS) + 1):
        span = Span(prefix, after, limit, reverse)
        page, following = await filled.keys(HERE, span, NOW)
        whole, same = await filled.scan(HERE, span, NOW)
        keys, entries = keys + page, entries + [each.value for each in whole]
        assert (len(page) <= limit, following) == (True, same)
        after = following
        if after is None:
            break
    assert keys == entries
    return keys


@pytest.mark.parametrize(("reverse", "left"), [(False, ["b", "c"]), (True, ["a"])])
async def test_a_page_may_start_after_a_key_that_is_not_there_or_is_out_of_the_prefix(
    backend: MongoBackend, left: list[str], *, reverse: bool
) -> None:
    await backend.apply(HERE, [write(key) for key in "abc"], at())
    assert await backend.keys(HERE, Span(after="aa", reverse=reverse), NOW) == (left, None)
    assert await backend.keys(HERE, Span("b", "zz" if reverse else "A", reverse=reverse), NOW) == (["b"], None)
    assert await backend.keys(HERE, Span("b", "A" if reverse else "zz", reverse=reverse), NOW) == ([], None)


async def test_a_page_of_entries_ends_where_its_values_pass_the_page_bytes(backend: MongoBackend) -> None:
    third = "x" * (PAGE_BYTES // 3)
    await backend.apply(HERE, [write(key, third) for key in "abc"] + [write("d", "y" * PAGE_BYTES)], at())
    page, after = await backend.scan(HERE, Span(), NOW)
    assert ([each.key for each in page], after) == (["a", "b"], "b")
    page, after = await backend.scan(HERE, Span(after="c"), NOW)
    assert ([each.key for each in page], after) == (["d"], None)


async def test_get_cuts_at_the_page_bytes_and_names_the_keys_that_are_left(backend: MongoBackend) -> None:
    big = "x" * (PAGE_BYTES - 100)
    asked = ["c", "nothing", "a", "zz nothing", "b"]
    await backend.apply(HERE, [write(key, big) for key in "abc"], at())
    found: list[str] = []
    left = asked
    for _ in asked:
        entries, left = await backend.get(HERE, left, NOW)
        found += [each.key for each in entries]
        if not left:
            break
    assert sorted(found) == ["a", "b", "c"]


async def test_expired_entries_are_nowhere(backend: MongoBackend) -> None:
    gone = Place("alice", "gone")
    await backend.apply(gone, [write("k", expires_at=LATER)], at())
    await backend.apply(HERE, [write("k", expires_at=LATER), write("stays")], at())
    assert await backend.namespaces("alice", "", LATER) == ["notes"]
    assert [*await backend.usage("alice", LATER)] == ["notes"]
    assert await backend.get(gone, ["k"], LATER) == ([], [])
    assert await backend.peek(gone, ["k"], LATER) == []
    assert await backend.keys(gone, Span(), LATER) == ([], None)
    assert await backend.count(gone, "", LATER) == 0
    assert await backend.clear(gone, "", LATER) == 0
    assert [each.keys for each in await backend.owners(None, 10, LATER)] == [1]


async def test_owners_see_each_others_nothing(backend: MongoBackend) -> None:
    places = [Place("a", "b:c"), Place("a:b", "c"), Place("a%3Ab", "c"), Place("a", "b")]
    for number, place in enumerate(places):
        await backend.apply(place, [write("k", number)], at())
    for number, place in enumerate(places):
        assert [each.value for each in (await backend.scan(place, Span(), NOW))[0]] == [number]
    assert await backend.namespaces("a", "", NOW) == ["b", "b:c"]
    assert await backend.namespaces("a", "b:", NOW) == ["b:c"]
    assert await backend.clear(places[0], "", NOW) == 1
    assert await backend.count(places[3], "", NOW) == 1


async def test_operators_page_through_owners_and_see_what_they_hold(backend: MongoBackend) -> None:
    for owner in ("bob", "alice", "@team"):
        for namespace in ("one", "two"):
            await backend.apply(Place(owner, namespace), [write("a", 1), write("b", 2)], at())
    first = await backend.owners(None, 2, NOW)
    assert first == [Holder("@team", 2, 4, 96, NOW), Holder("alice", 2, 4, 96, NOW)]
    assert await backend.owners("alice", 2, NOW) == [Holder("bob", 2, 4, 96, NOW)]
    assert await backend.owners("bob", 2, NOW) == []


async def test_an_outline_is_a_page_of_entries_without_values(filled: MongoBackend) -> None:
    page, after = await filled.outline(HERE, Span(limit=2), NOW)
    assert [(each.key, each.value, each.size_bytes) for each in page] == [("$a", None, 4), ("A", None, 3)]
    assert after == "A"
