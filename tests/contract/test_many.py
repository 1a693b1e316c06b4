"""Batches, lists, pages and views: complete, in order, and checked before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from datastore import Limits
from datastore.errors import InvalidArgument, InvalidName, StoreUnavailable, ValueNotStorable
from tests.world import World


def test_get_many_answers_in_the_order_asked_without_the_missing(the_world: World) -> None:
    store = the_world.agent()
    store.set_many({"a": 1, "b": None, "c": 3})
    found = store.get_many(iter(["c", "absent", "b", "a", "c"]))
    assert list(found.items()) == [("c", 3), ("b", None), ("a", 1)]


def test_set_many_takes_pairs_and_metadata_and_says_how_many(the_world: World) -> None:
    store = the_world.agent()
    store.set("a", 0, {"kept": True})
    assert store.set_many([("a", 1), ("b", 2)], {"batch": 7}, ttl_seconds=60) == 2
    entries = {key: store.get_entry(key) for key in ("a", "b")}
    assert {key: entry.metadata for key, entry in entries.items() if entry} == {
        "a": {"kept": True, "batch": 7},
        "b": {"batch": 7},
    }
    assert store.expires_in("a") == store.expires_in("b") == 60


def test_a_set_many_with_one_bad_value_writes_nothing(the_world: World) -> None:
    store = the_world.agent()
    items = {f"k{i}": i for i in range(50)}
    with pytest.raises(ValueNotStorable, match=r"value of 'bad'\.x: set is not JSON"):
        store.set_many({**items, "bad": {"x": {1}}})
    with pytest.raises(InvalidName):
        store.set_many({**items, "": 1})
    assert store.count() == 0


@pytest.mark.parametrize("nothing", [{}, []])
def test_an_empty_batch_does_nothing(the_world: World, nothing: dict[str, int] | list[tuple[str, int]]) -> None:
    store = the_world.agent()
    assert store.set_many(nothing) == 0
    assert store.get_many([]) == {}
    assert store.delete_many([]) == 0


def test_delete_many_counts_those_that_were_there(the_world: World) -> None:
    store = the_world.agent()
    store.set_many({"a": 1, "b": 2, "c": 3})
    assert store.delete_many(["a", "absent", "c", "a"]) == 2
    assert store.list_keys() == ["b"]


def test_a_string_is_no_list_of_keys(the_world: World) -> None:
    with pytest.raises(InvalidArgument, match=r"Write get_many\(\['abc'\]\)"):
        the_world.agent().get_many("abc")


@pytest.mark.slow
def test_ten_thousand_and_fifty_keys_are_listed_read_and_cleared_whole(large_world: World) -> None:
    store = large_world.agent().use_namespace("big")
    items = {f"k{i:05}": i for i in range(10_050)}
    assert store.set_many(items) == 10_050
    assert store.list_keys() == sorted(items)
    assert store.get_all() == items
    assert list(store.get_all()) == sorted(items)
    assert store.get_many(items) == items
    assert store.count() == 10_050
    assert sum(1 for _ in store.items()) == 10_050
    assert store.copy_to("copy") == 10_050
    assert store.use_namespace("copy").list_keys() == sorted(items)
    assert store.clear() == 10_050
    assert store.list_keys() == []


def test_lists_follow_after_limit_and_reverse(the_world: World) -> None:
    store = the_world.agent()
    store.set_many(dict.fromkeys(("a1", "a2", "a3", "b1"), 0))
    assert store.list_keys("a") == ["a1", "a2", "a3"]
    assert store.list_keys("a", after="a1") == ["a2", "a3"]
    assert store.list_keys("a", limit=2) == ["a1", "a2"]
    assert store.list_keys("a", reverse=True) == ["a3", "a2", "a1"]
    assert store.list_keys(reverse=True, after="a3", limit=1) == ["a2"]
    assert store.list_keys("a", after="a") == ["a1", "a2", "a3"]
    assert store.list_keys("a", after="b") == []
    assert store.list_keys("c") == []


def test_an_explicit_limit_longer_than_a_page_is_honoured(large_world: World) -> None:
    store = large_world.agent()
    store.set_many({f"k{i:04}": i for i in range(2100)})
    assert store.list_keys(limit=2050) == [f"k{i:04}" for i in range(2050)]
    assert len(list(store.items(limit=2050, reverse=True))) == 2050


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
def test_a_limit_that_is_no_count_is_refused(the_world: World, wrong: int) -> None:
    with pytest.raises(InvalidArgument, match="limit"):
        the_world.agent().list_keys(limit=wrong)


def test_views_are_re_iterable_counted_and_asked(the_world: World) -> None:
    store = the_world.agent()
    store.set_many({f"a{i}": i for i in range(5)} | {"b": 9})
    keys, items = store.keys("a"), store.items("a")
    assert list(keys) == list(keys) == [f"a{i}" for i in range(5)]
    assert list(items) == list(items) == [(f"a{i}", i) for i in range(5)]
    assert len(keys) == len(items) == 5
    assert len(store.keys("a", after="a2")) == 2
    assert len(store.keys("a", limit=3)) == 3
    assert "a3" in keys
    assert "b" not in keys
    assert ("a3", 3) in items
    assert not store.keys("z")


@pytest.mark.slow
def test_deleting_while_iterating_is_safe(large_world: World) -> None:
    store = large_world.agent()
    store.set_many({f"k{i:04}": i for i in range(1500)})
    seen = [key for key in store if store.delete(key)]
    assert seen == [f"k{i:04}" for i in range(1500)]
    assert store.count() == 0


@pytest.mark.parametrize(
    "prefix",
    [
        "a-",
        "files/",
        "%",
        "$",
        ".",
        "*",
        "\\",
        "[a]",
        "é",
        "\ud7ff",
        "a\ud7ff",
        "\U0010ffff",
        "a\U0010ffff",
        "😀",
        "a:",
    ],
)
def test_a_prefix_is_literal_text(the_world: World, prefix: str) -> None:
    store = the_world.agent()
    inside = [prefix, prefix + "\x01", prefix + "A", prefix + "z", prefix + "\ue000", prefix + "\U0010ffff" * 2]
    outside = ["A-2", "a", "b", "z", "\ue000", "a\ue000", "files0", "0"]
    store.set_many(dict.fromkeys([*inside, *outside], 0))
    expected = sorted(key for key in {*inside, *outside} if key.startswith(prefix))
    assert store.list_keys(prefix) == expected
    assert store.list_keys(prefix, reverse=True) == expected[::-1]
    assert store.count(prefix) == len(expected)
    assert list(store.get_all(prefix)) == expected
    assert store.clear(prefix) == len(expected)
    assert store.list_keys(prefix) == []


ODD_KEYS = [
    "/",
    "%",
    ":",
    "*",
    "$",
    ".",
    "$set",
    "a.b",
    "a:b",
    "a\nb",
    " ",
    "😀",
    "é",
    "e\u0301",
    "\x01",
    "\u202e",
    "'",
    '"',
    "\\",
]


def test_odd_keys_are_keys(the_world: World) -> None:
    store = the_world.agent()
    assert store.set_many({key: key for key in ODD_KEYS}) == len(ODD_KEYS)
    assert store.list_keys() == sorted(ODD_KEYS)
    assert store.get_many(ODD_KEYS) == {key: key for key in ODD_KEYS}
    for key in ODD_KEYS:
        assert store.get(key) == key
        assert store.delete(key) is True


def test_keys_are_asked_for_in_as_many_frames_as_they_need(the_world: World) -> None:
    store = the_world.agent(limits=Limits(value_bytes=65_536))
    items = {f"{i:04}-" + "k" * 800: i for i in range(400)}
    assert store.set_many(items) == 400
    assert store.get_many(items) == items
    assert store.delete_many(items) == 400


def test_a_batch_that_fails_on_its_way_says_how_many_were_written(
    the_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = the_world.agent()
    engine = the_world.store.engine
    apply, calls = engine.apply, []

    async def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise StoreUnavailable("the store did not answer")
        return await apply(*args)

    monkeypatch.setattr(engine, "apply", failing)
    with pytest.raises(StoreUnavailable) as caught:
        store.set_many({f"k{i:04}": i for i in range(1200)})
    assert str(caught.value) == (
        "1,000 of 1,200 were written; then: the store did not answer. Of the rest nothing was written; send it again."
    )
    assert caught.value.done == store.count() == 1000


@pytest.mark.slow
def test_a_megabyte_of_text_and_twelve_of_values_come_back_whole(large_world: World) -> None:
    store = large_world.agent()
    csv = "\n".join(f'{i},"näme {i}",{i * 1.5}' for i in range(40_000))
    assert len(csv.encode()) > 1024 * 1024
    store.set("csv", csv)
    assert store.get("csv") == csv
    values = {f"big{i:02}": chr(97 + i) * (1024 * 1024) for i in range(12)}
    assert store.set_many(values) == 12
    assert store.get_many(values) == values
    assert store.get_all("big") == values
    assert dict(store.items("big", reverse=True)) == values


def test_a_value_at_the_limit_is_stored_and_one_byte_more_is_not(the_world: World) -> None:
    store = the_world.agent(limits=Limits(value_bytes=1000))
    store.set("text", "x" * 998)
    store.set("bytes", b"x" * 1000)
    for over in ("x" * 999, b"x" * 1001):
        with pytest.raises(ValueError, match="the limit is 1,000"):
            store.set("over", over)
    assert store.list_keys() == ["bytes", "text"]


def test_the_largest_value_of_each_kind_crosses_the_wire(the_world: World) -> None:
    store = the_world.agent()
    text, blob = "x" * (4 * 1024 * 1024 - 2), bytes(range(256)) * (16 * 1024)
    store.set("text", text)
    store.set("blob", blob)
    assert store.get("text") == text
    assert store.get("blob") == blob
