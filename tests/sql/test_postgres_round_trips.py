"""What each operation costs, counted on the wire between a store and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from datastore import Scope, Store
from datastore.backends.sql import SqlBackend
from datastore.document import Span
from datastore.ports import Access, Increment, Removal, Renewal
from sandbox import connect
from tests.sql.wire import Wire, between
from tests.sql.words import HERE, Clock, actor, apply, at, opened, put

WARM = 6  # the driver prepares what it has sent five times, with a round trip of its own
HUNDRED = [f"h{number:03}" for number in range(100)]
Call = Callable[[SqlBackend], Awaitable[object]]


@pytest.fixture
async def wire(postgres_url: str) -> AsyncIterator[tuple[Wire, str]]:
    async with between(postgres_url) as (wire, url):
        yield wire, url


@pytest.fixture
async def backend(wire: tuple[Wire, str], clock: Clock) -> AsyncIterator[SqlBackend]:
    store = await opened(wire[1], clock)
    await apply(store, put("live", metadata={"m": 1}), put("old", expires_at=at(1)))
    await apply(store, *(put(key) for key in HUNDRED))
    yield store
    await store.aclose()


COSTS: list[tuple[str, Call, int]] = [
    ("get", lambda s: s.get(HERE, ["live"], at(2)), 1),
    ("get of none", lambda s: s.get(HERE, ["none"], at(2)), 1),
    ("get of a hundred", lambda s: s.get(HERE, HUNDRED, at(2)), 1),
    ("peek", lambda s: s.peek(HERE, HUNDRED, at(2)), 1),
    ("scan", lambda s: s.scan(HERE, Span(), at(2)), 1),
    ("keys", lambda s: s.keys(HERE, Span(), at(2)), 1),
    ("count", lambda s: s.count(HERE, "", at(2)), 1),
    ("namespaces", lambda s: s.namespaces("alice", "", at(2)), 1),
    ("usage", lambda s: s.usage("alice", at(2)), 1),
    ("owners", lambda s: s.owners(None, 9, at(2)), 1),
    ("survey", lambda s: s.survey("", None, 9), 1),
    ("outline", lambda s: s.outline(HERE, Span(), at(2)), 1),
    ("put", lambda s: apply(s, put("live"), seconds=2), 1),
    ("put over a leftover", lambda s: apply(s, put("old", expires_at=at(1)), seconds=2), 1),
    ("put of a hundred", lambda s: apply(s, *(put(key) for key in HUNDRED), seconds=2), 1),
    ("add of a leftover", lambda s: apply(s, put("old", expires_at=at(1), if_absent=True), seconds=2), 1),
    ("add that loses", lambda s: apply(s, put("live", if_absent=True), seconds=2), 2),
    ("put at a version", lambda s: apply(s, put("live", if_version="v1"), seconds=2), 1),
    ("put at another version", lambda s: apply(s, put("live", if_version="v0"), seconds=2), 2),
    ("puts of a hundred at versions", lambda s: apply(s, *(put(key, if_version="v1") for key in HUNDRED)), 3),
    ("removal", lambda s: apply(s, Removal("none"), seconds=2), 1),
    ("removal of a hundred", lambda s: apply(s, *(Removal(f"x{key}") for key in HUNDRED), seconds=2), 1),
    ("increment", lambda s: s.increment(HERE, Increment("n", 1, 0, "v1", None), actor()), 1),
    ("renewal", lambda s: apply(s, Renewal("live", at(99)), seconds=2), 1),
    ("record of a hundred", lambda s: s.record([Access(HERE, key, at(0), "r", 1, at(2)) for key in HUNDRED]), 1),
    ("clear", lambda s: s.clear(HERE, "none", at(2)), 1),
]


@pytest.mark.parametrize(("call", "trips"), [each[1:] for each in COSTS], ids=[each[0] for each in COSTS])
async def test_an_operation_takes_this_many_round_trips(
    backend: SqlBackend, wire: tuple[Wire, str], call: Call, trips: int
) -> None:
    for _ in range(WARM):
        await call(backend)
    wire[0].take()

    await call(backend)

    assert wire[0].take() == trips


async def test_a_clear_of_thousands_takes_one_round_trip(backend: SqlBackend, wire: tuple[Wire, str]) -> None:
    for start in range(0, 5000, 1000):
        await apply(backend, *(put(f"k{start + number}") for number in range(1000)))
    wire[0].take()

    assert await backend.clear(HERE, "k", at(2)) == 5000
    assert wire[0].take() == 1


async def test_a_connection_is_made_once_and_given_back(backend: SqlBackend, wire: tuple[Wire, str]) -> None:
    await asyncio.gather(*(backend.get(HERE, ["live"], at(2)) for _ in range(100)))
    wire[0].take()

    await asyncio.gather(*(backend.get(HERE, ["live"], at(2)) for _ in range(100)))

    assert wire[0].take() <= 100 + 10  # as many as there are connections, for preparing
    assert wire[0].connections <= 10


VERBS: list[tuple[str, Callable[[Any], Any], int]] = [
    ("get", lambda s: s.get("live"), 1),
    ("set", lambda s: s.set("live", 1), 1),
    ("set with metadata", lambda s: s.set("live", 1, {"a": 1}), 2),
    ("add", lambda s: s.add("live", 1), 2),
    ("incr", lambda s: s.incr("n"), 1),
    ("delete", lambda s: s.delete("none"), 1),
    ("exists", lambda s: s.exists("live"), 1),
    ("touch", lambda s: s.touch("live", 60), 1),
    ("get_many", lambda s: s.get_many(HUNDRED), 1),
    ("set_many", lambda s: s.set_many(dict.fromkeys(HUNDRED, 1)), 1),
    ("delete_many", lambda s: s.delete_many(HUNDRED), 1),
    ("count", lambda s: s.count(), 1),
    ("list_namespaces", lambda s: s.list_namespaces(), 1),
    ("list_keys", lambda s: s.list_keys(), 1),
    ("get_all", lambda s: s.get_all(), 1),
    ("clear", lambda s: s.clear("none"), 1),
]


@pytest.mark.parametrize(("call", "trips"), [each[1:] for each in VERBS], ids=[each[0] for each in VERBS])
async def test_a_verb_takes_this_many_round_trips(
    wire: tuple[Wire, str], backend: SqlBackend, clock: Clock, call: Callable[[Any], Any], trips: int
) -> None:
    store = Store(backend, clock=clock, flush_seconds=3600, overrides_seconds=3600, fresh_seconds=3600)
    agent = connect(store, scope=Scope(user="alice", agent="writer")).use_namespace("notes")
    for _ in range(WARM):
        await call(agent.aio)
    await backend.apply(HERE, [put("live")], actor(1))
    wire[0].take()

    await call(agent.aio)

    assert wire[0].take() == trips
    await store.flush()
