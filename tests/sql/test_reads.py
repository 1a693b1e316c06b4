"""What reads answer: pages and their ends, prefixes, namespaces, sums, looks without values."""

from __future__ import annotations

import itertools

import pytest

from datastore.backends.sql import SqlBackend
from datastore.document import Place, Span
from datastore.entry import NEVER
from datastore.ports import PAGE_BYTES, Holder, Holding, Stub
from tests.sql.words import HERE, actor, apply, at, put

ODD_CHARACTERS = [
    "a",
    "b",
    "_",
    "%",
    "*",
    "[",
    "?",
    "\\",
    "'",
    '"',
    ":",
    "é",
    "e\u0301",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\x01",
    "\n",
    "\x7f",
    " ",
]


def odd_keys() -> list[str]:
    return ["".join(pair) for size in (1, 2) for pair in itertools.product(ODD_CHARACTERS, repeat=size)]


async def test_keys_of_every_odd_character_come_back_in_code_point_order(store: SqlBackend) -> None:
    names = odd_keys()
    await apply(store, *(put(name, name) for name in names))

    assert (await store.keys(HERE, Span(), at(0)))[0] == sorted(names)
    page, _next = await store.scan(HERE, Span(), at(0))
    assert [(entry.key, entry.value) for entry in page] == [(name, name) for name in sorted(names)]
    found, rest = await store.get(HERE, names, at(0))
    assert ([entry.key for entry in found], rest) == (names, [])


async def test_every_prefix_finds_exactly_the_keys_that_begin_with_it(store: SqlBackend) -> None:
    names = odd_keys()
    await apply(store, *(put(name) for name in names))

    for prefix in [*ODD_CHARACTERS, "\ud7ff\ud7ff", "a\ud7ff", "\U0010ffff\U0010ffff", "a\U0010ffff", ""]:
        expected = sorted(name for name in names if name.startswith(prefix))
        assert (await store.keys(HERE, Span(prefix=prefix), at(0)))[0] == expected
        assert (await store.keys(HERE, Span(prefix=prefix, reverse=True), at(0)))[0] == expected[::-1]
        assert await store.count(HERE, prefix, at(0)) == len(expected)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("after", ["", "a", "b", "b3", "b9", "c", "z"])
async def test_after_is_exclusive_whether_or_not_it_has_the_prefix(
    store: SqlBackend, after: str, *, reverse: bool
) -> None:
    names = [first + second for first in "abc" for second in ["", *"0123456789"]]
    await apply(store, *(put(name) for name in names))

    ordered = sorted((name for name in names if name.startswith("b")), reverse=reverse)
    expected = [name for name in ordered if (name < after if reverse else name > after)]
    span = Span(prefix="b", after=after, reverse=reverse)
    assert await store.keys(HERE, span, at(0)) == (expected, None)
    assert [entry.key for entry in (await store.scan(HERE, span, at(0)))[0]] == expected


@pytest.mark.parametrize("limit", [1, 3, 9, 10, 11])
@pytest.mark.parametrize("reverse", [False, True])
async def test_pages_follow_each_other_and_the_last_one_says_so(
    store: SqlBackend, limit: int, *, reverse: bool
) -> None:
    names = [f"k{number}" for number in range(10)]
    await apply(store, *(put(name) for name in names), *(put(f"k{number}x", expires_at=at(1)) for number in range(10)))

    seen: list[str] = []
    after = None
    while True:
        span = Span(after=after, limit=limit, reverse=reverse)
        keys, following = await store.keys(HERE, span, at(1))
        page, page_following = await store.scan(HERE, span, at(1))
        outline, outline_following = await store.outline(HERE, span, at(1))
        assert [entry.key for entry in page] == [entry.key for entry in outline] == keys
        assert following == page_following == outline_following
        assert len(keys) <= limit
        seen += keys
        if following is None:
            break
        assert following == keys[-1]
        after = following

    assert seen == sorted(names, reverse=reverse)


async def test_an_empty_place_has_one_empty_page(store: SqlBackend) -> None:
    assert await store.keys(HERE, Span(), at(0)) == ([], None)
    assert await store.scan(HERE, Span(), at(0)) == ([], None)
    assert await store.outline(HERE, Span(), at(0)) == ([], None)
    assert await store.get(HERE, ["a", "b"], at(0)) == ([], [])
    assert await store.usage("alice", at(0)) == {}


