"""Spaces: what several users share, reached only through a grant, with the acting user on every write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from datastore import Grant
from datastore.document import Place
from datastore.errors import AccessDenied, InvalidArgument, InvalidName, LockUnavailable, NotSupported
from datastore.models import operator_scope
from datastore.operations import Apply, Clear, Count, Number, Put
from sandbox import ConnectedDataStore
from tests.world import World

TEAM = Grant(namespace="*", space="team-alpha")


def member(world: World, user: str = "alice", *grants: Grant, **facts: Any) -> ConnectedDataStore:
    """Return the data_store of an agent of a user who may use the space, and all of the user's own."""
    return world.agent(user, grants=(Grant.own(), *(grants or (TEAM,))), **facts)


def test_users_of_a_space_find_what_each_other_wrote(the_world: World) -> None:
    alice, bob = (member(the_world, user).shared("team-alpha") for user in ("alice", "bob"))
    alice.set("plan", {"step": 1})
    assert bob.get("plan") == {"step": 1}
    assert bob.update("plan", lambda plan: {**plan, "step": 2}) == {"step": 2}
    assert (alice.incr("n"), bob.incr("n")) == (1, 2)
    assert alice.add("plan", "again") is False
    assert bob.list_keys() == ["n", "plan"]


def test_a_space_and_the_users_own_data_never_meet(the_world: World) -> None:
    own = member(the_world)
    team, other = own.shared("team-alpha"), own.shared("team-beta")
    own.set_many({"k": "own", "only": 1})
    team.set("k", "team")
    assert (own.get("k"), team.get("k")) == ("own", "team")
    assert team.get("only") is None
    with pytest.raises(AccessDenied):
        other.get("k")
    assert team.clear() == 1
    assert own.get("k") == "own"


def test_a_user_of_the_spaces_name_never_meets_it(the_world: World) -> None:
    member(the_world).shared("team-alpha").set("k", 1)
    namesake = the_world.agent(user="team-alpha")
    assert namesake.get("k") is None
    assert namesake.list_namespaces() == []


def test_a_face_of_a_space_says_so_and_does_not_nest(the_world: World) -> None:
    own = member(the_world)
    team = own.use_namespace("n").shared("team-alpha")
    assert (own.space, team.space, team.namespace) == (None, "team-alpha", "default")
    assert repr(team.use_namespace("plans")) == "data_store(namespace='plans', space='team-alpha')"
    assert team.shared("other").space == "other"
    assert team.aio.space == team.read_only().space == team.aio.use_namespace("x").space == "team-alpha"


@pytest.mark.parametrize("name", ["", "@team", "@@datastore", "a\0", "x" * 300, 7])
def test_an_unusable_name_of_a_space_is_refused(the_world: World, name: Any) -> None:
    with pytest.raises(InvalidName, match="space"):
        member(the_world).shared(name)


def test_every_write_in_a_space_is_recorded_with_its_user(the_world: World) -> None:
    alice, bob = member(the_world, "alice"), member(the_world, "bob", agent="editor")
    alice.shared("team-alpha").set("k", 1)
    bob.shared("team-alpha").set("k", 2)
    bob.shared("team-alpha").incr("n")
    alice.shared("team-alpha").incr("n")
    alice.shared("team-alpha").incr("n", 0.5)
    bob.shared("team-alpha").set_many({"a": 1, "b": 2})
    alice.shared("team-alpha").atomic().set("b", 3).commit()
    found = {key: bob.shared("team-alpha").get_entry(key) for key in ("k", "n", "a", "b")}
    users = {key: (each.created_by_user, each.updated_by_user) for key, each in found.items() if each}
    assert users == {"k": ("alice", "bob"), "n": ("bob", "alice"), "a": ("bob", "bob"), "b": ("bob", "alice")}
    entry = found["k"]
    assert entry is not None
    assert (entry.created_by_agent, entry.updated_by_agent) == ("writer", "editor")


