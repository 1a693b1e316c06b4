"""Users, namespaces and agents: what is one's own is found, and what is another's never is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from datastore import Grant
from datastore.errors import AccessDenied, InvalidArgument, InvalidName
from tests.world import World


def test_a_user_and_a_namespace_that_meet_in_one_string_stay_apart(the_world: World) -> None:
    first = the_world.agent(user="a").use_namespace("b:c")
    second = the_world.agent(user="a:b").use_namespace("c")
    third = the_world.agent(user="a%3Ab").use_namespace("c")
    for index, store in enumerate((first, second, third)):
        assert store.add("k", index) is True
    assert [store.get("k") for store in (first, second, third)] == [0, 1, 2]
    assert first.clear() == 1
    assert [store.get("k") for store in (first, second, third)] == [None, 1, 2]


def test_two_users_with_the_same_names_never_meet(the_world: World) -> None:
    alice, bob = the_world.agent(user="alice"), the_world.agent(user="bob")
    alice.set_many({"k": "alice", "only": 1})
    bob.set("k", "bob")
    assert alice.get_all() == {"k": "alice", "only": 1}
    assert bob.get_all() == {"k": "bob"}
    assert bob.clear() == 1
    assert alice.count() == 2
    assert bob.list_namespaces() == []
    assert bob.usage()["keys"] == 0


def test_namespaces_are_listed_while_they_hold_a_live_entry(the_world: World) -> None:
    store = the_world.agent()
    for name in ("files:b", "files:apache/my-repo", "summary:b", "default", "é", "a b"):
        store.use_namespace(name).set("k", 1)
    store.use_namespace("gone").set("k", 1)
    store.use_namespace("gone").clear()
    assert store.list_namespaces() == ["a b", "default", "files:apache/my-repo", "files:b", "summary:b", "é"]
    assert store.list_namespaces("files:") == ["files:apache/my-repo", "files:b"]
    assert store.list_namespaces("none") == []


@pytest.mark.slow
def test_more_namespaces_than_a_page_are_listed_whole(large_world: World) -> None:
    store = large_world.agent()
    names = [f"n{i:04}" for i in range(1005)]
    for name in names:
        store.use_namespace(name).set("k", 1)
    assert store.list_namespaces() == names


def test_use_namespace_replaces_and_does_not_nest(the_world: World) -> None:
    store = the_world.agent().use_namespace("a").use_namespace("b")
    assert store.namespace == "b"
    assert store.space is None
    store.set("k", 1)
    assert store.list_namespaces() == ["b"]


def test_what_one_agent_writes_the_next_agent_of_the_user_finds(the_world: World) -> None:
    the_world.agent(agent="writer").use_namespace("hand-off").set("k", {"step": 1})
    reader = the_world.agent(agent="reader", run="run-2")
    assert {name: reader.use_namespace(name).get_all() for name in reader.list_namespaces()} == {
        "hand-off": {"k": {"step": 1}}
    }


def test_a_private_namespace_is_the_agents_own(the_world: World) -> None:
    x, y = the_world.agent(agent="x"), the_world.agent(agent="y")
    x.private().set("k", "x")
    x.private("notes").set("k", "x notes")
    y.private().set("k", "y")
    assert (x.private().get("k"), x.private("notes").get("k"), y.private().get("k")) == ("x", "x notes", "y")
    assert y.private("notes").get("k") is None
    assert x.list_namespaces() == y.list_namespaces() == []
    assert x.private().namespace == "self"
    entry = x.private("notes").get_entry("k")
    assert entry is not None
    assert entry.namespace == "self.notes"


def test_private_names_of_agents_never_meet(the_world: World) -> None:
    slashed, nested = the_world.agent(agent="x/y"), the_world.agent(agent="x")
    slashed.private().set("k", 1)
    assert nested.private("y").get("k") is None
    escaped = the_world.agent(agent="x%2Fy")
    assert escaped.private().get("k") is None


@pytest.mark.parametrize("name", ["@agent/x", "@", "@locks/default", "@@datastore"])
def test_a_name_of_the_hosts_kind_is_refused(the_world: World, name: str) -> None:
    store = the_world.agent(agent="y")
    with pytest.raises(InvalidName, match="marks what the host makes"):
        store.use_namespace(name)
    with pytest.raises(InvalidName):
        store.copy_to(name)


def test_usage_counts_what_may_be_read(the_world: World) -> None:
    x, y = the_world.agent(agent="x"), the_world.agent(agent="y")
    x.set("k", "abc")
    x.private().set("p", "abc")
    y.private().set("p", "abcdef")
    assert (x.usage()["keys"], x.usage()["bytes"]) == (2, 10)
    assert (y.usage()["keys"], y.usage()["bytes"]) == (2, 13)
    assert x.usage()["limits"]["value_bytes"] == 4 * 1024 * 1024


def test_grants_bound_what_is_read_written_and_listed(the_world: World) -> None:
    everything = the_world.agent()
    for name in ("files:a", "files:b", "filesystem", "secret"):
        everything.use_namespace(name).set("k", name)
    grants = (Grant(namespace="files:*", access="read"), Grant(namespace="out", access="write"))
    bounded = the_world.agent(agent="bounded", grants=grants)
    assert bounded.list_namespaces() == ["files:a", "files:b"]
    assert bounded.use_namespace("files:a").get("k") == "files:a"
    assert bounded.usage()["keys"] == 2
    bounded.use_namespace("out").set("k", 1)
    for refused in (
        lambda: bounded.use_namespace("secret").get("k"),
        lambda: bounded.use_namespace("filesystem").count(),
        lambda: bounded.use_namespace("files:a").set("k", 1),
        lambda: bounded.use_namespace("files:a").clear(),
        lambda: bounded.use_namespace("out").get("k"),
        lambda: bounded.use_namespace("out").add("k", 1),
        lambda: bounded.use_namespace("secret").copy_to("out"),
        lambda: bounded.use_namespace("files:a").copy_to("secret"),
        lambda: bounded.private().get("k"),
    ):
        with pytest.raises(AccessDenied, match="is not granted"):
            refused()
    assert bounded.use_namespace("files:a").copy_to("out") == 1


def test_no_grants_grant_nothing(the_world: World) -> None:
    store = the_world.agent(grants=())
    with pytest.raises(AccessDenied, match="Granted: nothing"):
        store.get("k")
    assert store.list_namespaces() == []
    assert store.usage()["keys"] == 0


def test_a_read_only_data_store_refuses_to_write_and_stays_so(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    frozen = store.read_only()
    assert frozen.get("k") == 1
    for view in (frozen, frozen.use_namespace("default"), frozen.private()):
        with pytest.raises(AccessDenied, match="read_only"):
            view.set("k", 2)
    refusals: list[Callable[[], object]] = [
        frozen.clear,
        lambda: frozen.delete("k"),
        lambda: frozen.copy_to("x"),
        lambda: frozen.touch("k", 1),
    ]
    for refused in refusals:
        with pytest.raises(AccessDenied):
            refused()
    assert store.get("k") == 1


def test_a_copy_keeps_values_and_metadata_and_counts(the_world: World) -> None:
    store = the_world.agent()
    source = store.use_namespace("source")
    source.set("a:1", {"v": 1}, {"m": 1})
    source.set("a:2", b"\x00", {"m": 2})
    source.set("b", 3)
    target = store.use_namespace("target")
    target.set("a:1", "old", {"old": True})
    assert the_world.agent(agent="copier").use_namespace("source").copy_to("target", "a:") == 2
    entry = target.get_entry("a:1")
    assert entry is not None
    assert (entry.value, entry.metadata) == ({"v": 1}, {"m": 1})
    assert (entry.created_by_agent, entry.updated_by_agent) == ("writer", "copier")
    assert target.get("a:2") == b"\x00"
    assert target.list_keys() == ["a:1", "a:2"]
    the_world.flush()
    copied = source.get_entry("a:1")
    assert copied is not None
    assert copied.access_count == 0


def test_a_copy_onto_itself_is_refused(the_world: World) -> None:
    with pytest.raises(InvalidArgument, match="onto itself"):
        the_world.agent().copy_to("default")
