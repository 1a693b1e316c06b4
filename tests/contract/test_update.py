"""update: read, apply a function, write if nobody else did, again if somebody did."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from datastore.errors import AccessDenied, Conflict, InvalidArgument, ValueNotStorable
from sandbox.guest import faces
from tests.world import WAIT_SECONDS, World


def test_an_absent_entry_begins_with_what_the_function_makes_of_the_default(the_world: World) -> None:
    store = the_world.agent()
    assert store.update("log", lambda lines: [*lines, "a"], default=[]) == ["a"]
    assert store.update("log", lambda lines: [*lines, "b"], []) == ["a", "b"]
    assert store.get("log") == ["a", "b"]
    assert store.update("n", lambda n: n is None) is True


def test_the_function_gets_a_copy_of_its_own_each_time(the_world: World) -> None:
    store, others = the_world.agent(), iter([1, 2])
    default: list[Any] = []
    store.set("log", ["a"])
    seen = []

    def change(lines: list[Any]) -> list[Any]:
        seen.append(list(lines))
        for number in others:
            store.set("log", ["a", number])
            break
        lines.append("me")
        return lines

    assert store.update("log", change, default) == ["a", 2, "me"]
    assert store.update("new", lambda lines: lines.append("x") or lines, default) == ["x"]
    assert seen == [["a"], ["a", 1], ["a", 2]]
    assert default == []


def test_the_default_is_new_for_every_try(the_world: World) -> None:
    store, versions = the_world.agent(), iter([True, False])

    def change(lines: list[str]) -> list[str]:
        lines.append("x")
        if next(versions, False):
            store.set("k", 1)
            store.delete("k")
            store.add("k", ["other"])
        return lines

    assert store.update("k", change, default=[]) == ["other", "x"]


def test_metadata_and_expiry_stay_and_the_version_is_new(the_world: World) -> None:
    store = the_world.agent(agent="first")
    version = store.set("k", 1, {"unit": "m"}, ttl_seconds=60)
    the_world.clock.advance(10)
    the_world.agent(agent="second").update("k", lambda n: n + 1)
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.metadata, entry.updated_by_agent) == (2, {"unit": "m"}, "second")
    assert (entry.created_by_agent, entry.version != version) == ("first", True)
    assert store.expires_in("k") == 50
    store.touch("k", 30)
    store.update("k", lambda n: n + 1, ttl_seconds=5)
    assert store.expires_in("k") == 5
    the_world.clock.advance(5)
    assert store.update("k", lambda n: n + 1, default=0) == 1
    assert store.expires_in("k") is None
    fresh = store.get_entry("k")
    assert fresh is not None
    assert fresh.metadata == {}


def test_an_entry_that_goes_away_meanwhile_begins_anew(the_world: World) -> None:
    store, goes = the_world.agent(), iter([True])
    store.set("k", 5)

    def change(number: int) -> int:
        if next(goes, False):
            store.delete("k")
        return number + 1

    assert store.update("k", change, default=100) == 101


def test_it_reads_once_a_try(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    store.update("k", lambda n: n + 1)
    the_world.flush()
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.access_count == 1


def test_bytes_are_values_too(the_world: World) -> None:
    store = the_world.agent()
    store.set("b", b"ab")
    assert store.update("b", lambda b: b + b"c") == b"abc"
    assert store.get("b") == b"abc"


async def coroutine_function(value: Any) -> Any:
    return value


def coroutine_function_of(function: Any, value: Any) -> Any:
    return function(value)


Given = Any
REFUSED: list[tuple[str, Given, str]] = [
    (
        "a dict",
        {"a": 1},
        (
            "update(key, function) needs a function, got dict. To merge: data_store.update(key, "
            'lambda v: {**v, "a": 1}, default={}). For several keys: set_many({...}).'
        ),
    ),
    (
        "a value",
        5,
        (
            'update(key, function) needs a function, got int. Write data_store.update(key, lambda v: {**v, "a": 1}, '
            "default={})."
        ),
    ),
    (
        "a coroutine function",
        coroutine_function,
        (
            "update(key, function) needs a plain function, got a coroutine function. Await before it, and use the "
            "result inside: update(key, lambda v: {**v, 'answer': answer})."
        ),
    ),
    (
        "one that returns nothing",
        lambda v: v.append(1),
        (
            "update('k'): the function returned None. It must return the new value: list.append returns None, so write "
            "lambda v: v + [x]."
        ),
    ),
    (
        "one that returns a coroutine",
        functools.partial(coroutine_function_of, coroutine_function),
        (
            "update('k'): the function returned a coroutine. It must return the new value: await before update(), and "
            "use the result inside the function."
        ),
    ),
]


@pytest.mark.parametrize(("given", "message"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_is_no_function_or_returns_no_value_is_refused_and_nothing_is_written(
    the_world: World, given: Given, message: str
) -> None:
    store = the_world.agent()
    version = store.set("k", [])
    calls: list[Callable[[], object]] = [
        lambda: store.update("k", given),
        lambda: the_world.loop.run(store.aio.update("k", given)),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument) as caught:
            call()
        assert str(caught.value) == message
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.version) == ([], version)


def test_what_cannot_be_stored_and_what_the_function_raises_leave_the_entry_as_it_was(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    with pytest.raises(ValueNotStorable, match="value: set is not JSON"):
        store.update("k", lambda _: {1})
    with pytest.raises(ZeroDivisionError):
        store.update("k", lambda n: n / 0)
    with pytest.raises(ValueNotStorable, match="default: set is not JSON"):
        store.update("new", lambda v: v, default=set())
    assert store.get_all() == {"k": 1}


def test_a_read_only_data_store_refuses_it_before_the_function_is_called(the_world: World) -> None:
    with pytest.raises(AccessDenied):
        the_world.agent().read_only().update("k", lambda _: pytest.fail("was called"))


def test_it_gives_up_after_many_tries_with_short_pauses_and_says_so(
    large_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = large_world.agent(), large_world.agent(agent="other")
    tries: list[float] = []
    pauses: list[float] = []
    monkeypatch.setattr(faces, "time", SimpleNamespace(sleep=pauses.append))

    def beaten(number: int) -> int:
        tries.append(other.incr("k"))
        return number

    with pytest.raises(Conflict) as caught:
        store.update("k", beaten, 0)
    assert str(caught.value) == (
        "update('k'): others changed it first, 100 times in a row, so nothing was written. "
        "Let fewer agents write this key: give each its own, or count with incr()."
    )
    assert (caught.value.key, len(tries), store.get("k")) == ("k", 100, 100)
    assert caught.value.version == getattr(store.get_entry("k"), "version", None)
    assert [0 <= pause <= 0.05 for pause in pauses] == [True] * 100
    assert max(pauses[:3]) <= 0.004 < max(pauses)


def test_many_that_append_to_one_list_at_once_lose_nothing(the_world: World) -> None:
    store = the_world.agent()

    def append(number: int) -> Callable[[list[int]], list[int]]:
        return lambda numbers: [*numbers, number]

    async def append_all() -> None:
        calls: list[Coroutine[Any, Any, Any]] = [
            store.aio.update("log", append(number), default=[]) for number in range(20)
        ]
        await asyncio.wait_for(asyncio.gather(*calls), WAIT_SECONDS)

    asyncio.run(append_all())
    assert sorted(store.get("log")) == list(range(20))