async def test_a_page_stops_at_its_bytes_and_always_holds_one_entry(store: SqlBackend) -> None:
    half = "x" * (PAGE_BYTES // 2 - 2)
    await apply(store, put("a", half), put("b", half), put("c", half), put("d", half * 4), put("e", b""))

    pages = []
    after: str | None = None
    while True:
        page, after = await store.scan(HERE, Span(after=after), at(0))
        pages.append([entry.key for entry in page])
        if after is None:
            break

    assert pages == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_get_stops_at_its_bytes_in_the_order_asked_and_names_the_rest(store: SqlBackend) -> None:
    half = "x" * (PAGE_BYTES // 2 - 2)
    await apply(store, put("a", half), put("b", half), put("c", half), put("d", half * 4))

    asked = ["none", "d", "nothing", "c", "b", "c", "a"]
    answers = []
    while asked:
        found, asked = await store.get(HERE, asked, at(0))
        answers.append(([entry.key for entry in found], asked))

    assert answers == [(["d"], ["nothing", "c", "b", "a"]), (["c", "b"], ["a"]), (["a"], [])]


async def test_a_thousand_keys_of_the_longest_kind_are_got_and_peeked_at_once(store: SqlBackend) -> None:
    names = [f"{number:04}" + "\U0010ffff" * 255 for number in range(1000)]
    await apply(store, *(put(name) for name in names))

    found, rest = await store.get(HERE, names, at(0))
    assert ([entry.key for entry in found], rest) == (names, [])
    assert [stub.key for stub in await store.peek(HERE, names[::-1], at(0))] == names[::-1]


async def test_peek_shows_what_stands_without_values(store: SqlBackend) -> None:
    await apply(store, put("a", 1, metadata={"m": 1}), put("b", 2, expires_at=at(5)), put("old", expires_at=at(1)))

    stubs = await store.peek(HERE, ["b", "none", "old", "a"], at(1))

    assert stubs == [Stub("b", "v1", at(5), {}, 24), Stub("a", "v1", NEVER, {"m": 1}, 24)]


async def test_namespaces_are_those_of_the_owner_with_a_live_entry_in_order(store: SqlBackend) -> None:
    for name in ["b", "a", "\U0010ffff", "\ue000", "a_", "a%", "@locks/a", "ab"]:
        await store.apply(Place("alice", name), [put("k"), put("l")], actor())
    await store.apply(Place("alice", "expired"), [put("k", expires_at=at(1))], actor())
    await store.apply(Place("bob", "bobs"), [put("k")], actor())

    assert await store.namespaces("alice", "", at(1)) == [
        "@locks/a",
        "a",
        "a%",
        "a_",
        "ab",
        "b",
        "\ue000",
        "\U0010ffff",
    ]
    assert await store.namespaces("alice", "a", at(1)) == ["a", "a%", "a_", "ab"]
    assert await store.namespaces("alice", "\U0010ffff", at(1)) == ["\U0010ffff"]
    assert await store.namespaces("carol", "", at(1)) == []


async def test_usage_and_owners_sum_up_what_lives(store: SqlBackend) -> None:
    await apply(store, put("a", "xx"), put("old", "x" * 99, expires_at=at(1)))
    await apply(store, put("b", "xx"), seconds=3)
    await store.apply(Place("alice", "more"), [put("k", None)], actor(2))
    await store.apply(Place("bob", "notes"), [put("k", None)], actor(4))
    await store.apply(Place("carol", "notes"), [put("k", expires_at=at(1))], actor())

    assert await store.usage("alice", at(5)) == {"notes": Holding(2, 8, at(3)), "more": Holding(1, 4, at(2))}
    alice, bob = Holder("alice", 2, 3, 12, at(3)), Holder("bob", 1, 1, 4, at(4))
    assert await store.owners(None, 10, at(5)) == [alice, bob]
    assert await store.owners(None, 1, at(5)) == [alice]
    assert await store.owners("alice", 10, at(5)) == [bob]


async def test_an_outline_has_everything_but_values(store: SqlBackend) -> None:
    await apply(store, put("a", [1], metadata={"m": 1}))

    (outline,), _next = await store.outline(HERE, Span(), at(0))
    (whole,), _next = await store.scan(HERE, Span(), at(0))

    assert outline.as_dict() == {**whole.as_dict(), "value": None}


async def test_names_that_look_alike_never_meet(store: SqlBackend) -> None:
    places = [
        Place("a", "b:c"),
        Place("a:b", "c"),
        Place("a%3Ab", "c"),
        Place("a", "b"),
        Place("A", "b"),
        Place("a", "B"),
    ]
    for number, place in enumerate(places):
        await store.apply(place, [put("k", number), put("c:k", number), put("K", -number)], actor())

    for number, place in enumerate(places):
        found, _rest = await store.get(place, ["k", "c:k", "K"], at(0))
        assert [entry.value for entry in found] == [number, number, -number]
