"""Verbs of several pages, and all or nothing, while the primary changes or the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from datastore import open_store
from sandbox.guest.verbs import AsyncDataStore
from tests.faults.nemesis import Breakable
from tests.faults.wires import BOUND_SECONDS, ENGINES, MANY, agent, settings

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("forgetful_driver")]


async def test_lists_are_complete_while_the_primary_changes(replica_set: Breakable) -> None:
    async with asyncio.timeout(BOUND_SECONDS), open_store(replica_set.url) as store:
        with agent(store, "lists") as data_store:
            here = data_store.aio
            failing = asyncio.create_task(_fail_over_twice(replica_set))
            turns = 0
            while not failing.done() or not turns:
                there = here.use_namespace(f"copy{turns}")
                assert await here.set_many(MANY) == len(MANY)
                assert await here.list_keys() == list(MANY)
                assert await here.get_all() == MANY
                assert [key async for key in here.keys(reverse=True)] == list(MANY)[::-1]
                assert await here.get_many(MANY) == MANY
                assert await here.copy_to(f"copy{turns}") == len(MANY)
                assert await there.count() == len(MANY)
                await there.delete_many(MANY)
                assert await there.list_keys() == []
                turns += 1
            await failing


async def _fail_over_twice(replica_set: Breakable) -> None:
    for _ in range(2):
        await asyncio.to_thread(replica_set.faults["step down"])
        await asyncio.sleep(1)


async def _commit(store: AsyncDataStore, number: int) -> None:
    async with store.atomic() as changes:
        for part in "abc":
            changes.set(f"{number}:{part}", number)


@pytest.mark.parametrize("engine", ["sqlite", *ENGINES])
async def test_a_cancelled_atomic_is_made_whole_or_not_at_all(engine: str, url: str) -> None:
    done: set[int] = set()
    cancelled: set[int] = set()
    async with asyncio.timeout(BOUND_SECONDS):
        async with open_store(url, settings=settings(engine)) as store:
            with agent(store) as data_store:
                for number in range(40):
                    task = asyncio.create_task(_commit(data_store.aio, number))
                    await asyncio.sleep(number / 4000)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    (cancelled if task.cancelled() else done).add(number)
                await _commit(data_store.aio, 40)
        async with open_store(url, settings=settings(engine)) as store:  # What was begun has ended.
            with agent(store) as data_store:
                found = Counter((await data_store.aio.get_all()).values())
    assert cancelled
    assert set(found.values()) == {3}
    assert done | {40} <= set(found) <= done | cancelled | {40}
