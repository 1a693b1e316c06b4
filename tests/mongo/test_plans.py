"""How a real server runs the very commands that the backend sends: by an index, and over no more keys than it must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pymongo
import pytest
from pymongo.collection import Collection

from datastore.backends.mongo import MongoBackend, statements
from datastore.chain import Chain, Deed
from datastore.deadlines import TIMEOUT_SECONDS
from datastore.document import Place, Span
from datastore.ports import Access, Actor, Look, Removal, Renewal, Traces
from datastore.settings import Settings
from tests.mongo.words import LATER, NOW, RealClock, Trips, at, increment, write
from tests.servers.mongo import fresh_database

USERS = 20
KEYS = [f"k{number:03}" for number in range(250)]
LIVE = Place("user 07", "live")
SHAPES = ("find", "aggregate", "findAndModify", "update", "delete")
ARGUMENTS = (
    *("filter", "projection", "sort", "limit", "batchSize", "hint", "pipeline", "cursor", "updates", "deletes"),
    *("query", "update", "upsert", "new", "fields"),
)


@pytest.fixture(scope="module")
def crowd(server: str) -> Iterator[tuple[str, Collection[dict[str, Any]]]]:
    """10,000 documents of 20 users; in the mixed namespaces four of five have expired and were not collected."""
    with fresh_database(server) as url, pymongo.MongoClient[dict[str, Any]](url) as client:
        entries = client.get_default_database()["entries"]
        for number in range(USERS):
            entries.insert_many(_documents(f"user {number:02}"))
        assert entries.count_documents({}) == 10_000
        yield url, entries


def _documents(user: str) -> Iterator[dict[str, Any]]:
    for index, key in enumerate(KEYS):
        mixed = write(key, 1, expires_at=NOW) if index % 5 else write(key, 1)
        for namespace, each in (("live", write(key, 1)), ("mixed", mixed)):
            yield dict(statements.add(Place(user, namespace), each, at())._doc)


@pytest.fixture
def stored(crowd: tuple[str, Collection[dict[str, Any]]]) -> Collection[dict[str, Any]]:
    return crowd[1]


@pytest.fixture
async def backend(crowd: tuple[str, Collection[dict[str, Any]]], trips: Trips) -> AsyncIterator[MongoBackend]:
    opened = await MongoBackend.open(crowd[0], Settings(), RealClock(), event_listeners=[trips])
    trips.take()
    yield opened
    await opened.aclose()


def explained(stored: Collection[dict[str, Any]], trips: Trips) -> Iterator[dict[str, Any]]:
    """Yield the server's account of each statement that was sent, run anew."""
    for command in list(trips.commands):
        shape = next(iter(command))
        assert shape in SHAPES
        for part in _statements(command):
            facts = {shape: command[shape]} | {name: part[name] for name in ARGUMENTS if name in part}
            yield stored.database.command("explain", facts, verbosity="executionStats")
    trips.take()


