"""Quotas: no path writes beyond a limit, by a byte or a key, and nothing is refused that there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import UpdateOne
from sqlalchemy import update

from admin.actions import quotas
from admin.actions.quotas import Setting
from admin.actions.subject import Owner
from datastore import Grant, Limits, Scope, Settings, Store
from datastore.assembly import open_engine
from datastore.backends.mongo import MongoBackend
from datastore.backends.mongo.batch import Batch
from datastore.backends.sql import SqlBackend, atomics
from datastore.backends.sql.counted import counters
from datastore.document import Place
from datastore.entry import NEVER
from datastore.errors import (
    Conflict,
    DataStoreError,
    NamespaceQuotaExceeded,
    QuotaExceeded,
    UserQuotaExceeded,
    ValueTooLarge,
)
from datastore.models import operator_scope
from datastore.operations import Apply, Put
from datastore.ports import Actor, Requirement, Step, Write
from datastore.quotas import Ceiling, Quota
from datastore.service import merging
from sandbox import ConnectedDataStore
from tests.contract.test_restore import HERE, entry
from tests.world import SEPARATE, Loop, ManualClock, Servers, World, address, bare

FORTY = "x" * 38
"""A value of 40 bytes."""


def limited(world: World, **limits: Any) -> ConnectedDataStore:
    return world.agent(limits=Limits(**limits))


def used(store: ConnectedDataStore) -> tuple[int, int]:
    usage = store.usage()
    return usage["bytes"], usage["keys"]


def _atomic(store: ConnectedDataStore, key: str, value: str) -> None:
    with store.atomic() as changes:
        changes.delete("other").set(key, value)


def _commit(store: ConnectedDataStore, key: str, value: str) -> None:
    with store.atomic() as changes:
        changes.set(key, value)


def _copy(store: ConnectedDataStore, key: str, value: str) -> None:
    del key, value
    store.use_namespace("source").copy_to("default")


PATHS: dict[str, Callable[[ConnectedDataStore, str, str], Any]] = {
    "set": lambda store, key, value: store.set(key, value),
    "set with metadata": lambda store, key, value: store.set(key, value, {"m": 1}),
    "set for a time": lambda store, key, value: store.set(key, value, ttl_seconds=60),
    "set of what is absent": lambda store, key, value: store.set(key, value, if_version=store.ABSENT),
    "set_many": lambda store, key, value: store.set_many({key: value, key + "2": 1}),
    "set_many with metadata": lambda store, key, value: store.set_many({key: value}, {"m": 1}),
    "add": lambda store, key, value: store.add(key, value),
    "incr": lambda store, key, value: store.incr(key, len(value)),
    "incr by a float": lambda store, key, value: store.incr(key, len(value) + 0.5),
    "update": lambda store, key, value: store.update(key, lambda old: old + value, default=""),
    "atomic": _atomic,
    "atomic of one": _commit,
    "copy_to": _copy,
}


def test_no_path_writes_beyond_a_limit(the_world: World) -> None:
    for limit in ({"namespace_bytes": 100}, {"user_bytes": 130}, {"namespace_keys": 2}):
        user = str(limit)
        free, store = the_world.agent(user), the_world.agent(user, limits=Limits(**limit))
        free.use_namespace("source").set("copied", FORTY)
        store.set_many({"a": FORTY, "b": FORTY})
        before = free.get_all()
        for name, path in PATHS.items():
            if not (name == "atomic" and the_world.backend == "mock"):  # It has no transactions.
                with pytest.raises(QuotaExceeded):
                    path(store, "new", FORTY)
                assert free.get_all() == before, name


def test_no_path_makes_an_entry_grow_beyond_the_limit(the_world: World) -> None:
    store = limited(the_world, namespace_bytes=100)
    version = store.set("a", FORTY)
    store.set("b", FORTY)
    with pytest.raises(NamespaceQuotaExceeded):
        store.update("a", lambda old: old + "x" * 21)
    with pytest.raises(NamespaceQuotaExceeded) as refused:
        store.set("a", FORTY + "x" * 21, if_version=version)
    assert refused.value.fields == {"what": "bytes", "limit": 100, "used": 80, "asked": 21, "namespace": "default"}
    assert store.get("a") == FORTY
    store.set("a", FORTY + "x" * 20, if_version=version)
    assert used(store) == (100, 2)


def test_exactly_the_limit_is_allowed_and_overwriting_counts_the_difference(the_world: World) -> None:
    store = limited(the_world, namespace_bytes=100, namespace_keys=3)
    store.set_many({"a": FORTY, "b": FORTY, "c": "x" * 18})
    for _ in range(3):
        store.set("a", FORTY.upper(), {"m": 1})
        store.set_many({"a": FORTY, "b": FORTY})
    store.set("a", "x" * 8)
    store.set("b", "x" * 68)
    with pytest.raises(NamespaceQuotaExceeded):
        store.set("b", "x" * 69)
    store.set_many({"a": "x" * 48, "b": "x" * 28})
    assert used(store) == (100, 3)
    store.touch("a", 60)
    assert store.delete("c")
    store.set("d", "x" * 18)
    assert used(store) == (100, 3)


def test_a_number_counts_24_bytes_however_it_grows(the_world: World) -> None:
    store = limited(the_world, namespace_bytes=48)
    for by in (1, 10**15, 0.5):
        store.incr("a", by)
        store.incr("b", by)
    with pytest.raises(NamespaceQuotaExceeded):
        store.incr("c")
    assert used(store) == (48, 2)


def test_an_atomic_change_uses_the_room_that_it_frees(large_world: World) -> None:
    store = limited(large_world, user_bytes=80, namespace_keys=2)
    store.set_many({"a": FORTY, "b": FORTY})
    with store.atomic() as changes:
        changes.delete("a").set("c", FORTY)
    with pytest.raises(QuotaExceeded), store.atomic() as changes:
        changes.delete("b").use_namespace("other").set("c", FORTY).set("d", 1)
    with store.atomic() as changes:
        changes.delete("b").use_namespace("other").set("c", FORTY)
    assert (store.list_keys(), store.use_namespace("other").list_keys()) == (["c"], ["c"])
    with pytest.raises(UserQuotaExceeded):
        store.set("d", 1)


def test_what_expired_or_was_deleted_gives_its_space_back(the_world: World) -> None:
    store = limited(the_world, user_bytes=100, user_keys=2)
    store.set("a", FORTY, ttl_seconds=60)
    store.set("b", FORTY)
    for _ in range(3):
        with pytest.raises(UserQuotaExceeded):
            store.set("d", 1)
        the_world.clock.advance(60)
        store.set("c", FORTY, ttl_seconds=60)
    the_world.clock.advance(60)
    store.set("c", "x" * 58)  # Over what has expired, it is a new entry.
    with pytest.raises(UserQuotaExceeded):
        store.set("b", FORTY + "x")
    assert store.clear() == 2
    store.set_many({"d": FORTY, "e": FORTY})
    assert used(store) == (80, 2)


def test_the_user_s_limit_is_on_all_namespaces_and_the_error_names_them_as_the_agent_does(the_world: World) -> None:
    store = limited(the_world, user_bytes=100, namespace_keys=1)
    store.set("a", FORTY)
    store.private().set("a", FORTY)
    with pytest.raises(UserQuotaExceeded) as whole:
        store.use_namespace("other").set("a", FORTY)
    assert whole.value.fields == {"what": "bytes", "limit": 100, "used": 80, "asked": 40}
    assert str(whole.value) == (
        "this store holds 80 bytes of at most 100, and this write would add 40. "
        "Delete what is no longer needed, or ask the host for more room."
    )
    with pytest.raises(NamespaceQuotaExceeded, match="namespace 'self' holds 1 keys of at most 1"):
        store.private().set("b", 1)


def test_a_space_has_room_of_its_own(the_world: World) -> None:
    grants = (Grant.own(), Grant(namespace="*", space="team"))
    limits = Limits(user_keys=1, namespace_keys=2)
    alice, bob = (the_world.agent(user, grants=grants, limits=limits) for user in ("alice", "bob"))
    for store in (alice, bob):
        store.set("a", 1)
    alice.shared("team").set("a", 1)
    bob.shared("team").set("b", 1)
    for store in (alice, bob):
        with pytest.raises(UserQuotaExceeded):
            store.set("b", 1)
        with pytest.raises(NamespaceQuotaExceeded):
            store.shared("team").set("c", 1)
    assert "user_keys" not in bob.shared("team").usage()["limits"]


def test_writes_without_a_limit_count_for_those_that_have_one(the_world: World) -> None:
    free, store = the_world.agent(), limited(the_world, user_bytes=100)
    free.set("a", FORTY)
    store.set("b", 1)
    free.set("a", FORTY + "x" * 30)
    free.incr("n")
    with pytest.raises(UserQuotaExceeded) as refused:
        store.set("c", 1)
    assert refused.value.used == 118
    store.set("b", 2)
    store.delete("n")
    with pytest.raises(UserQuotaExceeded):
        store.set("c", 1)


def test_usage_shows_the_limits(the_world: World) -> None:
    limits = {"user_bytes": 1000, "user_keys": 9, "namespace_bytes": 100, "namespace_keys": 3}
    store = limited(the_world, value_bytes=50, **limits)
    store.set("a", FORTY)
    sizes = {"value_bytes": 50, "metadata_bytes": 16384}
    assert store.usage() == {"keys": 1, "bytes": 40, "limits": sizes | limits}
    with pytest.raises(ValueTooLarge):
        store.set("b", "x" * 50)


def test_of_many_at_once_as_many_as_there_is_room_for_write(the_world: World) -> None:
    scope = Scope(user="alice", agent="writer", limits=Limits(namespace_bytes=400))

    async def one(number: int) -> bool:
        try:
            await the_world.store.execute(scope, Apply(namespace="n", mutations=(Put(key=f"k{number}", value=FORTY),)))
        except NamespaceQuotaExceeded:
            return False
        return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one(number) for number in range(20)))

    assert sum(the_world.loop.run(all_of_them())) == 10
    assert used(the_world.agent()) == (400, 10)


def test_a_counter_that_has_drifted_is_mended_before_a_write_is_refused(the_world: World) -> None:
    store = limited(the_world, user_bytes=100, namespace_bytes=100)
    store.set("a", FORTY)
    the_world.loop.run(drift(the_world))
    store.set("b", FORTY)
    with pytest.raises(NamespaceQuotaExceeded) as refused:
        store.set("c", FORTY)
    assert refused.value.used == 80


@pytest.mark.parametrize("backend", SEPARATE)
def test_what_was_written_while_there_was_no_quota_counts_when_there_is_one_again(
    backend: str, host_loop: Loop, tmp_path: Path, servers: Servers
) -> None:
    clock, owner, scope = ManualClock(), Owner("user", "alice"), Scope(user="alice", agent="writer")

    async def write(store: Store, size: int) -> None:
        await store.quotas.overrides.look()
        put = Put(key=f"of {size}", value="x" * (size - 2))
        await store.execute(scope, Apply(namespace="n", mutations=(put,)))

    async def two_processes(url: str) -> None:
        one, other = [Store(await open_engine(url, Settings(), clock), clock=clock) for _ in range(2)]
        try:
            await quotas.put(one, owner, Setting(None, 100, None, None))
            await write(one, 10)
            await quotas.clear(one, owner, None)
            await write(other, 1000)
            await quotas.put(one, owner, Setting(None, 100, None, None))
            for store in (one, other):
                with pytest.raises(UserQuotaExceeded):
                    await write(store, 11)
        finally:
            await one.aclose()
            await other.aclose()

    with address(backend, tmp_path, servers) as url:
        host_loop.run(two_processes(url))


@pytest.mark.parametrize("large_world", ["motor", "pymongo"], indirect=True)
def test_a_write_without_a_limit_counts_that_was_begun_before_the_first_limit(
    large_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, place, now = large_world.store.engine, Place("alice", "n"), large_world.clock.now()
    real, began, goes_on = Batch.run, asyncio.Event(), asyncio.Event()

    async def held_up(self: Batch, changes: Any) -> Any:
        if changes[0].key == "free":
            began.set()
            await goes_on.wait()
        return await real(self, changes)

    async def write(key: str, limit: int | None) -> None:
        quota = None if limit is None else Quota(whole=Ceiling(bytes=limit))
        change = Write(key, FORTY, 40, key, NEVER, {})
        await engine.apply(place, [change], Actor("writer", "run-1", now, None, quota))

    async def all_of_them() -> None:
        free = asyncio.create_task(write("free", None))
        await began.wait()
        await write("first", 100)
        goes_on.set()
        await free
        with pytest.raises(UserQuotaExceeded):
            await write("second", 100)

    monkeypatch.setattr(Batch, "run", held_up)
    large_world.loop.run(all_of_them())


@pytest.mark.parametrize("large_world", ["postgresql", "sqlite"], indirect=True)
def test_a_transaction_that_began_before_its_owner_was_counted_counts(
    large_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, place, now = large_world.store.engine, Place("alice", "n"), large_world.clock.now()
    real, began, goes_on = atomics._require, asyncio.Event(), asyncio.Event()
    first, others = Write("a", FORTY, 40, "a", NEVER, {}), [Write(key, FORTY, 40, key, NEVER, {}) for key in "bc"]

    async def held_up(*args: Any) -> Any:
        found = await real(*args)
        began.set()
        if large_world.backend == "postgresql":  # The other has one writer at a time.
            await goes_on.wait()
        return found

    async def all_of_them() -> None:
        limited = Actor("writer", "run-1", now, None, Quota(whole=Ceiling(bytes=100)))
        steps: list[Step] = [(place, Requirement("none", None)), (place, first)]
        free = asyncio.create_task(engine.atomic(steps, Actor("writer", "run-1", now)))
        await began.wait()
        await engine.apply(place, others[:1], limited)
        goes_on.set()
        await free
        with pytest.raises(UserQuotaExceeded):
            await engine.apply(place, others[1:], limited)

    monkeypatch.setattr(atomics, "_require", held_up)
    large_world.loop.run(all_of_them())


def test_many_that_overwrite_one_key_beyond_a_lowered_limit_all_do(large_world: World) -> None:
    large_world.agent().set_many({"a": FORTY, "b": FORTY})
    scope = Scope(user="alice", agent="writer", limits=Limits(user_bytes=60))
    overwriting = Apply(namespace="default", mutations=(Put(key="a", value=FORTY),))

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(large_world.store.execute(scope, overwriting) for _ in range(20)))

    assert [answer.changed for answer in large_world.loop.run(all_of_them())] == [1] * 20
    assert used(large_world.agent()) == (80, 2)


def test_what_would_not_be_written_anyway_is_not_refused_for_its_size(the_world: World) -> None:
    store = limited(the_world, namespace_bytes=80)
    store.set_many({"a": FORTY, "b": FORTY})
    assert not store.add("a", FORTY + "x")
    with pytest.raises(Conflict):
        store.set("a", FORTY + "x", if_version="another")
    now, quota = the_world.clock.now(), Quota(each=Ceiling(bytes=80))
    larger = [replace(entry(now, key), size_bytes=50) for key in "ab"]
    place = Place("alice", "default")
    restored = the_world.store.engine.restore(place, larger, now, replace=False, quota=quota)
    assert sorted(the_world.loop.run(restored)) == ["a", "b"]


def test_a_batch_that_meets_the_limit_when_it_merges_again_says_how_many_were_written(
    the_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, store = the_world.agent(), limited(the_world, namespace_bytes=100)
    store.set_many({"a": "x" * 28, "b": "x" * 8})
    merge, others = merging.merge, [Put(key="z", value=1), Put(key="b", value=1)]

    async def overtaken(*given: Any) -> Any:
        merged = await merge(*given)
        await the_world.store.execute(
            operator_scope("alice", "tests"), Apply(namespace="default", mutations=(others.pop(),))
        )
        return merged

    monkeypatch.setattr(merging, "merge", overtaken)
    with pytest.raises(NamespaceQuotaExceeded, match=r"^1 of 2 were written; then: ") as refused:
        store.set_many({"a": FORTY[:28], "b": "x" * 60}, {"m": 1})
    assert refused.value.done == 1
    assert free.get_all() == {"a": FORTY[:28], "b": 1, "z": 1}


async def drift(world: World) -> None:
    engine = bare(world.store.engine)
    if isinstance(engine, SqlBackend):
        await engine._runner.run(lambda job: job.execute(update(counters).values(held_bytes=10**9)), writes=True)
    elif isinstance(engine, MongoBackend):
        drifted = [UpdateOne({"_id": name}, {"$set": {"bytes": 10**9}}) for name in ("alice", "alice:default")]
        await engine._reservations._counters.bulk_write(drifted)


def test_what_an_operator_puts_back_stays_within_the_quota(the_world: World) -> None:
    now, quota = the_world.clock.now(), Quota(each=Ceiling(bytes=10, keys=3))
    given = [entry(now, "a"), entry(now, "b")]

    def restore(*entries: Any, replacing: bool = False) -> list[str]:
        engine = the_world.store.engine
        return the_world.loop.run(engine.restore(HERE, entries, now, replace=replacing, quota=quota))

    assert restore(*given) == []
    assert restore(*given, replacing=True) == []
    assert restore(*given) == ["a", "b"]
    with pytest.raises(NamespaceQuotaExceeded):
        restore(replace(given[0], size_bytes=6), replacing=True)
    with pytest.raises(NamespaceQuotaExceeded):
        restore(*given, entry(now, "c"))
    assert the_world.agent().list_keys() == ["a", "b"]
    other = Place("alice", "other")
    assert the_world.loop.run(the_world.store.engine.restore(other, given, now, replace=False, quota=quota)) == []


def test_a_refusal_for_another_reason_takes_no_room(the_world: World) -> None:
    store = limited(the_world, namespace_bytes=80)
    store.set("a", FORTY)
    for _ in range(3):
        assert not store.add("a", FORTY)
        with pytest.raises(DataStoreError, match="changed by someone else"):
            store.set("a", FORTY, if_version="another")
        with pytest.raises(DataStoreError, match="needs a number"):
            store.incr("a")
    store.set("b", FORTY)
    assert used(store) == (80, 2)


@pytest.mark.slow
def test_a_copy_into_a_private_namespace_that_fills_up_says_how_many_were_copied(the_world: World) -> None:
    free, store = the_world.agent(), limited(the_world, namespace_keys=1200)
    free.use_namespace("source").set_many({f"k{number:04}": 1 for number in range(1500)})
    with pytest.raises(NamespaceQuotaExceeded, match=r"1,000 entries were copied.*namespace 'self' holds") as refused:
        store.use_namespace("source").copy_to("self")
    assert (refused.value.namespace, refused.value.done) == ("self", 1000)
