"""Who read what, and how often: counted for reads alone, merged, written later, and never at the cost of a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datastore import Entry, Scope, Settings, open_store
from datastore.models import operator_scope
from datastore.operations import Apply, Get, Put
from sandbox.guest.verbs import DataStore
from tests.world import Loop, World


def entry_of(world: World, key: str = "k") -> Entry:
    """Look at an entry as an operator, which is not counted."""
    answer: Any = world.loop.run(
        world.store.execute(operator_scope("alice", "tests"), Get(namespace="default", keys=(key,), detail="entry"))
    )
    found: Entry = answer.items[0]
    return found


def test_reads_are_counted_by_the_verbs_that_return_values(the_world: World) -> None:
    store = the_world.agent(agent="reader")
    store.set("k", 1)
    store.get("k")
    store.get_entry("k")
    store.get_many(["k"])
    store.get_all()
    list(store.items())
    assert store["k"] == 1
    the_world.flush()
    entry = entry_of(the_world)
    assert (entry.access_count, entry.last_accessed_by_agent) == (6, "reader")
    assert entry.last_accessed_at == the_world.clock.now()


def test_nothing_else_counts_as_a_read(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    store.set("k", 2, {"m": 1})
    store.exists("k")
    store.expires_in("k")
    store.touch("k", 60)
    store.add("k", 1)
    store.list_keys()
    list(store.keys())
    store.count()
    store.usage()
    store.list_namespaces()
    store.copy_to("elsewhere")
    the_world.flush()
    entry = entry_of(the_world)
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (0, None, None)


def test_an_operators_look_is_not_counted(the_world: World) -> None:
    the_world.agent().set("k", 1)
    entry_of(the_world)
    the_world.flush()
    assert entry_of(the_world).access_count == 0


def test_a_read_changes_neither_version_nor_updated_at_nor_expiry(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=60)
    before = entry_of(the_world)
    the_world.clock.advance(5)
    store.get("k")
    the_world.flush()
    after = entry_of(the_world)
    assert (after.version, after.updated_at, after.expires_at) == (before.version, before.updated_at, before.expires_at)


def test_reads_of_several_agents_add_up_and_the_last_one_is_named(the_world: World) -> None:
    first, second = the_world.agent(agent="first"), the_world.agent(agent="second")
    first.set("k", 1)
    first.get("k")
    the_world.clock.advance(1)
    second.get("k")
    second.get("k")
    the_world.flush()
    assert (entry_of(the_world).access_count, entry_of(the_world).last_accessed_by_agent) == (3, "second")


def test_a_read_before_a_write_never_undoes_it(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    store.get("k")
    store.set("k", 2)
    the_world.flush()
    assert (store.get("k"), entry_of(the_world).access_count) == (2, 1)


def by_delete(store: DataStore) -> None:
    store.delete("k")


def by_delete_many(store: DataStore) -> None:
    store.delete_many(["k"])


def by_clear(store: DataStore) -> None:
    store.clear()


@pytest.mark.parametrize("remove", [by_delete, by_delete_many, by_clear])
def test_a_flush_after_a_removal_changes_nothing(the_world: World, remove: Callable[[DataStore], None]) -> None:
    store = the_world.agent()
    store.set("k", 1)
    store.get("k")
    remove(store)
    the_world.flush()
    assert store.exists("k") is False


def test_counts_of_a_removed_entry_do_not_pass_to_its_successor(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    store.get("k")
    store.delete("k")
    store.set("k", 2)
    the_world.flush()
    assert entry_of(the_world).access_count == 0


def test_a_late_flush_of_another_host_does_not_count_for_a_re_creation(the_world: World) -> None:
    """The other host's buffer is not told of the removal; the creation time keeps its counts away."""
    store = the_world.agent()
    store.set("k", 1)
    store.get("k")
    engine, tracking = the_world.store.engine, the_world.store._tracking
    late = list(tracking._pending.values())
    assert len(late) == 1
    store.delete("k")
    the_world.clock.advance(1)
    store.set("k", 2)
    the_world.loop.run(engine.record(late))
    assert entry_of(the_world).access_count == 0


def test_counts_that_could_not_be_written_wait_for_the_next_flush(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1)
    store.get("k")
    tracking, engine = the_world.store._tracking, the_world.store.engine

    class Away:
        async def record(self, _: object) -> None:
            raise ConnectionError

    tracking._backend = Away()  # type: ignore[assignment]  # an engine that is away
    with pytest.raises(ConnectionError):
        the_world.flush()
    tracking._backend = engine
    store.get("k")
    the_world.flush()
    assert entry_of(the_world).access_count == 2


def test_reads_are_written_by_themselves_within_the_interval(host_loop: Loop, tmp_path: Path) -> None:
    """The flush is waited for, not timed: an event tells that the engine was given the counts."""

    async def read_and_wait() -> list[Any]:
        settings = Settings(flush_seconds=0.01)
        async with open_store(f"sqlite:///{tmp_path / 'store.db'}", settings=settings) as store:
            scope, written, given = Scope(user="alice", agent="reader"), asyncio.Event(), []
            record = store.engine.record

            async def listening(accesses: Any) -> None:
                await record(accesses)
                given.extend(accesses)
                if sum(each.count for each in given) == 3:  # A busy machine may write them in several parts.
                    written.set()

            store.engine.record = listening  # type: ignore[method-assign]  # the same, heard
            await store.execute(scope, Apply(namespace="n", mutations=(Put(key="k"),)))
            for _ in range(3):
                await store.execute(scope, Get(namespace="n", keys=("k",)))
            async with asyncio.timeout(30):
                await written.wait()
            return given

    given = host_loop.run(read_and_wait())
    assert {(access.key, access.agent) for access in given} == {("k", "reader")}


def test_a_full_buffer_drops_counts_and_says_so(
    the_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("datastore.service.tracking.MOST_PENDING", 2)
    store = the_world.agent()
    store.set_many({"a": 1, "b": 2, "c": 3})
    store.get_all()
    store.get_many(["a", "b"])
    the_world.flush()
    assert [entry_of(the_world, key).access_count for key in "abc"] == [2, 2, 0]
    assert "1 reads were not counted: the buffer of 2 entries was full" in caplog.text


def test_concurrent_reads_are_all_counted(the_world: World) -> None:
    the_world.agent().set("k", 1)
    scope = Scope(user="alice", agent="reader")

    async def read_often() -> None:
        get = Get(namespace="default", keys=("k",))
        await asyncio.gather(*(the_world.store.execute(scope, get) for _ in range(50)))

    the_world.loop.run(read_often())
    the_world.flush()
    assert entry_of(the_world).access_count == 50
