"""What each operation costs, counted as the commands that the driver sends to a real server."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.collection import Collection

from datastore.backends.mongo import MongoBackend
from datastore.document import Span
from datastore.entry import NEVER
from datastore.operations import Applied, Outcome
from datastore.ports import Access, Change, Removal, Renewal
from tests.mongo.words import HERE, LATER, NOW, Trips, at, write


def applied(*outcomes: Outcome, changed: int = 1) -> Applied:
    return Applied(changed, outcomes)


DONE = Outcome(applied=True)
WROTE = Outcome(applied=True, version="v2")
REFUSED = Outcome(applied=False)
STANDS = Outcome(applied=False, version="v1")


@pytest.fixture
async def ready(backend: MongoBackend, trips: Trips) -> MongoBackend:
    """The backend with a live entry, and one that has expired and was not collected."""
    await backend.apply(HERE, [write("live", metadata={"m": 1}), write("left", expires_at=NOW)], at(agent="first"))
    trips.take()
    return backend


@pytest.mark.parametrize(
    ("change", "commands", "answer"),
    [
        (write("new", version="v2"), ["update"], applied(WROTE)),
        (write("live", version="v2"), ["update"], applied(WROTE)),
        (write("left", version="v2"), ["update", "update"], applied(WROTE)),
        (write("new", version="v2", if_absent=True), ["update"], applied(WROTE)),
        (write("left", version="v2", if_absent=True), ["update"], applied(WROTE)),
        (write("live", version="v2", if_absent=True), ["update", "find"], applied(STANDS, changed=0)),
        (write("live", version="v2", if_version="v1"), ["update"], applied(WROTE)),
        (write("live", version="v2", if_version="v0"), ["update", "find"], applied(STANDS, changed=0)),
        (write("left", version="v2", if_version="v1"), ["update", "find"], applied(REFUSED, changed=0)),
        (write("new", version="v2", if_version="v1"), ["update", "find"], applied(REFUSED, changed=0)),
        (Removal("live"), ["delete"], applied(DONE)),
        (Removal("left"), ["delete"], applied(DONE, changed=0)),
        (Removal("new"), ["delete"], applied(DONE, changed=0)),
        (Removal("live", if_version="v1"), ["delete"], applied(DONE)),
        (Removal("live", if_version="v0"), ["delete", "find"], applied(STANDS, changed=0)),
        (Removal("left", if_version="v1"), ["delete", "find"], applied(REFUSED, changed=0)),
        (Renewal("live", LATER), ["update"], applied(DONE)),
        (Renewal("live", NEVER), ["update"], applied(DONE)),
        (Renewal("left", NEVER), ["update"], applied(REFUSED, changed=0)),
        (Renewal("new", NEVER), ["update"], applied(REFUSED, changed=0)),
    ],
)
async def test_one_change_takes_one_trip_and_a_second_only_to_explain_or_to_replace_what_expired(
    ready: MongoBackend, trips: Trips, change: Change, commands: list[str], answer: Applied
) -> None:
    assert await ready.apply(HERE, [change], at()) == answer
    assert trips.take() == commands


async def test_a_batch_shares_one_trip_and_only_what_expired_goes_again(ready: MongoBackend, trips: Trips) -> None:
    keys = ["live", *(f"k{number:03}" for number in range(98)), "other"]
    answer = await ready.apply(HERE, [write(key, version="v2") for key in keys], at())
    assert answer == applied(*[WROTE] * 100, changed=100)
    assert trips.take() == ["update"]
    answer = await ready.apply(HERE, [write(key, version="v2") for key in ("live", "left", "more")], at())
    assert answer == applied(WROTE, WROTE, WROTE, changed=3)
    [_, again] = trips.commands
    assert [each["q"]["key"] for each in again["updates"]] == ["left", "left"]


async def test_removals_of_a_batch_share_one_trip_and_count_what_was_there(ready: MongoBackend, trips: Trips) -> None:
    await ready.apply(HERE, [write(f"k{number}") for number in range(50)], at())
    trips.take()
    answer = await ready.apply(HERE, [Removal(f"k{number}") for number in range(100)], at())
    assert answer == applied(*[DONE] * 100, changed=50)
    assert trips.take() == ["delete"]


async def test_a_mixed_batch_answers_in_its_own_order(ready: MongoBackend) -> None:
    changes: list[Change] = [
        Removal("live", if_version="v0"),
        write("a", version="v2"),
        Renewal("b", NEVER),
        write("left", version="v2"),
        Removal("c"),
        write("d", version="v2", if_absent=True),
    ]
    answer = await ready.apply(HERE, changes, at())
    assert answer == applied(STANDS, WROTE, REFUSED, WROTE, DONE, WROTE, changed=3)


@pytest.mark.parametrize("conditions", [{}, {"if_version": "v1"}])
async def test_writing_over_a_live_entry_keeps_what_it_inherits(
    ready: MongoBackend, conditions: dict[str, Any]
) -> None:
    await ready.record([Access(HERE, "live", NOW, "reader", 3, LATER)])
    await ready.apply(HERE, [write("live", 2, "v2", **conditions)], at(LATER, agent="second"))
    [entry], _ = await ready.get(HERE, ["live"], LATER)
    assert (entry.created_at, entry.created_by_agent, entry.metadata) == (NOW, "first", {"m": 1})
    assert (entry.updated_at, entry.updated_by_agent, entry.version) == (LATER, "second", "v2")
    assert (entry.access_count, entry.last_accessed_by_agent, entry.last_accessed_at) == (3, "reader", LATER)


@pytest.mark.parametrize("conditions", [{}, {"if_absent": True}])
async def test_writing_over_an_expired_entry_starts_anew(ready: MongoBackend, conditions: dict[str, Any]) -> None:
    await ready.apply(HERE, [write("k", expires_at=LATER, metadata={"old": 1})], at(agent="first"))
    await ready.record([Access(HERE, "k", NOW, "reader", 3, NOW)])
    await ready.apply(HERE, [write("k", 2, "v2", **conditions)], at(LATER, agent="second"))
    [entry], _ = await ready.get(HERE, ["k"], LATER)
    assert (entry.created_at, entry.created_by_agent, entry.created_by_run) == (LATER, "second", "run-1")
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (0, None, None)
    assert (entry.metadata, entry.expires_at) == ({}, None)


async def test_a_renewal_moves_nothing_but_the_expiry(ready: MongoBackend) -> None:
    [before], _ = await ready.get(HERE, ["live"], NOW)
    await ready.apply(HERE, [Renewal("live", LATER)], at(agent="other"))
    [after], _ = await ready.get(HERE, ["live"], NOW)
    assert after.as_dict() == before.as_dict() | {"expires_at": LATER.isoformat(timespec="milliseconds")}
    assert await ready.get(HERE, ["live"], LATER) == ([], [])


async def test_each_read_is_one_trip(backend: MongoBackend, trips: Trips) -> None:
    keys = [f"k{number:04}" for number in range(1000)]
    await backend.apply(HERE, [write(key, {"n": 1}) for key in keys], at())
    trips.take()
    entries, rest = await backend.get(HERE, keys[:100], NOW)
    assert (len(entries), rest, trips.take()) == (100, [], ["find"])
    page, after = await backend.scan(HERE, Span(limit=1000), NOW)
    assert ([each.key for each in page], after, trips.take()) == (keys, None, ["find"])
    assert await backend.keys(HERE, Span(limit=1000), NOW) == (keys, None)
    assert trips.take() == ["find"]
    assert len(await backend.peek(HERE, keys, NOW)) == 1000
    assert trips.take() == ["find"]
    assert await backend.count(HERE, "k000", NOW) == 10
    assert await backend.namespaces("alice", "", NOW) == ["notes"]
    assert (await backend.usage("alice", NOW))["notes"].keys == 1000
    assert trips.take() == ["aggregate"] * 3
    await backend.record([Access(HERE, key, NOW, "reader", 1, NOW) for key in keys])
    assert trips.take() == ["update"]
    assert await backend.clear(HERE, "", NOW) == 1000
    assert trips.take() == ["delete"]


async def test_nothing_asked_is_no_trip(backend: MongoBackend, trips: Trips) -> None:
    assert await backend.get(HERE, [], NOW) == ([], [])
    assert await backend.peek(HERE, [], NOW) == []
    assert await backend.apply(HERE, [], at()) == Applied(0, ())
    await backend.record([])
    assert trips.take() == []


async def test_counted_reads_touch_nothing_but_their_own_fields_and_no_later_entry(
    ready: MongoBackend, stored: Collection[dict[str, Any]]
) -> None:
    before = stored.find_one({"key": "live"})
    await ready.record(
        [
            Access(HERE, "live", NOW, "late", 2, LATER),
            Access(HERE, "live", NOW, "early", 1, NOW),
            Access(HERE, "live", LATER, "of another entry", 9, LATER),
            Access(HERE, "gone", NOW, "reader", 9, LATER),
        ]
    )
    counts = {"accessCount": 3, "lastAccessedAt": LATER, "lastAccessedByAgent": "late"}
    assert before is not None
    assert stored.find_one({"key": "live"}) == before | counts
    assert stored.count_documents({}) == 2
