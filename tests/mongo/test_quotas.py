"""What a quota costs on a real server, and that it holds whatever comes between two steps of a reservation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import pymongo
import pytest

from datastore import Limits, Scope, Settings, values
from datastore.backends.mongo import MongoBackend
from datastore.backends.mongo.batch import Batch
from datastore.backends.mongo.reservations import Request, Reservations
from datastore.errors import QuotaExceeded, StoreUnavailable
from datastore.ports import Change, Renewal
from datastore.quotas import Amount, Ceiling, Quota
from sandbox import ConnectedDataStore, connect
from tests.mongo.test_verb_round_trips import COSTS, HUNDRED, Call
from tests.mongo.words import HERE, LATER, NOW, RealClock, StillClock, Trips, at, still, write
from tests.world import ManualClock

AMPLE = Limits(user_bytes=10**9, user_keys=10**6, namespace_bytes=10**9, namespace_keys=10**6)
WANTED = (
    "get",
    "set of a new entry",
    "set over an expired entry",
    "set with metadata of an existing entry",
    "add of a new entry",
    "incr of a new number",
    "update",
    "delete",
    "touch",
    "set_many of a hundred existing",
    "copy_to of a page",
)
CHOSEN = [each for each in COSTS if each[0] in WANTED]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def agent(backend: MongoBackend, clock: ManualClock, trips: Trips) -> AsyncIterator[ConnectedDataStore]:
    """As where verbs are counted without quotas, but every write has one, and there is much room."""
    store = still(backend, clock)
    scope = Scope(user="alice", agent="a", limits=AMPLE)
    connected = connect(store, scope=scope).use_namespace("n")
    await connected.aio.set_many({f"left{i:03}": i for i in range(100)}, ttl_seconds=1)
    clock.advance(2)
    await connected.aio.set_many(HUNDRED)
    await connected.aio.set("live", 1)
    await connected.aio.set("noted", 1, {"m": 1})
    await connected.use_namespace("elsewhere").aio.set("k", 1)
    await store.flush()
    await backend._reservations.aclose()
    trips.take()
    yield connected
    await store.aclose()


def before_the_answer(trips: Trips) -> list[dict[str, Any]]:
    """The commands but those that settle, which nothing waits for."""
    return [each for each in trips.commands if not _settles(each)]


def _settles(command: dict[str, Any]) -> bool:
    return "counters" in str(command.get("update")) and not any(each["u"].get("$set") for each in command["updates"])


@pytest.mark.parametrize(("call", "without"), [each[1:] for each in CHOSEN], ids=WANTED)
async def test_a_quota_costs_one_trip_more_at_most(
    agent: ConnectedDataStore, trips: Trips, call: Call, without: int
) -> None:
    await call(agent.aio)
    assert len(before_the_answer(trips)) <= without + 1


async def test_every_mark_is_taken_away_and_what_is_counted_is_no_less_than_what_stands(
    agent: ConnectedDataStore, backend: MongoBackend, url: str
) -> None:
    await agent.aio.set_many({f"k{i:03}": "x" * 100 for i in range(100)})
    await agent.aio.incr("n")
    await agent.aio.add("new", 1)
    await agent.aio.clear("k05")
    await backend._reservations.aclose()
    usage = {"": await agent.aio.usage()}
    for name in ("n", "elsewhere"):
        entries = [each async for each in agent.use_namespace(name).aio.items()]
        usage[name] = {"keys": len(entries), "bytes": sum(values.size(each) for _, each in entries)}
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        found = {each["_id"]: each for each in database["entries_counters"].find({})}
        database.drop_collection("entries_counters")
    assert set(found) == {"alice", "alice:n", "alice:elsewhere"}
    for name, each in found.items():
        assert each["marks"] == {}
        assert each["bytes"] >= usage[name.partition(":")[2]]["bytes"]
        assert each["keys"] >= usage[name.partition(":")[2]]["keys"]


TEN: Final = Quota(Ceiling(None, 10), Ceiling())


@pytest.fixture
async def other(url: str) -> AsyncIterator[MongoBackend]:
    """Another host."""
    opened = await MongoBackend.open(url, Settings(), RealClock())
    yield opened
    await opened.aclose()


async def test_what_another_host_wrote_while_the_counters_are_summed_up_counts_when_it_meets_the_quota(
    backend: MongoBackend, other: MongoBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = Reservations._sums

    async def overtaken(self: Reservations, request: Request, now: datetime) -> dict[str, Amount]:
        monkeypatch.undo()
        held = await sums(self, request, now)
        await other.apply(HERE, [write(f"free{number}") for number in range(5)], at())
        await other._reservations._close(HERE.owner)
        return held

    monkeypatch.setattr(Reservations, "_sums", overtaken)
    await filled(backend)


async def test_a_write_without_a_quota_that_ends_while_the_first_quota_is_met_counts(
    backend: MongoBackend, other: MongoBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host sums up the counters in the very moment after this one has closed them."""
    await other.apply(HERE, [write("theirs")], replace(at(), quota=TEN))
    run, close, begun, release = Batch.run, Reservations._close, asyncio.Event(), asyncio.Event()

    async def slow(self: Batch, changes: Sequence[Change]) -> Any:
        begun.set()
        await release.wait()
        return await run(self, changes)

    monkeypatch.setattr(Batch, "run", slow)
    free = asyncio.create_task(backend.apply(HERE, [write(f"free{number}") for number in range(5)], at()))
    await begun.wait()
    monkeypatch.undo()

    async def answered_late(self: Reservations, owner: str) -> None:
        monkeypatch.undo()
        await close(self, owner)
        await other.apply(HERE, [write("theirs too")], replace(at(), quota=TEN))
        release.set()
        await free

    monkeypatch.setattr(Reservations, "_close", answered_late)
    await filled(backend)


async def test_no_sum_is_made_while_an_entry_is_renewed(
    backend: MongoBackend, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = await MongoBackend.open(url, Settings(operation_timeout_seconds=2), StillClock())
    await filled(backend)
    run, is_reserved, goes_on = Batch.run, asyncio.Event(), asyncio.Event()

    async def held_up(self: Batch, changes: Any) -> Any:
        monkeypatch.undo()
        is_reserved.set()
        await goes_on.wait()
        return await run(self, changes)

    monkeypatch.setattr(Batch, "run", held_up)
    limited = replace(at(), quota=TEN)
    renewing = asyncio.create_task(backend.apply(HERE, [Renewal("k0", LATER)], limited))
    await is_reserved.wait()
    try:
        with pytest.raises(StoreUnavailable, match="Nothing was written"):
            await hasty.apply(HERE, [write("beyond")], limited)
    finally:
        goes_on.set()
        await hasty.aclose()
    assert (await renewing).changed == 1


async def filled(backend: MongoBackend) -> None:
    """Write until there is no room, and see that there are ten keys then."""

    async def fill() -> None:
        for number in range(20):
            await backend.apply(HERE, [write(f"k{number}")], replace(at(), quota=TEN))

    with pytest.raises(QuotaExceeded):
        await fill()
    assert (await backend.usage(HERE.owner, NOW))[HERE.namespace].keys == 10
