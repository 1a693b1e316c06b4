"""One entry: written, read, changed, removed; with its metadata, versions and provenance."""

from __future__ import annotations

from datetime import timedelta

import pytest

from datastore.errors import Conflict, InvalidArgument, ValueTooLarge
from tests.world import World


def test_a_value_written_is_read_back(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", {"a": [1, 2.5, None, True, "x"]})
    assert store.get("k") == {"a": [1, 2.5, None, True, "x"]}


def test_an_absent_key_gives_the_default_and_a_stored_none_does_not(the_world: World) -> None:
    store = the_world.agent()
    store.set("none", None)
    assert store.get("none", "default") is None
    assert store.get("absent", "default") == "default"
    assert store.get("absent") is None


def test_delete_says_whether_the_entry_was_there(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    assert store.delete("k") is True
    assert store.delete("k") is False
    assert store.get("k") is None


def test_overwriting_keeps_who_created_it_when_and_how_often_it_was_read(the_world: World) -> None:
    writer, other = the_world.agent(agent="writer", run="run-1"), the_world.agent(agent="other", run="run-2")
    writer.set("k", 1)
    writer.get("k")
    the_world.flush()
    created = the_world.clock.now()
    the_world.clock.advance(5)
    other.set("k", 2)
    entry = writer.get_entry("k")
    assert entry is not None
    assert (entry.created_at, entry.created_by_agent, entry.created_by_run) == (created, "writer", "run-1")
    assert (entry.updated_at, entry.updated_by_agent, entry.updated_by_run) == (
        created + timedelta(seconds=5),
        "other",
        "run-2",
    )
    assert entry.access_count == 1
    assert entry.last_accessed_by_agent == "writer"


def test_an_entry_shows_all_its_facts(the_world: World) -> None:
    store = the_world.agent().use_namespace("files:apache/my-repo")
    version = store.set("k", "é", {"lang": "py"}, ttl_seconds=60)
    entry = store.get_entry("k")
    assert entry is not None
    now = the_world.clock.now().isoformat(timespec="milliseconds")
    later = (the_world.clock.now() + timedelta(seconds=60)).isoformat(timespec="milliseconds")
    assert entry.as_dict() == {
        "namespace": "files:apache/my-repo",
        "key": "k",
        "value": "é",
        "metadata": {"lang": "py"},
        "version": version,
        "created_at": now,
        "updated_at": now,
        "last_accessed_at": None,
        "expires_at": later,
        "created_by_agent": "writer",
        "updated_by_agent": "writer",
        "last_accessed_by_agent": None,
        "created_by_run": "run-1",
        "updated_by_run": "run-1",
        "created_by_user": None,
        "updated_by_user": None,
        "access_count": 0,
        "size_bytes": 4,
    }


def test_a_top_level_number_counts_a_fixed_size_and_bytes_their_own(the_world: World) -> None:
    store = the_world.agent()
    sizes = {"one": 1, "float": 1.5, "true": True, "bytes": b"\x00\xff"}
    store.set_many(sizes)
    entries = {key: store.get_entry(key) for key in sizes}
    assert {key: entry.size_bytes for key, entry in entries.items() if entry} == {
        "one": 24,
        "float": 24,
        "true": 4,
        "bytes": 2,
    }


def test_every_write_makes_a_new_version(the_world: World) -> None:
    store = the_world.agent()
    versions = {store.set("k", 1) for _ in range(5)}
    assert len(versions) == 5
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.version in versions


@pytest.mark.parametrize("nothing", [None, {}])
def test_metadata_merges_shallowly_and_nothing_leaves_it(the_world: World, nothing: dict[str, str] | None) -> None:
    store = the_world.agent()
    store.set("k", 1, {"a": 1, "b": {"x": 1}})
    store.set("k", 2, {"b": {"y": 2}, "c": 3})
    store.set("k", 3, nothing)
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.metadata == {"a": 1, "b": {"y": 2}, "c": 3}
    assert entry.value == 3


def test_metadata_keys_are_data_and_never_paths(the_world: World) -> None:
    store = the_world.agent()
    odd = {"a.b": 1, "$": 2, "": 3, "$set": {"x.y": 4}, "a": {"b": 5}}
    store.set("k", 1, odd)
    store.set("k", 1, {"a.b": 9})
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.metadata == {**odd, "a.b": 9}


def test_metadata_that_grows_over_the_limit_by_merging_is_refused(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, {"a": "x" * 10_000})
    with pytest.raises(ValueTooLarge, match=r"metadata, merged with what is stored, is 20,\d\d\d bytes"):
        store.set("k", 2, {"b": "x" * 10_000})
    assert store.get("k") == 1


def test_if_version_writes_only_over_that_version(the_world: World) -> None:
    store = the_world.agent()
    first = store.set("k", 1)
    second = store.set("k", 2, if_version=first)
    with pytest.raises(Conflict) as caught:
        store.set("k", 3, if_version=first)
    assert (caught.value.key, caught.value.version) == ("k", second)
    assert store.get("k") == 2


def test_if_version_on_an_absent_entry_is_a_conflict_that_says_so(the_world: World) -> None:
    store = the_world.agent()
    version = store.set("k", 1)
    store.delete("k")
    with pytest.raises(Conflict, match="there is no such entry now"):
        store.set("k", 2, if_version=version)
    assert store.get("k") is None


def test_if_version_with_metadata_is_one_condition(the_world: World) -> None:
    store = the_world.agent()
    first = store.set("k", 1, {"a": 1})
    second = store.set("k", 2, {"b": 2}, if_version=first)
    with pytest.raises(Conflict):
        store.set("k", 3, {"c": 3}, if_version=first)
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.metadata, entry.version) == (2, {"a": 1, "b": 2}, second)


def test_absent_requires_that_there_is_no_entry(the_world: World) -> None:
    store = the_world.agent()
    version = store.set("k", 1, if_version=store.ABSENT)
    with pytest.raises(Conflict) as caught:
        store.set("k", 2, if_version=store.ABSENT)
    assert caught.value.version == version


def test_delete_with_a_version_keeps_a_newer_entry(the_world: World) -> None:
    store = the_world.agent()
    first = store.set("k", 1)
    second = store.set("k", 2)
    with pytest.raises(Conflict):
        store.delete("k", if_version=first)
    assert store.delete("k", if_version=second) is True
    assert store.delete("k", if_version=second) is False


def test_delete_of_what_must_be_absent_is_refused(the_world: World) -> None:
    store = the_world.agent()
    with pytest.raises(InvalidArgument, match="Leave if_version out"):
        store.delete("k", if_version=store.ABSENT)


def test_add_creates_once(the_world: World) -> None:
    store = the_world.agent()
    assert store.add("k", 1, {"a": 1}) is True
    assert store.add("k", 2, {"b": 2}) is False
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.metadata) == (1, {"a": 1})


def test_exists_and_in_ask_without_counting_a_read(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    assert store.exists("k") is True
    assert "k" in store
    assert store.exists("absent") is False
    the_world.flush()
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.access_count == 0


def test_the_habits_of_a_mapping_work(the_world: World) -> None:
    store = the_world.agent()
    store["a"] = 1
    store["b"] = 2
    assert store["a"] == 1
    assert list(store) == ["a", "b"]
    assert len(store) == 2
    del store["a"]
    with pytest.raises(KeyError):
        store["a"]
    with pytest.raises(KeyError):
        del store["a"]
    store.clear()
    assert bool(store) is True


def test_a_value_read_is_never_the_live_object(the_world: World) -> None:
    store = the_world.agent()
    value = {"list": [1]}
    store.set("k", value)
    value["list"].append(2)
    store.get("k")["list"].append(3)
    assert store.get("k") == {"list": [1]}
