"""atomic: several changes, all or nothing; on engines with transactions, over any keys and namespaces of a user."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from datastore import Grant
from datastore.errors import (
    AccessDenied,
    Conflict,
    InvalidArgument,
    NotANumber,
    NotSupported,
    UnknownVerb,
    ValueNotStorable,
)
from datastore.operations import Apply, Check, Incr, Put, Touch
from tests.contract.test_concurrency import all_at_once
from tests.world import WAIT_SECONDS, World

Call = Callable[[Any], Any]


@pytest.fixture
def world(large_world: World) -> World:
    """An engine with transactions."""
    return large_world


def test_all_of_it_is_made_over_several_namespaces(world: World) -> None:
    store = world.agent()
    other = store.use_namespace("other")
    old = other.set("old", 1, {"m": 1})
    store.set_many({"gone": 1, "n": 5, "kept": 1})
    with store.atomic() as changes:
        changes.set("a", {"x": [1]}, {"source": "crm"}, ttl_seconds=60).add("b", b"bytes").delete("gone")
        changes.delete("never there").incr("n", 2).incr("new", 0.5, initial=1, ttl_seconds=60)
        changes.use_namespace("other").check("old", old).set("old", 2).use_namespace("third").set("a", None)
        assert store.list_keys() == ["gone", "kept", "n"]
    assert store.get_all() == {"a": {"x": [1]}, "b": b"bytes", "kept": 1, "n": 7, "new": 1.5}
    assert (store.expires_in("a"), store.expires_in("new"), store.expires_in("n")) == (60, 60, None)
    assert (other.get("old"), store.use_namespace("third").get_all()) == (2, {"a": None})
    entry = other.get_entry("old")
    assert entry is not None
    assert (entry.metadata, entry.version != old) == ({"m": 1}, True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c: c.check("held", "0" * 24), Conflict),
        (lambda c: c.check("absent", "0" * 24), Conflict),
        (lambda c: c.check("held", c._store.ABSENT), Conflict),
        (lambda c: c.check("held", "0" * 24).set("held", 2), Conflict),
        (lambda c: c.check("held", c._store.ABSENT).set("held", 2), Conflict),
        (lambda c: c.check("held", "0" * 24).delete("held"), Conflict),
        (lambda c: c.check("held", c._store.ABSENT).delete("held"), Conflict),
        (lambda c: c.check("held", "0" * 24).incr("held"), Conflict),
        (lambda c: c.check("held", c._store.ABSENT).incr("held"), Conflict),
        (lambda c: c.add("held", 2), Conflict),
        (lambda c: c.incr("text"), NotANumber),
        (lambda c: c.incr("held", 2**63 - 1), ValueNotStorable),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_does_not_hold_leaves_everything_as_it_was(
    world: World, change: Call, error: type[Exception], *, first: bool
) -> None:
    store = world.agent()
    store.set_many({"held": 1, "text": "x", "more": 1})
    before = [each and each.as_dict() for each in map(store.get_entry, ["held", "text", "more"])]
    changes = store.atomic()
    if first:
        change(changes)
    changes.set("a", 1).delete("more").incr("n").use_namespace("other").set("b", 1)
    if not first:
        change(changes)
    with pytest.raises(error) as caught:
        changes.commit()
    if isinstance(caught.value, Conflict):
        standing = store.get_entry(caught.value.key)
        assert caught.value.version == (standing and standing.version)
        assert caught.value.key in {"held", "absent"}
    assert [each and each.as_dict() for each in map(store.get_entry, ["held", "text", "more"])] == before
    assert store.list_namespaces() == ["default"]
    assert store.count() == 3


@pytest.mark.parametrize("alone", [True, False])
def test_a_check_that_holds_lets_the_change_of_its_key_through(large_world: World, *, alone: bool) -> None:
    store = large_world.agent()
    held = {key: store.set(key, 1, {"m": 1}, ttl_seconds=60) for key in ("set", "delete", "incr", "check")}
    cases: list[Call] = [
        lambda c: c.check("set", held["set"]).set("set", 2, {"n": 2}),
        lambda c: c.delete("delete").check("delete", held["delete"]),
        lambda c: c.check("incr", held["incr"]).incr("incr"),
        lambda c: c.check("check", held["check"]),
        lambda c: c.check("new set", store.ABSENT).set("new set", 2, {"n": 2}),
        lambda c: c.check("new incr", store.ABSENT).incr("new incr", 5, initial=1),
        lambda c: c.check("new delete", store.ABSENT).delete("new delete"),
        lambda c: c.check("new check", store.ABSENT),
    ]
    if alone:
        for case in cases:
            case(store.atomic()).commit()
    else:
        together = store.atomic()
        for case in cases:
            case(together)
        together.commit()
    assert store.get_all() == {"check": 1, "incr": 2, "new incr": 6, "new set": 2, "set": 2}
    entry = store.get_entry("check")
    assert entry is not None
    assert entry.version == held["check"]
    merged = store.get_entry("set")
    assert merged is not None
    assert merged.metadata == {"m": 1, "n": 2}
    assert store.expires_in("incr") == 60


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (lambda c: c.set("k", 2), 2),
        (lambda c: c.delete("k"), None),
        (lambda c: c.incr("k", 5), 6),
        (lambda c: c.add("new", 1), 1),
    ],
)
def test_one_key_needs_no_transaction(the_world: World, change: Call, result: object) -> None:
    store = the_world.agent()
    version = store.set("k", 1)
    for stale in ("0" * 24, store.ABSENT):
        with pytest.raises(Conflict) as caught:
            change(store.atomic()).check("k", stale).commit() if result != 1 else store.atomic().add("k", 2).commit()
        assert (caught.value.key, caught.value.version) == ("k", version)
    changes = change(store.atomic())
    if result != 1:
        changes.check("k", version)
    changes.commit()
    assert store.get("k") == (1 if result == 1 else result)


def test_several_keys_need_transactions_and_say_so(the_world: World) -> None:
    changes = the_world.agent().atomic().set("a", 1).set("b", 2)
    if the_world.backend != "mock":
        changes.commit()
        assert the_world.agent().count() == 2
        return
    with pytest.raises(NotSupported, match=r"needs a MongoDB replica set.*mongod --replSet"):
        changes.commit()
    assert the_world.agent().count() == 0


def test_an_expired_entry_is_absent(world: World) -> None:
    store = world.agent(agent="old")
    version = store.set("k", "text", {"old": 1}, ttl_seconds=5)
    store.set("n", "text", {"old": 1}, ttl_seconds=5)
    world.clock.advance(5)
    with pytest.raises(Conflict) as caught:
        store.atomic().check("k", version).set("a", 1).commit()
    assert (caught.value.version, store.count()) == (None, 0)
    new = world.agent(agent="new")
    new.atomic().check("k", new.ABSENT).incr("n", initial=5).set("a", 1).commit()
    assert new.get_all() == {"a": 1, "n": 6}
    new.atomic().add("k", 1).set("a", 2).commit()
    for key in ("k", "n"):
        entry = new.get_entry(key)
        assert entry is not None
        assert (entry.metadata, entry.created_by_agent) == ({}, "new")


def test_what_was_only_required_to_be_absent_stays_absent(world: World) -> None:
    store = world.agent()
    store.atomic().check("k", store.ABSENT).set("a", 1).commit()
    assert (store.exists("k"), store.get_all(), store.list_keys(), store.count()) == (False, {"a": 1}, ["a"], 1)
    assert (store.get_entry("k"), store.delete("k"), store.touch("k", 5), store.usage()["keys"]) == (
        None,
        False,
        False,
        1,
    )
    assert store.add("k", 1) is True
    store.atomic().check("k2", store.ABSENT).set("a", 1).commit()
    store.atomic().check("k2", store.ABSENT).set("a", 1).commit()
    entry = store.get_entry("k2") or (store.set("k2", 5, {"m": 1}), store.get_entry("k2"))[1]
    assert entry is not None
    assert (entry.value, entry.metadata, entry.access_count) == (5, {"m": 1}, 0)
    assert store.incr("k2") == 6


def test_metadata_merges_as_it_does_elsewhere(world: World) -> None:
    store = world.agent()
    store.set("k", 1, {"a": 1, "b": 1})
    store.atomic().set("k", 2, {"b": 2, "c.d": 3}).set("l", 1, {"x": 1}).commit()
    found = [entry and entry.metadata for entry in map(store.get_entry, "kl")]
    assert found == [{"a": 1, "b": 2, "c.d": 3}, {"x": 1}]


def test_an_exception_in_the_block_writes_nothing(the_world: World) -> None:
    store = the_world.agent()
    changes = store.atomic()

    def fail() -> None:
        with changes:
            changes.set("a", 1)
            raise ZeroDivisionError

    async def block() -> None:
        async with store.aio.atomic() as later:
            later.set("a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(ZeroDivisionError):
        the_world.loop.run(block())
    assert store.count() == 0
    with pytest.raises(InvalidArgument, match="has ended"):
        changes.set("c", 1)
    with pytest.raises(InvalidArgument, match="has ended"):
        changes.commit()


def test_async_code_commits_at_the_end_of_the_block_or_by_itself(world: World) -> None:
    store = world.agent()

    async def work() -> None:
        async with store.aio.atomic() as changes:
            changes.set("a", 1).use_namespace("other").set("b", 2)
            assert await store.aio.count() == 0
        later = store.aio.atomic()
        later.incr("a").delete("b")
        await later.commit()

    asyncio.run(asyncio.wait_for(work(), WAIT_SECONDS))
    assert (store.get("a"), store.use_namespace("other").get("b")) == (2, 2)


def test_nothing_gathered_is_nothing_sent(the_world: World) -> None:
    store = the_world.agent()
    store.atomic().commit()
    with store.atomic():
        pass
    assert store.count() == 0


NEARLY: list[tuple[Call, type[Exception], str]] = [
    (
        lambda s: s.atomic().set("k", 1).set("k", 2),
        InvalidArgument,
        "'k' is changed twice in one atomic(). Keep the last one.",
    ),
    (
        lambda s: s.atomic().incr("k").delete("k"),
        InvalidArgument,
        "'k' is changed twice in one atomic(). Keep the last one.",
    ),
    (
        lambda s: s.atomic().check("k", "1").check("k", "2"),
        InvalidArgument,
        "'k' is checked twice in one atomic(). Keep the last one.",
    ),
    (
        lambda s: s.atomic().check("k", None),
        InvalidArgument,
        ("check(key, None): there was no entry when you looked. Write check(key, data_store.ABSENT) to require that."),
    ),
    (
        lambda s: s.atomic().check("k", 5),
        InvalidArgument,
        "check needs a version string, got int. Write check(key, entry.version).",
    ),
    (lambda s: s.atomic().check(5, "1"), ValueError, 'key must be a string, got int 5. Write str(5) or f"user:{5}".'),
    (
        lambda s: s.atomic().set("k", 1, ttl=5),
        InvalidArgument,
        'set() has no "ttl". Use ttl_seconds=3600 (seconds from now).',
    ),
    (lambda s: s.atomic().set("k", {1}), ValueNotStorable, "value: set is not JSON; store sorted(...) as a list"),
    (lambda s: s.atomic().incr("k", "1"), NotANumber, "by must be a number, got str '1'. Write by=1."),
    (
        lambda s: s.atomic().get("k"),
        UnknownVerb,
        (
            "atomic() has no 'get': nothing is read inside. Read before it, "
            "and require what you read with check(key, entry.version)."
        ),
    ),
    (
        lambda s: s.atomic().put("k", 1),
        UnknownVerb,
        "atomic() has no 'put'. It has: add, check, commit, delete, incr, set, use_namespace.",
    ),
    (
        lambda s: s.read_only().atomic(),
        AccessDenied,
        "this data_store is read_only(). Write through the data_store it was made from.",
    ),
    (
        lambda s: s.set("k", s.atomic()),
        ValueNotStorable,
        "value: atomic() is a handle, not data; return values.",
    ),
]


@pytest.mark.filterwarnings("ignore:data_store:RuntimeWarning")
@pytest.mark.parametrize(("call", "kind", "message"), NEARLY, ids=[each[2][:40] for each in NEARLY])
def test_a_nearly_right_call_is_told_its_mend(
    the_world: World, call: Call, kind: type[Exception], message: str
) -> None:
    store = the_world.agent()
    with pytest.raises(kind) as caught:
        call(store)
    assert str(caught.value) == message
    assert store.count() == 0
    del caught
    gc.collect()  # What was gathered and not committed is warned of here, and in no later test.


def test_the_other_face_is_told_its_own_block(the_world: World) -> None:
    store = the_world.agent()

    async def wrong() -> None:
        await store.atomic().__aenter__()

    with pytest.raises(InvalidArgument, match=r"async with data_store\.aio\.atomic"):
        asyncio.run(wrong())
    with pytest.raises(InvalidArgument, match=r"with data_store\.atomic"):
        store.aio.atomic().__enter__()
    with pytest.raises(InvalidArgument, match=r"await changes\.commit"):
        store.aio.atomic().__await__()


def test_a_script_that_forgets_to_commit_is_warned(the_world: World) -> None:
    changes = the_world.agent().atomic().set("k", 1)
    with pytest.warns(RuntimeWarning, match=r"data_store.atomic\(\) with set\('k'\) was never committed"):
        del changes
    assert the_world.agent().count() == 0


def test_a_thousand_changes_are_the_most(world: World) -> None:
    store = world.agent()
    changes = store.atomic()
    for number in range(1000):
        changes.set(f"k{number:03}", number)
    with pytest.raises(InvalidArgument, match="at most 1,000"):
        changes.set("one more", 1)
    changes.commit()
    assert store.count() == 1000


@pytest.mark.parametrize(
    ("grants", "change", "allowed"),
    [
        ({"default": "both", "n": "read"}, lambda c: c.check("k", "1"), Conflict),
        ({"default": "both", "n": "write"}, lambda c: c.check("k", "1"), AccessDenied),
        ({"default": "both", "n": "write"}, lambda c: c.set("k", 1), None),
        ({"default": "both", "n": "write"}, lambda c: c.delete("k"), None),
        ({"default": "both", "n": "write"}, lambda c: c.add("k", 1), AccessDenied),
        ({"default": "both", "n": "write"}, lambda c: c.incr("k"), AccessDenied),
        ({"default": "both", "n": "read"}, lambda c: c.incr("k"), AccessDenied),
        ({"default": "both", "n": "read"}, lambda c: c.set("k", 1), AccessDenied),
        ({"default": "both", "n": "both"}, lambda c: c.incr("k").use_namespace("m").set("k", 1), AccessDenied),
        ({"n": "both"}, lambda c: c.incr("k"), None),
    ],
)
def test_rights_are_decided_for_every_namespace_before_the_engine_is_asked(
    world: World, grants: dict[str, Any], change: Call, allowed: type[Exception] | None
) -> None:
    scope = tuple(Grant(namespace=name, access=access) for name, access in grants.items())
    store = world.agent(grants=scope)
    changes = store.atomic()
    if "default" in grants:
        changes.set("a", 1)
    change(changes.use_namespace("n"))
    if allowed is None:
        changes.commit()
        return
    with pytest.raises(allowed):
        changes.commit()
    assert world.agent().list_namespaces() == []


def test_a_private_namespace_is_the_agents_own(world: World) -> None:
    store = world.agent(agent="me")
    changes = store.private().atomic().set("state", 1)
    changes.use_namespace("shared").set("done", True).commit()
    assert store.private().get("state") == 1
    assert world.agent(agent="other").private().get("state") is None
    with pytest.raises(ValueError, match="begins with '@'"):
        store.atomic().use_namespace("@agent/other")


@pytest.mark.parametrize(
    ("mutations", "message"),
    [
        ((Touch(key="k"),), "touch of 'k' cannot be atomic"),
        ((Put(key="k", value=1), Put(key="k", value=2, namespace="default")), "'k' is changed twice"),
        ((Check(key="k", version=None), Put(key="k", if_absent=True)), "'k' has a check and a condition of its own"),
        ((Check(key="k", version="1"), Put(key="k", if_version="1")), "'k' has a check and a condition of its own"),
    ],
)
def test_what_a_guest_would_not_send_is_refused_by_the_host_too(
    the_world: World, mutations: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        the_world.execute(Apply(namespace="default", atomic=True, mutations=mutations))
    assert the_world.agent().count() == 0


@pytest.mark.parametrize("mutation", [Check(key="k", version=None), Put(key="k", value=1, namespace="other")])
def test_without_atomic_there_is_neither_check_nor_another_namespace(the_world: World, mutation: Any) -> None:
    with pytest.raises(InvalidArgument, match="stand in an atomic apply only"):
        the_world.execute(Apply(namespace="default", mutations=(mutation,)))
    assert the_world.agent().list_namespaces() == []


def test_concurrent_transfers_keep_their_sum(world: World) -> None:
    store = world.agent()
    store.set_many({f"n{number}": 100 for number in range(5)})
    transfers = [
        Apply(
            namespace="default",
            atomic=True,
            mutations=(Incr(key=f"n{turn % 5}", by=-1), Incr(key=f"n{(turn * 3 + 1) % 5}", by=1))
            if turn % 5 != (turn * 3 + 1) % 5
            else (Incr(key="n0", by=0),),
        )
        for turn in range(40)
    ]
    all_at_once(world, [*transfers])
    assert sum(store.get_all().values()) == 500