def test_an_entry_that_begins_anew_in_a_space_has_a_new_creator(the_world: World) -> None:
    alice, bob = (member(the_world, user).shared("team-alpha") for user in ("alice", "bob"))
    alice.set_many({"set": 1, "add": 1, "incr": 1}, ttl_seconds=5)
    the_world.clock.advance(6)
    bob.set("set", 1)
    bob.add("add", 1)
    bob.incr("incr")
    for key in ("set", "add", "incr"):
        entry = alice.get_entry(key)
        assert entry is not None
        assert (entry.created_by_user, entry.updated_by_user) == ("bob", "bob")


def test_no_user_is_recorded_where_the_data_is_the_users_own(the_world: World) -> None:
    store = member(the_world)
    store.set("k", 1)
    entry = store.get_entry("k")
    assert entry is not None
    assert (entry.created_by_user, entry.updated_by_user) == (None, None)


def test_an_operators_write_in_a_space_is_recorded_as_the_operators(the_world: World) -> None:
    team = member(the_world).shared("team-alpha")
    team.set("k", 1)
    the_world.execute(Apply(namespace="default", mutations=(Put(key="k", value=2),)), user="@team-alpha")
    entry = team.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.created_by_user, entry.updated_by_user) == (2, "alice", "@admin/tests")


def test_an_operator_reaches_no_owner_but_the_one_that_is_meant(the_world: World) -> None:
    with pytest.raises(NotSupported, match="one owner"):
        the_world.execute(Clear(namespace="default", space="team-alpha"))
    assert operator_scope("@team-alpha", "tests").user == "@team-alpha"


def test_without_a_grant_on_the_space_nothing_of_it_is_reached(the_world: World) -> None:
    member(the_world).shared("team-alpha").set("k", 1)
    outside = member(the_world, "bob", Grant(namespace="*", space="team-beta")).shared("team-alpha")
    refused: list[Callable[[], object]] = [
        lambda: outside.get("k"),
        outside.get_all,
        outside.count,
        lambda: outside.set("k", 2),
        lambda: outside.delete("k"),
        lambda: outside.incr("n"),
        outside.clear,
        lambda: outside.copy_to("x"),
        outside.list_namespaces,
        outside.usage,
        outside.watch,
        lambda: outside.lock("x").__enter__(),
        lambda: outside.atomic().set("k", 2).commit(),
    ]
    for attempt in refused:
        with pytest.raises(AccessDenied, match="space 'team-alpha'"):
            attempt()


def test_grants_in_a_space_bound_what_is_read_written_and_listed(the_world: World) -> None:
    everything = member(the_world).shared("team-alpha")
    for name in ("plans", "secret"):
        everything.use_namespace(name).set("k", name)
    reading = member(the_world, "bob", Grant(namespace="plans", access="read", space="team-alpha")).shared("team-alpha")
    assert reading.use_namespace("plans").get("k") == "plans"
    assert reading.list_namespaces() == ["plans"]
    assert (reading.usage()["keys"], everything.usage()["keys"]) == (1, 2)
    for refused in (
        lambda: reading.use_namespace("secret").get("k"),
        lambda: reading.use_namespace("plans").set("k", 1),
        lambda: reading.use_namespace("plans").copy_to("secret"),
    ):
        with pytest.raises(AccessDenied, match="of space 'team-alpha' is not granted"):
            refused()


def test_lists_and_usage_are_of_the_space_or_of_the_user(the_world: World) -> None:
    own = member(the_world)
    team = own.shared("team-alpha")
    own.use_namespace("mine").set("k", 1)
    own.private().set("k", 1)
    team.use_namespace("ours").set_many({"a": 1, "b": 2})
    assert (own.list_namespaces(), team.list_namespaces()) == (["mine"], ["ours"])
    assert (own.usage()["keys"], team.usage()["keys"]) == (2, 2)


def test_a_space_has_no_private_namespaces(the_world: World) -> None:
    team = member(the_world).shared("team-alpha")
    for face in (team, team.aio, team.read_only()):
        with pytest.raises(NotSupported, match="has no private namespaces"):
            face.private()
    for name in ("self", "self.notes"):
        with pytest.raises(NotSupported, match="has no private namespaces"):
            team.use_namespace(name).get("k")
    with pytest.raises(NotSupported):
        team.copy_to("self")


