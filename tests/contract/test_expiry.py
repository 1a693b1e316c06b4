"""An expired entry is gone for every verb at once, by the clock that the store was given."""

from __future__ import annotations

from typing import Any

import pytest

from datastore.errors import Conflict, InvalidArgument
from datastore.service import merging
from tests.world import World


def test_an_expired_entry_is_invisible_to_every_verb(the_world: World) -> None:
    store = the_world.agent().use_namespace("n")
    version = store.set("k", 1, ttl_seconds=10)
    the_world.clock.advance(10)
    assert store.get("k") is None
    assert store.get_entry("k") is None
    assert store.exists("k") is False
    assert store.expires_in("k") == 0
    assert store.get_many(["k"]) == {}
    assert store.get_all() == {}
    assert store.list_keys() == []
    assert list(store.items()) == []
    assert store.count() == 0
    assert store.list_namespaces() == []
    assert store.usage()["keys"] == 0
    assert store.touch("k", 60) is False
    assert store.delete("k") is False
    assert store.delete_many(["k"]) == 0
    assert store.clear() == 0
    assert store.copy_to("elsewhere") == 0
    with pytest.raises(Conflict):
        store.set("k", 2, if_version=version)


def test_it_is_still_there_a_moment_before(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=10)
    the_world.clock.advance(9.999)
    assert store.get("k") == 1
    assert store.expires_in("k") == pytest.approx(0.001)


def test_writing_over_an_expired_entry_is_a_creation(the_world: World) -> None:
    first, second = the_world.agent(agent="first"), the_world.agent(agent="second", run="run-2")
    first.set("k", 1, {"old": True}, ttl_seconds=10)
    first.get("k")
    the_world.flush()
    the_world.clock.advance(11)
    second.set("k", 2)
    entry = second.get_entry("k")
    assert entry is not None
    assert (entry.created_by_agent, entry.created_by_run, entry.access_count) == ("second", "run-2", 0)
    assert entry.created_at == entry.updated_at == the_world.clock.now()
    assert entry.metadata == {}
    assert (entry.last_accessed_at, entry.last_accessed_by_agent) == (None, None)


def test_metadata_of_an_expired_entry_is_not_merged_into_the_new_one(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, {"old": True}, ttl_seconds=10)
    the_world.clock.advance(11)
    store.set("k", 2, {"new": True})
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.metadata == {"new": True}


@pytest.mark.parametrize("together", [False, True])
def test_an_entry_that_expires_before_its_merge_is_written_begins_again(
    the_world: World, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    store, merge = the_world.agent(), merging.merge
    store.set("k", 1, {"old": True}, ttl_seconds=10)

    async def expiring(*given: Any) -> Any:
        merged = await merge(*given)
        monkeypatch.undo()
        the_world.clock.advance(11)
        return merged

    monkeypatch.setattr(merging, "merge", expiring)
    if together:
        with store.atomic() as changes:
            changes.set("k", 2, {"new": True})
    else:
        store.set("k", 2, {"new": True})
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.metadata) == (2, {"new": True})


def test_add_over_an_expired_entry_creates_it(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=10)
    the_world.clock.advance(11)
    assert store.add("k", 2) is True
    assert store.add("k", 3) is False


def test_a_batch_over_expired_entries_creates_them(the_world: World) -> None:
    store = the_world.agent()
    store.set_many({f"k{i}": 1 for i in range(10)}, {"old": 1}, ttl_seconds=10)
    the_world.clock.advance(11)
    assert store.set_many({f"k{i}": 2 for i in range(15)}) == 15
    entries = [store.get_entry(f"k{i}") for i in range(15)]
    assert all(entry and entry.created_at == the_world.clock.now() and entry.metadata == {} for entry in entries)


def test_a_set_without_ttl_clears_the_expiry(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=10)
    store.set("k", 2)
    the_world.clock.advance(1000)
    assert store.get("k") == 2
    assert store.expires_in("k") is None


def test_touch_moves_the_expiry_and_nothing_else(the_world: World) -> None:
    store = the_world.agent()
    version = store.set("k", 1, {"a": 1}, ttl_seconds=10)
    written = the_world.clock.now()
    the_world.clock.advance(5)
    assert store.touch("k", 100) is True
    assert store.expires_in("k") == 100
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.version, entry.updated_at, entry.metadata) == (version, written, {"a": 1})
    assert store.touch("k", None) is True
    assert store.expires_in("k") is None
    assert store.touch("absent", 5) is False


def test_a_copy_keeps_the_expiry(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=10)
    store.copy_to("backup")
    assert store.use_namespace("backup").expires_in("k") == 10


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), True, "60", 10**9])
def test_a_duration_that_is_none_is_refused_before_anything_is_written(the_world: World, wrong: float) -> None:
    store = the_world.agent()
    with pytest.raises(InvalidArgument, match="ttl_seconds"):
        store.set("k", 1, ttl_seconds=wrong)
    assert store.exists("k") is False
