"""Operators' decisions hold while a store breaks: blocks, quotas, erasures, and the record of who did what."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from admin.actions import audit, blocking, erase, quotas
from admin.actions.audit_check import Check
from admin.actions.subject import Owner
from datastore import open_store
from datastore.errors import AccessDenied, DataStoreError, StoreUnavailable
from datastore.ports import FRESH_SECONDS, Look
from datastore.service.overrides import EVERY_SECONDS, Override, Room
from tests.faults.nemesis import Breakable
from tests.faults.wires import BOUND_SECONDS, ENGINES, MANY, agent, answering, breaking, over_a_wire, whole_and_wired

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("forgetful_driver")]

ALICE: Final = Owner("user", "alice")
MOST_TRIES: Final = 200


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_host_that_cannot_look_for_blocks_soon_writes_nothing(engine: str, url: str) -> None:
    async with whole_and_wired(engine, url) as (whole, store, wire):
        with agent(store) as data_store:
            await data_store.aio.set("before", 1)
            breaking("hold", "reads")(wire)
            await blocking.block(whole, "alice")
            await asyncio.sleep(FRESH_SECONDS)
            with pytest.raises(StoreUnavailable, match="Nothing was written"):
                await data_store.aio.set("after", 1)
            wire.times = 0
            wire.cut()
            await answering(store)
            with pytest.raises(AccessDenied):
                await data_store.aio.set("after", 1)
        assert await blocking.look(whole, "alice") is not None
        await blocking.unblock(whole, "alice")
        with agent(whole) as data_store:
            assert await data_store.aio.list_keys() == ["before"]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_quota_that_was_lowered_in_a_partition_holds_after_it(engine: str, url: str) -> None:
    async with whole_and_wired(engine, url) as (whole, store, wire):
        with agent(store) as data_store:
            await data_store.aio.set("a", 1)
            wire.leave()
            await quotas.replace_all(whole, ALICE, Override(whole=Room(keys=1)))
            with pytest.raises(StoreUnavailable, match="Nothing was written"):
                await data_store.aio.set("b", 1)
            wire.come_back()
            await answering(store)
            for _ in range(MOST_TRIES):  # Until the host has looked, which it does every EVERY_SECONDS.
                try:
                    await data_store.aio.set("b", 1)
                except data_store.QuotaExceeded:
                    break
                await data_store.aio.delete("b")
                await asyncio.sleep(EVERY_SECONDS / 10)
            else:
                pytest.fail("the host never held the new limit")
            assert await data_store.aio.list_keys() == ["a"]


async def test_an_erasure_across_a_failover_leaves_nothing(replica_set: Breakable) -> None:
    async with asyncio.timeout(BOUND_SECONDS), open_store(replica_set.url) as store:
        with agent(store, "erica") as data_store:
            await data_store.aio.set_many(MANY)
        failing: list[asyncio.Task[None]] = []

        def fail_over(_more: int) -> None:
            if not failing:
                failing.append(asyncio.create_task(asyncio.to_thread(replica_set.faults["step down"])))

        receipt = await erase.erase(store, "erica", FRESH_SECONDS, fail_over)
        await failing[0]
        assert await store.engine.traces("erica") == erase._NOTHING
        assert (receipt.keys, receipt.ended_at is not None) == (len(MANY), True)


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_audit_log_is_whole_after_a_long_outage(engine: str, url: str) -> None:
    ended: dict[str, str] = {}
    async with asyncio.timeout(BOUND_SECONDS), over_a_wire(engine, url, audit="writes") as (store, wire):
        with agent(store) as data_store:

            async def put(key: str) -> None:
                try:
                    await data_store.aio.set(key, 1)
                    ended[key] = "done"
                except DataStoreError as error:
                    ended[key] = error.code

            await asyncio.gather(*(put(f"before{number}") for number in range(50)))
            wire.leave()
            for turn in range(3):
                await asyncio.gather(*(put(f"during{turn}-{number}") for number in range(50)))
            wire.come_back()
            await put("after")
    async with open_store(url) as whole:
        noted = [
            (row.deed.key, row.deed.outcome)
            async for page in audit.rows(whole, Look(user="alice"))
            for row in page
            if row.deed.operation == "put"
        ]
        findings = [each async for found in audit.verify(whole, Check(None)) for each in found]
        with agent(whole) as data_store:
            standing = await data_store.aio.list_keys()
    # That nothing is done without room in the log: test_what_cannot_be_noted_in_time_is_refused_before_it_is_done.
    assert sorted(noted, key=str) == sorted(ended.items(), key=str)
    assert findings == []
    assert set(standing) == {key for key, outcome in ended.items() if outcome == "done"}
