"""What a verb costs on a real server, from the agent's call down to the commands that the driver sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from datastore import Grant, Scope
from datastore.backends.mongo import MongoBackend
from datastore.errors import AccessDenied, InvalidName, ValueNotStorable
from datastore.service.audit import Audit
from datastore.service.store import Store
from sandbox import ConnectedDataStore, connect
from tests.mongo.words import Trips, still
from tests.world import NEVER_FLUSH, ManualClock

HUNDRED = {f"k{i:03}": i for i in range(100)}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(backend: MongoBackend, clock: ManualClock) -> AsyncIterator[Store]:
    opened = still(backend, clock)
    yield opened
    await opened.aclose()


@pytest.fixture
async def agent(store: Store, clock: ManualClock, trips: Trips) -> ConnectedDataStore:
    """A namespace with a live entry, one with metadata, a hundred more, and a hundred that have expired."""
    connected = connect(store, user="alice", agent="a").use_namespace("n")
    await connected.aio.set_many({f"left{i:03}": i for i in range(100)}, ttl_seconds=1)
    clock.advance(2)
    await connected.aio.set_many(HUNDRED)
    await connected.aio.set("live", 1)
    await connected.aio.set("noted", 1, {"m": 1})
    await store.flush()
    trips.take()
    return connected


Call = Callable[[Any], Any]

COSTS: list[tuple[str, Call, int]] = [
    ("get", lambda s: s.get("live"), 1),
    ("get of an absent entry", lambda s: s.get("absent"), 1),
    ("get of an expired entry", lambda s: s.get("left001"), 1),
    ("get_entry", lambda s: s.get_entry("noted"), 1),
    ("exists", lambda s: s.exists("live"), 1),
    ("expires_in", lambda s: s.expires_in("live"), 1),
    ("set of a new entry", lambda s: s.set("new", 1), 1),
    ("set of an existing entry", lambda s: s.set("live", 2), 1),
    ("set over an expired entry", lambda s: s.set("left001", 1), 2),
    ("set with metadata of a new entry", lambda s: s.set("new", 1, {"a": 1}), 2),
    ("set with metadata of an existing entry", lambda s: s.set("noted", 1, {"a": 1}), 2),
    ("set with metadata over an expired entry", lambda s: s.set("left001", 1, {"a": 1}), 2),
    ("add of a new entry", lambda s: s.add("new", 1), 1),
    ("add over an expired entry", lambda s: s.add("left001", 1), 1),
    ("add of an existing entry", lambda s: s.add("live", 1), 2),
    ("incr of a new number", lambda s: s.incr("new"), 1),
    ("incr of an existing number", lambda s: s.incr("live", 5, initial=3), 1),
    ("incr by a float", lambda s: s.incr("live", 0.5), 1),
    ("incr of a new number that begins elsewhere", lambda s: s.incr("new", initial=3), 2),
    ("incr of an expired number", lambda s: s.incr("left001"), 2),
    ("update", lambda s: s.update("live", lambda n: n + 1), 2),
    ("update of an absent entry", lambda s: s.update("new", lambda n: n + 1, 0), 2),
    ("delete", lambda s: s.delete("live"), 1),
    ("delete of an absent entry", lambda s: s.delete("absent"), 1),
    ("delete of an expired entry", lambda s: s.delete("left001"), 1),
    ("touch", lambda s: s.touch("live", 60), 1),
    ("touch of an expired entry", lambda s: s.touch("left001", 60), 1),
    ("get_many of a hundred", lambda s: s.get_many(HUNDRED), 1),
    ("set_many of a hundred new", lambda s: s.set_many({f"new{i}": i for i in range(100)}), 1),
    ("set_many of a hundred existing", lambda s: s.set_many(HUNDRED), 1),
    ("set_many of a hundred expired", lambda s: s.set_many({f"left{i:03}": 1 for i in range(100)}), 2),
    ("set_many with metadata of a hundred new", lambda s: s.set_many({f"new{i}": i for i in range(100)}, {"a": 1}), 2),
    ("set_many with metadata of a hundred existing", lambda s: s.set_many(HUNDRED, {"a": 1}), 2),
    ("delete_many of a hundred", lambda s: s.delete_many(HUNDRED), 1),
    ("count", lambda s: s.count(), 1),
    ("list_keys", lambda s: s.list_keys(), 1),
    ("list_keys reversed from the middle", lambda s: s.list_keys(after="k050", reverse=True), 1),
    ("get_all", lambda s: s.get_all(), 1),
    ("list_namespaces", lambda s: s.list_namespaces(), 1),
    ("usage", lambda s: s.usage(), 1),
    ("clear", lambda s: s.clear(), 1),
    ("copy_to of a page", lambda s: s.copy_to("elsewhere"), 2),
]


@pytest.mark.parametrize(("call", "trips_expected"), [each[1:] for each in COSTS], ids=[each[0] for each in COSTS])
async def test_a_verb_takes_this_many_round_trips(
    agent: ConnectedDataStore, trips: Trips, call: Call, trips_expected: int
) -> None:
    await call(agent.aio)
    commands = trips.take()
    assert len(commands) == trips_expected, commands


async def test_a_thousand_entries_and_more_are_read_at_one_trip_a_page(agent: ConnectedDataStore, trips: Trips) -> None:
    big = agent.use_namespace("big").aio
    await big.set_many({f"k{i:04}": i for i in range(2500)})
    trips.take()
    assert len(await big.list_keys()) == len(await big.get_all()) == 2500
    assert trips.take() == ["find"] * 6


async def test_a_hundred_gets_that_begin_together_take_two_trips(agent: ConnectedDataStore, trips: Trips) -> None:
    assert await asyncio.gather(*(agent.aio.get(key) for key in HUNDRED)) == list(HUNDRED.values())
    assert trips.take() == ["find"] * 2


async def test_all_reads_between_two_flushes_are_written_in_one_trip(
    agent: ConnectedDataStore, store: Store, trips: Trips
) -> None:
    await asyncio.gather(*(agent.aio.get(key) for key in HUNDRED), agent.aio.get_all(), agent.aio.get("live"))
    trips.take()
    await store.flush()
    assert trips.take() == ["update"]
    await store.flush()
    assert trips.take() == []


async def test_the_audit_log_adds_no_trip_before_an_answer_and_one_for_all_rows_of_a_flush(
    backend: MongoBackend, clock: ManualClock, trips: Trips
) -> None:
    store = still(backend, clock, Audit(backend, clock, "all", flush_seconds=NEVER_FLUSH))
    agent = connect(store, user="alice", agent="a").use_namespace("n")
    await store.blocks.refuse("alice")
    await store.quotas.overrides.look()
    trips.take()
    for call, commands in (
        (lambda: agent.aio.set("k", 1), ["update"]),
        (lambda: agent.aio.get("k"), ["find"]),
        (lambda: agent.aio.set_many(HUNDRED), ["update"]),
        (lambda: agent.aio.get_many(HUNDRED), ["find"]),
        (agent.aio.get_all, ["find"]),
        (agent.aio.clear, ["delete"]),
    ):
        await call()
        assert trips.take() == commands
    await store.audit.flush()
    [command] = trips.commands
    assert (command["update"], len(command["updates"])) == ("entries.audit", 1 + 1 + 100 + 100 + 101 + 1)
    await store.aclose()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.use_namespace("other").get("k"), AccessDenied),
        (lambda s: s.use_namespace("other").set("k", 1), AccessDenied),
        (lambda s: s.use_namespace("n").clear(), AccessDenied),
        (lambda s: s.get(5), InvalidName),
        (lambda s: s.set("k", {1}), ValueNotStorable),
    ],
)
async def test_a_refusal_is_decided_before_the_engine_is_asked(
    store: Store, trips: Trips, call: Call, error: type[Exception]
) -> None:
    grants = (Grant(namespace="n", access="read"),)
    bounded = connect(store, scope=Scope(user="alice", agent="a", grants=grants)).use_namespace("n")
    trips.take()
    with pytest.raises(error):
        await call(bounded.aio)
    assert trips.take() == []
