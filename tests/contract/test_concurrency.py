"""Many writers on one key: one document, one winner, no lost update of metadata."""

from __future__ import annotations

import asyncio
from typing import Any

from datastore import Scope
from datastore.operations import Answer, Applied, Apply, Get, Mutation, Operation, Put, Scan
from tests.world import World


def all_at_once(world: World, operations: list[Operation]) -> list[Answer]:
    """Execute operations of one user concurrently, each by an agent of its own."""

    async def gather() -> list[Answer]:
        scopes = (Scope(user="alice", agent=f"agent-{i}") for i in range(len(operations)))
        return await asyncio.gather(*map(world.store.execute, scopes, operations))

    return world.loop.run(gather())


def apply(*mutations: Mutation) -> Apply:
    return Apply(namespace="default", mutations=mutations)


def entries(world: World) -> list[Any]:
    page: Any = world.execute(Scan(namespace="default", detail="entry"))
    return list(page.items)


def test_twenty_first_writes_leave_one_document(the_world: World) -> None:
    answers = all_at_once(the_world, [apply(Put(key="k", value=i)) for i in range(20)])
    assert all(isinstance(each, Applied) and each.outcomes[0].applied for each in answers)
    (entry,) = entries(the_world)
    written = {each.outcomes[0].version: i for i, each in enumerate(answers) if isinstance(each, Applied)}
    assert entry.value == written[entry.version]


def test_twenty_first_writes_over_an_expired_entry_leave_one_document(the_world: World) -> None:
    the_world.agent(agent="old").set("k", "old", {"old": 1}, ttl_seconds=1)
    the_world.clock.advance(2)
    all_at_once(the_world, [apply(Put(key="k", value=i)) for i in range(20)])
    (entry,) = entries(the_world)
    assert entry.value in range(20)
    assert entry.created_by_agent != "old"
    assert entry.metadata == {}


def test_of_twenty_claims_one_wins(the_world: World) -> None:
    answers = all_at_once(the_world, [apply(Put(key="k", value=i, if_absent=True)) for i in range(20)])
    winners = [i for i, each in enumerate(answers) if isinstance(each, Applied) and each.outcomes[0].applied]
    (entry,) = entries(the_world)
    assert winners == [entry.value]


def test_of_twenty_writes_over_one_version_one_wins(the_world: World) -> None:
    version = the_world.agent().set("k", "first")
    answers = all_at_once(the_world, [apply(Put(key="k", value=i, if_version=version)) for i in range(20)])
    winners = [i for i, each in enumerate(answers) if isinstance(each, Applied) and each.outcomes[0].applied]
    (entry,) = entries(the_world)
    assert winners == [entry.value]
    losers = [
        each.outcomes[0].version for each in answers if isinstance(each, Applied) and not each.outcomes[0].applied
    ]
    assert set(losers) == {entry.version}


def test_concurrent_merges_of_metadata_lose_nothing(the_world: World) -> None:
    all_at_once(the_world, [apply(Put(key="k", value=i, metadata={f"m{i}": i})) for i in range(8)])
    (entry,) = entries(the_world)
    assert entry.metadata == {f"m{i}": i for i in range(8)}


def test_concurrent_batches_over_the_same_keys_all_end(the_world: World) -> None:
    batches: list[Operation] = [
        apply(*(Put(key=f"k{key}", value=[batch, key]) for key in range(50))) for batch in range(10)
    ]
    answers = all_at_once(the_world, batches)
    assert all(isinstance(each, Applied) and all(one.applied for one in each.outcomes) for each in answers)
    assert [entry.key for entry in entries(the_world)] == sorted(f"k{key}" for key in range(50))


def test_a_read_during_writes_sees_one_of_the_values_whole(the_world: World) -> None:
    the_world.agent().set("k", [0] * 100)
    writes: list[Operation] = [apply(Put(key="k", value=[i] * 100)) for i in range(1, 20)]
    reads: list[Operation] = [Get(namespace="default", keys=("k",)) for _ in range(20)]
    answers: list[Any] = all_at_once(the_world, writes + reads)[len(writes) :]
    for answer in answers:
        (item,) = answer.items
        assert len(set(item.value)) == 1
        assert len(item.value) == 100