def test_a_copy_stays_in_its_space(the_world: World) -> None:
    own = member(the_world)
    team = own.shared("team-alpha")
    team.set("k", 1)
    assert member(the_world, "bob").shared("team-alpha").copy_to("backup") == 1
    entry = team.use_namespace("backup").get_entry("k")
    assert entry is not None
    assert (entry.value, entry.created_by_user) == (1, "bob")
    assert own.list_namespaces() == []


def test_a_lock_of_a_space_is_held_against_its_other_users_alone(the_world: World) -> None:
    alice, bob = member(the_world, "alice"), member(the_world, "bob")
    with alice.shared("team-alpha").lock("report") as lease:
        with pytest.raises(LockUnavailable), bob.shared("team-alpha").lock("report"):
            raise AssertionError
        with alice.lock("report"), bob.lock("report"):
            pass  # The users' own locks of that name are others.
        with pytest.raises(InvalidArgument, match="another space"):
            alice.atomic(lease=lease)
    with bob.shared("team-alpha").lock("report") as later:
        assert later.token > lease.token


def test_a_watch_of_a_space_tells_of_every_users_changes_and_of_no_others(the_world: World) -> None:
    alice, bob = member(the_world, "alice"), member(the_world, "bob")
    watch = alice.shared("team-alpha").watch(timeout_seconds=5)
    bob.set("k", "bob's own")
    alice.set("k", "alice's own")
    bob.shared("team-alpha").set("k", "shared")
    change = next(watch)
    entry = alice.shared("team-alpha").get_entry("k")
    assert entry is not None
    assert (change.key, change.version) == ("k", entry.version)
    with pytest.raises(InvalidArgument, match="cursor was not given for this"):
        next(alice.watch(cursor=change.cursor))
    with pytest.raises(AccessDenied):
        next(the_world.agent("carol").shared("team-alpha").watch(cursor=change.cursor))
    assert alice.shared("team-alpha").wait_for("k", 1) == "shared"


def test_reads_in_a_space_are_counted_there(the_world: World) -> None:
    alice, bob = member(the_world, "alice"), member(the_world, "bob", agent="reader")
    alice.set("k", "own")
    alice.shared("team-alpha").set("k", "shared")
    bob.shared("team-alpha").get("k")
    the_world.flush()
    shared, own = alice.shared("team-alpha").get_entry("k"), alice.get_entry("k")
    assert shared is not None
    assert own is not None
    assert (shared.access_count, shared.last_accessed_by_agent, own.access_count) == (1, "reader", 0)


def test_a_space_is_stored_under_its_name_with_the_sigil(the_world: World) -> None:
    member(the_world).shared("team-alpha").set("k", 1)
    found, _ = the_world.loop.run(
        the_world.store.engine.get(Place("@team-alpha", "default"), ["k"], the_world.clock.now())
    )
    assert [each.value for each in found] == [1]
    assert the_world.execute(Count(namespace="default"), user="@team-alpha") == Number(1)


def test_the_async_face_has_spaces_too(the_world: World) -> None:
    store = member(the_world)

    async def both() -> list[Any]:
        team = store.aio.shared("team-alpha")
        await team.set_many({"a": 1, "b": 2})
        async with team.lock("x"):
            return [key async for key in team.keys()]  # noqa: SIM118 - a view, for `async for`

    assert asyncio.run(both()) == ["a", "b"]
    assert store.shared("team-alpha")["a"] == 1


def test_a_connection_that_ends_gives_back_its_locks_in_a_space(the_world: World) -> None:
    grants = (Grant.own(), Grant(space="team", namespace="*"))
    gone, other = (the_world.agent(user=user, grants=grants) for user in ("alice", "bob"))
    gone.shared("team").lock("x", ttl_seconds=3600).__enter__()
    gone.close()
    with other.shared("team").lock("x", wait_seconds=60) as lease:
        assert lease.token == 2
