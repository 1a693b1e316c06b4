"""Change streams of a real server: one for a host, resumed wherever it breaks, and never more than it needs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import pymongo
import pytest
from bson.timestamp import Timestamp
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from datastore.backends.mongo import MongoBackend
from datastore.backends.mongo.polling import LOOK_SECONDS
from datastore.backends.mongo.streams import StreamJournal
from datastore.document import Interest, Place
from datastore.errors import InvalidArgument, PastGone
from datastore.models import Scope
from datastore.operations import Notice, Notices, Watch
from datastore.ports import Access, Logged, Position, Renewal
from datastore.service import watching
from datastore.service.store import Store
from datastore.settings import Settings
from tests.mongo.proxy import Proxy, between
from tests.mongo.words import HERE, LATER, NOW, RealClock, Trips, at, write
from tests.servers.mongo import database, own_mongod, standalone
from tests.world import NEVER_FLUSH, ManualClock

Driver = Literal["motor", "pymongo"]
ALICE = Scope(user="alice", agent="watcher")
CAPPED_POSITION_LOST = 136
WAIT_SECONDS = 60
OPLOG_MEGABYTES = 64


@asynccontextmanager
async def host(url: str, driver: Driver, *listeners: Trips) -> AsyncIterator[Store]:
    """A host of the store, as it would be in a process of its own."""
    settings = Settings(mongo_driver=driver, connect_timeout_seconds=30, operation_timeout_seconds=30)
    backend = await MongoBackend.open(url, settings, RealClock(), event_listeners=list(listeners))
    store = Store(backend, clock=ManualClock(), flush_seconds=NEVER_FLUSH)
    try:
        yield store
    finally:
        await store.aclose()


async def watch(store: Store, cursor: str | None = None, seconds: float = 0, **facts: Any) -> Notices:
    asked = Watch(namespace=HERE.namespace, cursor=cursor, wait_seconds=seconds, **facts)
    answer = await store.execute(ALICE, asked)
    assert isinstance(answer, Notices)
    return answer


async def take(store: Store, cursor: str, count: int) -> list[Notice]:
    """Return the next changes, however many polls it takes."""
    found: list[Notice] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(found) < count:
            answer = await watch(store, cursor, 5)
            found += answer.items
            cursor = answer.cursor
    return found


def told(notices: list[Notice] | tuple[Notice, ...]) -> list[tuple[str, str | None]]:
    return [(each.key, each.version) for each in notices]


async def put(store: Store, *keys: str, version: str = "v1") -> list[tuple[str, str | None]]:
    for key in keys:
        await store.engine.apply(HERE, [write(key, version=version)], at())
    return [(key, version) for key in keys]


@pytest.fixture
def stored(fresh_url: str) -> Iterator[Collection[dict[str, Any]]]:
    """A collection that no other test uses."""
    with pymongo.MongoClient[dict[str, Any]](fresh_url, tz_aware=True) as client:
        yield client.get_default_database()["entries"]


async def test_all_watchers_of_a_host_share_one_change_stream(fresh_url: str, driver: Driver) -> None:
    trips = Trips()
    async with host(fresh_url, driver, trips) as store:
        start = await watch(store)
        waiting = [asyncio.create_task(watch(store, start.cursor, 30)) for _ in range(20)]
        made = await put(store, "k")
        answers = await asyncio.gather(*waiting)
        assert [told(each.items) for each in answers] == [made] * 20
        streams = [each for each in trips.commands if "aggregate" in each]
    assert len(streams) == 1
    shown = streams[0]["pipeline"][2]["$project"]
    assert set(shown) == {"operationType", "documentKey", "clusterTime", "version"}


async def test_events_never_carry_a_value(fresh_url: str, driver: Driver) -> None:
    trips = Trips()
    async with host(fresh_url, driver, trips) as store:
        start = await watch(store)
        await store.engine.apply(HERE, [write("k", "secret" * 100_000)], at())
        await store.engine.apply(HERE, [write("k", "secret" * 100_000, "v2")], at())
        assert told(await take(store, start.cursor, 2)) == [("k", "v1"), ("k", "v2")]
        batches = [each["cursor"] for each in trips.answers if "postBatchResumeToken" in each.get("cursor", ())]
    events = [event for batch in batches for event in batch.get("firstBatch", []) + batch.get("nextBatch", [])]
    assert len([each for each in events if each["documentKey"]["_id"] == HERE.id("k")]) == 2
    assert "secret" not in str(events)


async def test_a_document_of_almost_sixteen_megabytes_by_another_program_does_not_disturb_it(
    fresh_url: str, driver: Driver, stored: Collection[dict[str, Any]]
) -> None:
    async with host(fresh_url, driver) as store:
        start = await watch(store)
        stored.insert_one({"_id": HERE.id("large"), "version": "v1", "value": "x" * (16 * 1024 * 1024 - 1024)})
        stored.update_one({"_id": HERE.id("large")}, {"$set": {"version": "v2", "value": "y" * (16 * 1024**2 - 1024)}})
        stored.insert_one({"_id": "no id of ours", "version": "v1"})
        stored.insert_one({"_id": 5, "version": "v1"})
        made = await put(store, "k")
        assert told(await take(store, start.cursor, 3)) == [("large", "v1"), ("large", "v2"), *made]


async def test_counted_reads_and_new_expiries_are_no_changes(fresh_url: str, driver: Driver) -> None:
    async with host(fresh_url, driver) as store:
        await put(store, "k")
        start = await watch(store)
        await store.engine.record([Access(HERE, "k", NOW, "reader", 3, LATER)])
        await store.engine.apply(HERE, [Renewal("k", LATER)], at())
        made = await put(store, "end")
        assert told(await take(store, start.cursor, 1)) == made


@pytest.mark.parametrize("act", ["drop", "rename"])
async def test_a_collection_that_goes_away_does_not_end_the_watch(
    fresh_url: str, driver: Driver, stored: Collection[dict[str, Any]], act: str
) -> None:
    async with host(fresh_url, driver) as store:
        start = await watch(store)
        before = await put(store, "a", "b")
        waiting = asyncio.create_task(take(store, start.cursor, 4))
        if act == "drop":
            stored.drop()
        else:
            stored.rename("elsewhere")
        after = await put(store, "a", "c", version="v2")
        found = await waiting
        assert told(found) == before + after
        assert told(await take(store, found[0].cursor, 3)) == (before + after)[1:]
        store._watching._changes._ring.start = (2**62, 0)  # As if the ring had forgotten it: now the engine is asked.
        assert told(await take(store, found[0].cursor, 3)) == (before + after)[1:]


async def test_hosts_agree_on_a_key_again_after_it_was_dropped_with_the_collection(
    fresh_url: str, driver: Driver, stored: Collection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(fresh_url, driver) as store:
        await watch(store)
        stored.drop()
        async with host(fresh_url, driver) as other:
            theirs = await watch(other)
            monkeypatch.setattr(watching, "_RELOAD_SECONDS", 0)
            assert (await watch(store, theirs.cursor)).items == ()
            assert (await watch(other, (await watch(store)).cursor)).items == ()
            with pytest.raises(InvalidArgument):
                await watch(store, "forged")


@pytest.mark.usefixtures("forgetful_driver")
async def test_a_connection_that_breaks_loses_nothing_and_repeats_nothing(fresh_url: str, driver: Driver) -> None:
    async with between(fresh_url) as (proxy, over), host(over, driver) as store, host(fresh_url, driver) as writer:
        start = await watch(store)
        taking = asyncio.create_task(take(store, start.cursor, 300))
        made = []
        for number in range(300):
            if number % 60 == 30:
                _break(proxy, number)
            made += await put(writer, f"k{number}")
        assert told(await taking) == made
        assert told(await take(store, start.cursor, 300)) == made


def _break(proxy: Proxy, number: int) -> None:
    """Cut every connection, or the answers that hold the next changes."""
    if number % 120 == 30:
        proxy.cut()
    else:
        proxy.break_answers("cut", 2, "getMore", "aggregate")


async def test_changes_of_one_transaction_share_a_time_and_a_cursor_may_lie_between_them(
    fresh_url: str, driver: Driver, stored: Collection[dict[str, Any]]
) -> None:
    elsewhere = Place("bob", "notes")
    made = [(f"k{number}", "v1") for number in range(6)]
    async with host(fresh_url, driver) as store:
        start = await watch(store)
        with stored.database.client.start_session() as session, session.start_transaction():
            for key, version in made:
                stored.insert_one({"_id": elsewhere.id(key), "version": version}, session=session)
                stored.insert_one({"_id": HERE.id(key), "version": version}, session=session)
        found = await take(store, start.cursor, 6)
        assert told(found) == made
        async with host(fresh_url, driver) as other:
            for number, each in enumerate(found[:-1]):
                assert told(await take(store, each.cursor, 5 - number)) == made[number + 1 :]
                assert told(await take(other, each.cursor, 5 - number)) == made[number + 1 :]


async def test_what_the_feed_tells_and_what_the_past_tells_are_the_same(fresh_url: str, driver: Driver) -> None:
    async with host(fresh_url, driver) as store:
        head = await store.engine.head()
        await put(store, *(f"k{number}" for number in range(20)))
        await store.engine.clear(HERE, "k1", NOW)
        followed: list[Logged] = []
        async with asyncio.timeout(WAIT_SECONDS), aclosing(store.engine.follow(head, list)) as batches:
            async for found, _ in batches:
                followed += found
                if len(followed) == 31:
                    break
        past, reached = await store.engine.past(Interest(HERE), head, 1000)
        assert past == followed
        assert reached >= followed[-1].position
        assert await store.engine.past(Interest(HERE, "k1"), head, 2) == (
            followed[1:2] + followed[10:11],
            followed[10].position,
        )
        assert (await store.engine.past(Interest(HERE, "k5", exact=True), head, 9))[0] == [followed[5]]


async def test_what_is_written_while_the_past_is_read_is_told_once(
    fresh_url: str, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = StreamJournal.head
    later = itertools.count()

    async def outrun(journal: StreamJournal, place: Place | None = None) -> Position:
        reached = await head(journal, place)
        await put(store, f"later{next(later)}")
        return reached

    async with host(fresh_url, driver) as store:
        start = await store.engine.head()
        made = await put(store, "first")
        monkeypatch.setattr(StreamJournal, "head", outrun)
        seen: list[Logged] = []
        while len(seen) < 4:
            found, start = await store.engine.past(Interest(HERE), start, 100)
            seen += found
    assert [(each.key, each.version) for each in seen] == [
        *made,
        *((f"later{turn}", "v1") for turn in range(len(seen) - 1)),
    ]


@pytest.mark.slow
async def test_a_cursor_from_before_the_oplog_begins_is_told_that_the_past_is_gone(
    small_server: str, driver: Driver
) -> None:
    url = database(small_server, "watched")
    async with host(url, driver) as store:
        start = await watch(store)
        await put(store, "k")
        await asyncio.to_thread(_fill_the_oplog, url)
    async with host(url, driver) as later:
        with pytest.raises(PastGone, match="Begin anew"):
            await watch(later, start.cursor, 5)


@pytest.fixture
def small_server() -> Iterator[str]:
    """A server with a small oplog, which no other test needs."""
    with own_mongod(OPLOG_MEGABYTES) as server:
        yield server


def _fill_the_oplog(url: str) -> None:
    """Write until the server has dropped the oplog's beginning, which it does some time after a checkpoint."""
    filler = "x" * (8 * 1024 * 1024)
    until = time.monotonic() + WAIT_SECONDS
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        began: Timestamp = client.admin.command("ping")["operationTime"]
        fillers, oplog = client.get_default_database()["fillers"], client["local"]["oplog.rs"]
        while _begins(oplog, until) <= began:
            assert time.monotonic() < until
            for number in range(OPLOG_MEGABYTES // 8):
                fillers.replace_one({"_id": "filler"}, {"value": filler, "n": number}, upsert=True)


def _begins(oplog: Collection[dict[str, Any]], until: float) -> Timestamp:
    """Return the time of the first change that the oplog has; it may be dropped while it is read."""
    while True:
        try:
            first: Any = oplog.find_one(sort=[("$natural", 1)])
            return Timestamp(first["ts"].time, first["ts"].inc)
        except OperationFailure as error:
            if error.code != CAPPED_POSITION_LOST or time.monotonic() > until:
                raise


async def test_a_cursor_of_another_history_is_told_so(fresh_url: str, driver: Driver) -> None:
    """As after a restore from a backup: its position lies beyond the present."""
    async with host(fresh_url, driver) as store:
        await watch(store)
        seal = store._watching._seal
        assert seal is not None
        beyond = seal.close(Interest(HERE), (2**63 - 1, 0))
        with pytest.raises(PastGone):
            await watch(store, beyond)


async def test_a_server_that_is_no_replica_set_is_looked_at_instead(driver: Driver) -> None:
    with standalone() as server:
        url = database(server, "watched")
        async with host(url, driver) as store:
            await put(store, "before")
            start = await watch(store)
            waiting = asyncio.create_task(watch(store, start.cursor, 30))
            await asyncio.sleep(LOOK_SECONDS)
            made = await put(store, "a")
            answer = await waiting
            assert told(answer.items) == made
            await store.engine.clear(HERE, "", NOW)
            await put(store, "b")
            found = await take(store, answer.cursor, 3)
            assert sorted(told(found), key=str) == [("a", None), ("b", "v1"), ("before", None)]
            assert told(await take(store, start.cursor, 4))[0] == ("a", "v1")
        async with host(url, driver) as later:
            with pytest.raises(PastGone):
                await watch(later, answer.cursor)