def _statements(command: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a bulk, because one statement is explained at a time."""
    for name in ("updates", "deletes"):
        if name in command:
            return [{**command, name: [each]} for each in command[name]]
    return [command]


def found(account: Any, name: str) -> list[Any]:
    """Return every fact of that name, however deep, except of plans that were rejected."""
    if isinstance(account, list):
        return [fact for each in account for fact in found(each, name)]
    if not isinstance(account, dict):
        return []
    inner = [fact for key, each in account.items() if key != "rejectedPlans" for fact in found(each, name)]
    return [account[name], *inner] if name in account else inner


Call = Callable[[MongoBackend], Awaitable[Any]]
CALLS: dict[str, Callable[[Place], Call]] = {
    "get one": lambda place: lambda backend: backend.get(place, ["k100"], NOW),
    "get nothing": lambda place: lambda backend: backend.get(place, ["none"], NOW),
    "get many": lambda place: lambda backend: backend.get(place, KEYS[:100], NOW),
    "peek": lambda place: lambda backend: backend.peek(place, KEYS[:100], NOW),
    "scan": lambda place: lambda backend: backend.scan(place, Span(limit=10), NOW),
    "scan all": lambda place: lambda backend: backend.scan(place, Span(), NOW),
    "scan prefix": lambda place: lambda backend: backend.scan(place, Span("k1", "k120", 10), NOW),
    "scan back": lambda place: lambda backend: backend.scan(place, Span("k1", limit=10, reverse=True), NOW),
    "keys": lambda place: lambda backend: backend.keys(place, Span(limit=10), NOW),
    "keys prefix": lambda place: lambda backend: backend.keys(place, Span("k1", "k120", 10), NOW),
    "outline": lambda place: lambda backend: backend.outline(place, Span(limit=10), NOW),
    "count": lambda place: lambda backend: backend.count(place, "", NOW),
    "count prefix": lambda place: lambda backend: backend.count(place, "k1", NOW),
    "usage": lambda place: lambda backend: backend.usage(place.owner, NOW),
    "put": lambda place: lambda backend: backend.apply(place, [write("k100"), write("k101"), write("new")], at()),
    "add": lambda place: (
        lambda backend: backend.apply(
            place, [write("k100", if_absent=True), write("k101", if_absent=True), write("new", if_absent=True)], at()
        )
    ),
    "if_version": lambda place: lambda backend: backend.apply(place, [write("k100", if_version="v1")], at()),
    "incr": lambda place: lambda backend: backend.increment(place, increment("k120"), at()),
    "incr of a new number": lambda place: lambda backend: backend.increment(place, increment("new2"), at()),
    "incr from another beginning": lambda place: lambda backend: backend.increment(place, increment("new3", 7), at()),
    "remove": lambda place: lambda backend: backend.apply(place, [Removal("k100"), Removal("k101", "v1")], at()),
    "renew": lambda place: lambda backend: backend.apply(place, [Renewal("k100", LATER)], at()),
    "clear prefix": lambda place: lambda backend: backend.clear(place, "k24", NOW),
    "record": lambda place: lambda backend: backend.record([Access(place, "k100", NOW, "a", 1, NOW)]),
}
COVERED = ("keys", "keys prefix", "count", "count prefix")
WRITES = [*CALLS][[*CALLS].index("put") :]


def place_of(call: str, namespace: str) -> Place:
    """Return where a call is tried: whatever changes something has a user of its own."""
    number = 10 + WRITES.index(call) if call in WRITES else 7
    return Place(f"user {number:02}", namespace)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("namespace", ["live", "mixed"])
async def test_every_statement_runs_by_an_index_and_sorts_nothing(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]], call: str, namespace: str
) -> None:
    await CALLS[call](place_of(call, namespace))(backend)
    accounts = list(explained(stored, trips))
    assert accounts
    for account in accounts:
        stages = set(found(account, "stage"))
        assert stages & {"IXSCAN", "IDHACK", "COUNT_SCAN", "DISTINCT_SCAN"}
        assert not stages & {"COLLSCAN", "SORT"}
        assert not (call in COVERED and "FETCH" in stages)


@pytest.mark.parametrize(
    ("call", "returned"),
    [
        ("get one", 1),
        ("get nothing", 0),
        ("get many", 100),
        ("peek", 100),
        ("scan", 10),
        ("scan all", 250),
        ("scan prefix", 10),
        ("scan back", 10),
        ("keys", 10),
        ("keys prefix", 10),
        ("outline", 10),
        ("count", 250),
        ("count prefix", 100),
    ],
)
async def test_where_nothing_is_expired_one_key_more_is_examined_than_returned(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]], call: str, returned: int
) -> None:
    await CALLS[call](LIVE)(backend)
    [account] = explained(stored, trips)
    assert max(found(account, "totalKeysExamined")) <= returned + 1


@pytest.mark.parametrize("call", CALLS)
async def test_every_statement_names_its_owner_and_has_a_deadline_and_no_pattern(
    backend: MongoBackend, trips: Trips, call: str
) -> None:
    await CALLS[call](place_of(call, "live"))(backend)
    for command in trips.commands:
        assert 0 < command["maxTimeMS"] <= 1000 * TIMEOUT_SECONDS
        assert not any(operator in str(command) for operator in ("$regex", "$where", "$function"))
        for compared, (expiry, time) in ((each, each["$gt"]) for each in found(command, "$expr")):
            assert (len(compared), expiry, list(time), time["$add"][0]) == (1, "$expiresAt", ["$add"], "$$NOW")
            assert isinstance(time["$add"][1], int)
        for part in _statements(command):
            [wanted] = [*found(part, "filter"), *found(part, "q"), *found(part, "query"), *found(part, "$match")]
            assert wanted["userId"] == place_of(call, "live").owner
            assert call == "usage" or wanted["namespace"] == "live"
            assert next(iter(command)) not in ("update", "findAndModify") or "key" in wanted


async def test_changes_are_durable_and_repeatable_and_counted_reads_are_cheap(
    backend: MongoBackend, trips: Trips
) -> None:
    for call in ("put", "add", "if_version", "incr", "remove", "renew"):
        await CALLS[call](place_of(call, "live"))(backend)
        for command in trips.commands:
            if next(iter(command)) in ("update", "findAndModify", "delete"):
                assert command["writeConcern"] == {"w": "majority", "j": True}
                assert "txnNumber" in command
        trips.take()
    await CALLS["record"](LIVE)(backend)
    assert [command["writeConcern"] for command in trips.commands] == [{"w": 1}]


async def test_namespaces_skips_from_one_to_the_next(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]]
) -> None:
    assert await backend.namespaces("user 07", "", NOW) == ["live", "mixed"]
    [account] = explained(stored, trips)
    assert found(account, "stage").count("DISTINCT_SCAN")
    assert max(found(account, "totalKeysExamined")) <= 6


async def test_the_list_of_owners_skips_from_one_to_the_next(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]]
) -> None:
    assert len(await backend.owners(None, 5, NOW)) == 5
    names, totals = explained(stored, trips)
    assert "DISTINCT_SCAN" in found(names, "stage")
    assert max(found(names, "totalKeysExamined")) <= 2 * USERS
    assert max(found(totals, "totalDocsExamined")) <= 5 * 2 * len(KEYS)


@pytest.mark.parametrize(("begin", "after"), [("", None), ("user 07:", Place("user 07", "live").id("k120"))])
async def test_a_survey_looks_at_its_page_alone_in_the_order_of_ids(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]], begin: str, after: str | None
) -> None:
    assert len(await backend.survey(begin, after, 10)) == 10
    [account] = explained(stored, trips)
    assert "SORT" not in found(account, "stage")
    assert set(found(account, "indexName")) == {"_id_"}
    assert max(found(account, "totalDocsExamined")) <= 11


async def test_ids_of_another_kind_are_looked_for_in_the_index_alone(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]]
) -> None:
    assert {each.fault for each in await backend.parts(thorough=False)} == {None}
    trips.commands[:] = [each for each in trips.commands if "aggregate" in each]
    [account] = explained(stored, trips)
    assert "IXSCAN" in found(account, "stage")
    assert max(found(account, "totalKeysExamined")) <= 2


async def test_taking_a_user_away_runs_by_indexes(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]]
) -> None:
    await backend.apply(Place("@team", "n"), [write("k")], Actor("a", "r", NOW, "user 30"))
    await backend.apply(Place("user 30", "n"), [write("k")], at())
    trips.take()
    assert await backend.traces("user 30") == Traces(1, 6, 1, 0, 0)
    assert (await backend.expunge("user 30"), await backend.disown("user 30", "@erased/x")) == (1, 2)
    accounts = [each for each in explained(stored, trips) if not found(each, "EOF")]
    stages = {stage for account in accounts for stage in found(account, "stage")}
    assert not stages & {"COLLSCAN", "SORT"}
    names = {name for account in accounts for name in found(account, "indexName")}
    assert names == {"userId_namespace_key_expiresAt", "createdByUser", "updatedByUser", "_id_"}
    assert await backend.expunge("@team") == 1


async def test_the_garbage_index_serves_no_read_and_holds_only_what_will_expire(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]]
) -> None:
    for call in CALLS.values():
        await call(Place("user 00", "mixed"))(backend)
    names = [name for account in explained(stored, trips) for name in found(account, "indexName")]
    assert set(names) == {"_id_", "userId_namespace_key_expiresAt"}


async def test_every_look_at_the_audit_log_runs_by_an_index_and_sorts_nothing(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]]
) -> None:
    chain = Chain()
    rows = [chain.add(NOW, Deed(f"user{number % 9}", "agent", key=f"k{number}")) for number in range(500)]
    await backend.append(rows)
    trips.take()
    await backend.trail(rows[100].id, 10)
    for look in (Look(), Look(user="user1"), Look(agent="agent"), Look(key="k1"), Look(since=NOW, until=LATER)):
        await backend.found(look, None, 10)
        await backend.found(look, rows[100], 10)
    await backend.empty(rows[:1], "nobody")
    await backend.remove(rows[0].chain, 1)
    accounts = list(explained(stored, trips))
    assert len(accounts) == 13
    for account in accounts:
        assert set(found(account, "stage")) & {"IXSCAN", "IDHACK"}
        assert not set(found(account, "stage")) & {"COLLSCAN", "SORT"}
