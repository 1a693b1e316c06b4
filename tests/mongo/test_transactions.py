"""What a real server shows of an atomic operation: its trips, its conflicts, and what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from pymongo.collection import Collection

from datastore.backends.mongo import MongoBackend
from datastore.backends.mongo.transactions import Transaction
from datastore.deadlines import TIMEOUT_SECONDS
from datastore.document import Place
from datastore.errors import NotANumber, NotSupported, StoreUnavailable
from datastore.ports import Increment, Removal, Requirement, Step
from datastore.settings import Settings
from tests.mongo.proxy import Proxy, between
from tests.mongo.words import HERE, LATER, NOW, RealClock, Trips, at, increment, write
from tests.servers.mongo import standalone

ELSEWHERE = Place("alice", "elsewhere")
BOUND_SECONDS = 60


@pytest.fixture
async def ready(backend: MongoBackend, trips: Trips) -> MongoBackend:
    """Two live entries, and one that has expired."""
    await backend.apply(HERE, [write("a", 1), write("b", 1), write("left", "x", expires_at=NOW)], at())
    trips.take()
    return backend


@pytest.mark.parametrize(
    ("steps", "commands"),
    [
        ([(HERE, write("new")), (ELSEWHERE, write("new"))], ["update", "commitTransaction"]),
        ([(HERE, increment("a")), (HERE, increment("b"))], ["update", "commitTransaction"]),
        ([(HERE, Increment("a", -5, 0, "v", None)), (HERE, increment("new", 7))], ["update", "commitTransaction"]),
        ([(HERE, Requirement("a", "v1")), (HERE, write("b"))], ["update", "commitTransaction"]),
        ([(HERE, Requirement("new", None)), (HERE, write("b"))], ["update", "commitTransaction"]),
        ([(HERE, Requirement("left", None)), (HERE, write("left2"))], ["update", "commitTransaction"]),
        ([(HERE, write("left")), (HERE, increment("left2"))], ["update", "commitTransaction"]),
        ([(HERE, write("left", if_absent=True)), (HERE, write("a", if_version="v1"))], ["update", "commitTransaction"]),
        ([(HERE, Removal("a")), (HERE, Removal("b", "v1"))], ["update", "delete", "commitTransaction"]),
        ([(HERE, Removal("a")), (HERE, write("b"))], ["update", "delete", "commitTransaction"]),
        ([(HERE, Requirement("a", "v0")), (HERE, write("b"))], ["update", "abortTransaction", "find"]),
    ],
)
async def test_an_atomic_operation_takes_two_trips_three_where_it_removes(
    ready: MongoBackend, trips: Trips, steps: list[Step], commands: list[str]
) -> None:
    answer = await ready.atomic(steps, at())
    assert trips.take() == commands
    assert all(each.applied for each in answer.outcomes) is (commands[-1] != "find")


async def test_an_increment_of_something_else_ends_the_transaction(ready: MongoBackend, trips: Trips) -> None:
    await ready.apply(HERE, [write("text")], at())
    trips.take()
    with pytest.raises(NotANumber):
        await ready.atomic([(HERE, write("a", 2)), (HERE, increment("text"))], at())
    assert trips.take() == ["update", "abortTransaction", "find"]
    assert (await ready.get(HERE, ["a"], NOW))[0][0].value == 1


async def test_every_statement_is_durable_in_a_snapshot_and_has_a_deadline(ready: MongoBackend, trips: Trips) -> None:
    await ready.atomic([(HERE, write("new")), (HERE, Removal("a"))], at())
    update, delete, commit = trips.commands
    assert update["readConcern"] == {"level": "snapshot"}
    assert commit["writeConcern"]["w"] == "majority"
    assert commit["writeConcern"]["j"] is True
    assert 0 < update["maxTimeMS"] <= 1000 * TIMEOUT_SECONDS
    assert (update["startTransaction"], delete["autocommit"], commit["autocommit"]) == (True, False, False)


@pytest.mark.parametrize("absent", [False, True])
async def test_two_that_each_require_what_the_other_writes_never_both_commit(
    ready: MongoBackend, monkeypatch: pytest.MonkeyPatch, *, absent: bool
) -> None:
    """The first waits with its commit until the second has met it, or has come as far as its own commit."""
    inside, met = asyncio.Event(), asyncio.Event()
    commit, attempt = Transaction._commit, Transaction._try

    async def held(transaction: Transaction) -> None:
        if inside.is_set():
            met.set()
        else:
            inside.set()
            await met.wait()
        await commit(transaction)

    async def watched(transaction: Transaction, requests: Any) -> int | None:
        answer = await attempt(transaction, requests)
        if answer is not None:
            met.set()
        return answer

    monkeypatch.setattr(Transaction, "_commit", held)
    monkeypatch.setattr(Transaction, "_try", watched)
    x, y = ("x", "y") if absent else ("a", "b")
    version = None if absent else "v1"
    async with asyncio.timeout(BOUND_SECONDS):
        first = asyncio.create_task(
            ready.atomic([(HERE, Requirement(x, version)), (HERE, write(y, "first", "v2"))], at())
        )
        await inside.wait()
        second = await ready.atomic([(HERE, Requirement(y, version)), (HERE, write(x, "second", "v3"))], at())
        assert [each.applied for each in (await first).outcomes] == [True, True]
    assert (second.outcomes[0].applied, second.outcomes[0].version) == (False, "v2")
    assert second.changed == 0
    entries, _ = await ready.get(HERE, [x, y], NOW)
    assert {each.key: each.value for each in entries} == {y: "first"} | ({} if absent else {x: 1})


async def test_a_plain_write_that_meets_an_open_transaction_comes_after_it(
    ready: MongoBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go = asyncio.Event(), asyncio.Event()
    commit = Transaction._commit

    async def held(transaction: Transaction) -> None:
        inside.set()
        await go.wait()
        await commit(transaction)

    monkeypatch.setattr(Transaction, "_commit", held)
    async with asyncio.timeout(BOUND_SECONDS):
        first = asyncio.create_task(ready.atomic([(HERE, increment("a")), (HERE, increment("n"))], at()))
        await inside.wait()
        later = [asyncio.create_task(ready.increment(HERE, increment(key), at())) for key in ("a", "n")]
        go.set()
        await first
        assert [(await each).number for each in later] == [3, 2]


async def test_what_stands_for_an_absent_key_is_never_alive_and_is_collected(
    ready: MongoBackend, stored: Collection[dict[str, Any]]
) -> None:
    await ready.atomic([(HERE, Requirement("none", None)), (HERE, Requirement("a", "v1"))], at())
    placeholder, guarded = stored.find_one({"key": "none"}), stored.find_one({"key": "a"})
    assert placeholder is not None
    assert guarded is not None
    names = {"_id": HERE.id("none"), "userId": "alice", "namespace": "notes", "key": "none"}
    assert placeholder == {**names, "guard": 1, "expiresAt": datetime(1970, 1, 1, tzinfo=UTC)}
    assert (guarded["guard"], guarded["version"], guarded["updatedAt"]) == (1, "v1", NOW)
    for change in (write("none", 2, "v2"), write("none", 3, "v3", if_absent=True)):
        await ready.apply(HERE, [change], at(LATER))
    [entry], _ = await ready.get(HERE, ["none"], LATER)
    assert (entry.value, entry.created_at, entry.access_count) == (2, LATER, 0)


async def test_a_refusal_that_no_longer_stands_begins_again(
    ready: MongoBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, meanwhile = Transaction._try, iter([True])

    async def too_late(transaction: Transaction, requests: Any) -> int | None:
        answer = await attempt(transaction, requests)
        if next(meanwhile, False):
            await ready.apply(HERE, [Removal("a")], at())
        return answer

    monkeypatch.setattr(Transaction, "_try", too_late)
    answer = await ready.atomic([(HERE, Requirement("a", None)), (HERE, write("n"))], at())
    assert [each.applied for each in answer.outcomes] == [True, True]


async def test_many_transfers_at_once_keep_their_sum(ready: MongoBackend) -> None:
    keys = [f"n{number}" for number in range(4)]
    await ready.apply(HERE, [write(key, 100) for key in keys], at())

    async def move(turn: int) -> None:
        source, target = keys[turn % 4], keys[(turn + 1) % 4]
        await ready.atomic(
            [(HERE, Increment(source, -turn, 0, "v", None)), (HERE, Increment(target, turn, 0, "v", None))], at()
        )

    async with asyncio.timeout(BOUND_SECONDS):
        await asyncio.gather(*map(move, range(40)))
    entries, _ = await ready.get(HERE, keys, NOW)
    assert sum(each.value for each in entries) == 400


@pytest.fixture
async def wire(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    async with between(url) as (proxy, over):
        yield proxy, over


@pytest.fixture
async def far(
    wire: tuple[Proxy, str], driver: Literal["motor", "pymongo"], forgetful_driver: None
) -> AsyncIterator[MongoBackend]:
    assert forgetful_driver is None
    settings = Settings(mongo_driver=driver, connect_timeout_seconds=10, operation_timeout_seconds=2)
    async with asyncio.timeout(BOUND_SECONDS):
        opened = await MongoBackend.open(wire[1], settings, RealClock())
        yield opened
        await opened.aclose()


@pytest.mark.parametrize("command", ["update", "commitTransaction"])
async def test_what_is_cut_off_is_made_once(
    far: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]], command: str
) -> None:
    wire[0].break_answers("cut", 1, command)
    answer = await far.atomic([(HERE, increment("a")), (HERE, increment("b"))], at())
    assert (wire[0].times, [each.applied for each in answer.outcomes]) == (0, [True, True])
    assert [each["value"] for each in stored.find().sort("key")] == [1, 1]


@pytest.mark.parametrize(("command", "told"), [("update", "Nothing was written"), ("commitTransaction", "may have")])
async def test_what_is_never_answered_ends_in_time_and_says_what_may_have_happened(
    far: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]], command: str, told: str
) -> None:
    wire[0].break_answers("hold", 100, command)
    with pytest.raises(StoreUnavailable, match=told):
        await far.atomic([(HERE, write("a")), (HERE, write("b"))], at())
    assert stored.count_documents({}) == (2 if command == "commitTransaction" else 0)


async def test_a_commit_whose_answer_is_lost_may_have_happened(
    far: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]]
) -> None:
    wire[0].break_answers("leave", 1, "commitTransaction")
    with pytest.raises(StoreUnavailable) as caught:
        await far.atomic([(HERE, write("a")), (HERE, write("b"))], at())
    assert caught.value.may_have_written
    assert stored.count_documents({}) == 2


async def test_a_standalone_server_takes_one_key_and_says_what_it_needs_for_more(
    driver: Literal["motor", "pymongo"],
) -> None:
    with standalone() as server:
        backend = await MongoBackend.open(server, Settings(mongo_driver=driver), RealClock())
        try:
            assert (await backend.increment(HERE, increment("a"), at())).number == 1
            with pytest.raises(NotSupported, match="needs a MongoDB replica set"):
                await backend.atomic([(HERE, write("b")), (HERE, write("c"))], at())
            assert await backend.count(HERE, "", NOW) == 1
        finally:
            await backend.aclose()


async def test_a_start_warns_where_a_dead_host_would_hold_others_up_for_long(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds, warns in ((0.5, True), (10, False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "datastore.mongo"):
            settings = Settings(operation_timeout_seconds=seconds)
            await (await MongoBackend.open(url, settings, RealClock())).aclose()
        assert ("--setParameter transactionLifetimeLimitSeconds=1" in caplog.text) is warns
