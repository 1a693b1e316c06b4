"""Primaries that change, with the defaults of everything: ten seconds until an election, and the store's deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pymongo
import pytest
from pymongo import WriteConcern

from datastore import Settings, open_store
from datastore.document import Interest, Place
from sandbox.guest.verbs import AsyncDataStore
from tests.faults.wires import BOUND_SECONDS, agent
from tests.servers.mongo import database
from tests.servers.replicas import DEFAULT_ELECTION_MILLISECONDS, MEMBERS, replicas

pytestmark = pytest.mark.faults


async def _work(store: AsyncDataStore, number: int) -> list[Any]:
    """Do one of each kind at once."""

    async def changed() -> None:
        async with store.atomic() as changes:
            changes.incr("sum").set(f"a{number}", number)

    kinds: list[Awaitable[Any]] = [
        store.set(f"k{number}", number),
        store.get("before"),
        store.list_keys("before"),
        store.add(f"n{number}", number),
        store.set_many({f"m{number}-{part}": part for part in range(5)}),
        changed(),
    ]
    return await asyncio.gather(*kinds, return_exceptions=True)


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_a_killed_primary_delays_operations_and_fails_none(driver: Any) -> None:
    with replicas(DEFAULT_ELECTION_MILLISECONDS) as members:
        url = database(members.url, "failover")
        settings = Settings(mongo_driver=driver, connect_timeout_seconds=30)
        async with asyncio.timeout(BOUND_SECONDS), open_store(url, settings=settings) as store:
            with agent(store) as data_store:
                await data_store.aio.set("before", 1)
                members.kill(members.primary())
                answers = await asyncio.gather(*(_work(data_store.aio, number) for number in range(5)))
                assert [each for found in answers for each in found if isinstance(each, BaseException)] == []
                assert await data_store.aio.get("sum") == 5
                assert await data_store.aio.count() == 2 + 5 * (1 + 1 + 5 + 1)


async def test_a_cursor_is_good_although_the_primary_knows_of_no_majority_yet() -> None:
    """As on a new primary, which has all that was told, and learns a moment later that a majority has it too."""
    with replicas(DEFAULT_ELECTION_MILLISECONDS) as members:
        primary = members.primary()
        others = {*range(MEMBERS)} - {primary}
        async with asyncio.timeout(BOUND_SECONDS), open_store(database(members.url, "failover")) as store:
            await store.engine.head()
            for each in others:
                members.stop(each)
            try:
                with pymongo.MongoClient[dict[str, Any]](members.member_url(primary)) as client:
                    client.get_database("other").get_collection("c", write_concern=WriteConcern(w=1)).insert_one({})
                told = await store.engine.latest()
                assert await store.engine.head() < told
                found = await store._watching._changes.after(Interest(Place("alice", "n")), told, 0)
                assert found == ([], told)
            finally:
                for each in others:
                    members.wake(each)
