"""Entries that come back as they were: what `Inspector.restore` promises on every backend."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from datastore.document import Place, Span
from datastore.entry import Entry
from tests.world import World

HERE = Place("alice", "default")


def entry(now: datetime, key: str, value: Any = "old", **changes: Any) -> Entry:
    """An entry with something of its own in every field."""
    made = Entry(
        namespace="default",
        key=key,
        value=value,
        metadata={"z": 1, "a": {"$set": [1.0, None]}},
        version="version of " + key,
        created_at=now - timedelta(days=3, milliseconds=1),
        updated_at=now - timedelta(days=2, milliseconds=2),
        last_accessed_at=now - timedelta(days=1, milliseconds=3),
        expires_at=now + timedelta(days=1, milliseconds=4),
        created_by_agent="writer",
        updated_by_agent="@admin/root",
        last_accessed_by_agent="reader",
        created_by_run="run 1",
        updated_by_run="-",
        created_by_user="carol",
        updated_by_user="dave",
        access_count=2**40,
        size_bytes=5,
    )
    return replace(made, **changes)


def restore(world: World, *given: Entry, replacing: bool = False, place: Place = HERE) -> list[str]:
    now = world.clock.now()
    return world.loop.run(world.store.engine.restore(place, given, now, replace=replacing))


def found(world: World, place: Place = HERE) -> list[Entry]:
    entries, _ = world.loop.run(world.store.engine.scan(place, Span(), world.clock.now()))
    return entries


ODD = {"$ref": "x", "$id": 1, "": {"a.b": [2**63 - 1, -0.0, 1.0, True, "\0é\u202e"]}}
VALUES: list[Any] = [None, b"\x00\xff", b"", ODD, 1, []]
UNREAD = {"last_accessed_at": None, "last_accessed_by_agent": None, "access_count": 0}


@pytest.mark.parametrize("changes", [{}, {"expires_at": None, **UNREAD}])
def test_every_field_comes_back_as_it_is_given(the_world: World, changes: dict[str, Any]) -> None:
    now = the_world.clock.now()
    given = [entry(now, f"k{number}", value, **changes) for number, value in enumerate(VALUES)]
    assert restore(the_world, *given) == []
    assert [repr(each.as_dict()) for each in found(the_world)] == [repr(each.as_dict()) for each in given]


def test_a_live_entry_is_left_standing_and_named(the_world: World) -> None:
    store = the_world.agent()
    store.set("b", "new")
    standing = store.get_entry("b")
    the_world.flush()
    given = [entry(the_world.clock.now(), key) for key in "cab"]
    assert restore(the_world, *given) == ["b"]
    left = {each.key: each for each in found(the_world)}
    assert standing is not None
    assert (left["b"].value, left["b"].version) == ("new", standing.version)
    assert (left["a"], left["c"]) == (given[1], given[0])


def test_a_live_entry_is_replaced_in_every_field_where_that_is_asked_for(the_world: World) -> None:
    the_world.agent().set("a", b"new", {"new": 1}, ttl_seconds=60)
    given = [entry(the_world.clock.now(), key) for key in "ab"]
    assert restore(the_world, *given, replacing=True) == []
    assert found(the_world) == given
    assert restore(the_world, *given, replacing=True) == []
    assert found(the_world) == given


def test_what_has_expired_is_not_in_the_way(the_world: World) -> None:
    the_world.agent().set("a", "gone", {"gone": 1}, ttl_seconds=60)
    the_world.clock.advance(60)
    given = entry(the_world.clock.now(), "a")
    assert restore(the_world, given) == []
    assert found(the_world) == [given]


def test_other_owners_and_namespaces_are_not_touched(the_world: World) -> None:
    the_world.agent().set("a", 1)
    the_world.agent().use_namespace("other").set("a", 2)
    before = found(the_world), found(the_world, Place("alice", "other"))
    assert restore(the_world, entry(the_world.clock.now(), "a"), place=Place("bob", "default")) == []
    assert (found(the_world), found(the_world, Place("alice", "other"))) == before
    assert [each.value for each in found(the_world, Place("bob", "default"))] == ["old"]


def test_a_restored_entry_lives_on_as_any_other(the_world: World) -> None:
    store = the_world.agent(agent="reader")
    restore(the_world, entry(the_world.clock.now(), "a"))
    assert store.get("a") == "old"
    the_world.flush()
    store.set("a", "new", if_version="version of a")
    (left,) = found(the_world)
    assert (left.value, left.created_by_run, left.access_count) == ("new", "run 1", 2**40 + 1)


def test_a_watcher_hears_of_a_restored_entry(the_world: World) -> None:
    store = the_world.agent()
    cursor = store.watch(timeout_seconds=1).cursor
    restore(the_world, entry(the_world.clock.now(), "a"))
    change = next(iter(store.watch(cursor=cursor, timeout_seconds=20)))
    assert (change.kind, change.key, change.version) == ("put", "a", "version of a")


def test_a_value_that_the_engine_cannot_hold_is_refused_before_anything_is_written(large_world: World) -> None:
    now = large_world.clock.now()
    given = [entry(now, "a"), entry(now, "b", [[]] * 1_390_000, size_bytes=4_170_001)]
    if large_world.backend in ("motor", "pymongo"):
        with pytest.raises(ValueError, match="as BSON"):
            large_world.store.engine.vet(given)
        with pytest.raises(ValueError, match="as BSON"):
            restore(large_world, *given)
        assert found(large_world) == []
    else:
        large_world.store.engine.vet(given)
        assert restore(large_world, *given) == []
