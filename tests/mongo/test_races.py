"""Many writers at once, against a real server; that they did meet is shown by the duplicate keys that it answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from pymongo.collection import Collection

from datastore.backends.mongo import MongoBackend
from datastore.operations import Applied
from datastore.ports import Write
from tests.mongo.words import HERE, LATER, NOW, Trips, at, write

WRITERS = 20
ROUNDS = 25
MOST_ROUNDS = 500  # until the writers have met
BOUND_SECONDS = 60


async def race(backend: MongoBackend, *writes: Write) -> list[Applied]:
    async with asyncio.timeout(BOUND_SECONDS):
        return await asyncio.gather(
            *(backend.apply(HERE, [each], at(agent=f"agent {number}")) for number, each in enumerate(writes))
        )


def duplicates(trips: Trips) -> int:
    """Return how many insertions met a document that was there."""
    return sum(error["code"] == 11000 for answer in trips.answers for error in answer.get("writeErrors", ()))


@pytest.mark.parametrize("leftover", [False, True])
async def test_concurrent_first_writes_all_succeed_and_leave_one_entry(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]], *, leftover: bool
) -> None:
    keys = (f"k{turn}" for turn in range(MOST_ROUNDS) if turn < ROUNDS or not duplicates(trips))
    for key in keys:
        if leftover:
            old = write(key, "old", expires_at=NOW, metadata={"old": 1})
            await backend.apply(HERE, [old], at(agent="old"))
        answers = await race(backend, *(write(key, number, f"v{number}") for number in range(WRITERS)))
        assert all(answer.changed == 1 and answer.outcomes[0].applied for answer in answers)
        [entry], _ = await backend.get(HERE, [key], NOW)
        assert (entry.version, entry.updated_by_agent) == (f"v{entry.value}", f"agent {entry.value}")
        assert (entry.created_by_agent != "old", entry.metadata) == (True, {})
        assert stored.count_documents({"key": key}) == 1
    assert duplicates(trips) > 0


@pytest.mark.parametrize("leftover", [False, True])
async def test_a_key_that_many_claim_has_one_winner(
    backend: MongoBackend, trips: Trips, stored: Collection[dict[str, Any]], *, leftover: bool
) -> None:
    for turn in range(ROUNDS):
        key = f"k{turn}"
        if leftover:
            await backend.apply(HERE, [write(key, "old", expires_at=NOW)], at())
        claims = (write(key, number, f"v{number}", if_absent=True) for number in range(WRITERS))
        answers = await race(backend, *claims)
        [winner] = [number for number, answer in enumerate(answers) if answer.changed]
        [entry], _ = await backend.get(HERE, [key], NOW)
        assert (entry.value, entry.created_by_agent) == (winner, f"agent {winner}")
        assert {answer.outcomes[0].version for answer in answers} == {f"v{winner}"}
    assert stored.count_documents({}) == ROUNDS
    assert duplicates(trips) == ROUNDS * (WRITERS - 1)


async def test_of_concurrent_writes_to_one_version_one_is_applied(backend: MongoBackend) -> None:
    for turn in range(ROUNDS):
        key = f"k{turn}"
        await backend.apply(HERE, [write(key, "first", "v")], at())
        writes = (write(key, number, f"v{number}", if_version="v") for number in range(WRITERS))
        outcomes = [answer.outcomes[0] for answer in await race(backend, *writes)]
        assert Counter(outcome.applied for outcome in outcomes) == {True: 1, False: WRITERS - 1}
        [entry], _ = await backend.get(HERE, [key], NOW)
        assert {outcome.version for outcome in outcomes} == {entry.version}


async def test_batches_of_the_same_keys_in_any_order_all_succeed(
    backend: MongoBackend, stored: Collection[dict[str, Any]]
) -> None:
    keys = [f"k{number}" for number in range(50)]
    await backend.apply(HERE, [write(key, expires_at=NOW) for key in keys[::2]], at())
    async with asyncio.timeout(BOUND_SECONDS):
        answers = await asyncio.gather(
            *(backend.apply(HERE, [write(key) for key in keys[turn:] + keys[:turn]], at()) for turn in range(WRITERS))
        )
    assert [answer.changed for answer in answers] == [50] * WRITERS
    assert stored.count_documents({"expiresAt": {"$gt": LATER}}) == 50
