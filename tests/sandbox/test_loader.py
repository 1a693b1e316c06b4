"""Reads of single keys that begin together: what they share, and what each keeps for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from datastore import Grant, Scope, Store
from datastore.document import Place
from datastore.errors import AccessDenied, DataStoreError, StoreUnavailable
from datastore.operations import Get, Operation
from sandbox import ConnectedDataStore, connect
from sandbox.guest.channel import Channel


class Seen:
    """An observer of which keys each read named."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, ...]] = []

    def saw(self, scope: Scope, operation: Operation, outcome: object, seconds: float) -> None:  # noqa: ARG002 - the port's
        if isinstance(operation, Get):
            self.keys.append(operation.keys)

    def take(self) -> list[tuple[str, ...]]:
        taken, self.keys = self.keys, []
        return taken


@pytest.fixture
def seen(store: Store) -> Seen:
    found = Seen()
    store._observers += (found,)
    return found


@pytest.fixture
async def agent(store: Store) -> AsyncIterator[ConnectedDataStore]:
    with connect(store, user="alice", agent="reader") as connected:
        yield connected


async def test_the_first_goes_at_once_and_the_others_together(agent: ConnectedDataStore, seen: Seen) -> None:
    await agent.aio.set_many({f"k{i}": i for i in range(5)})
    assert await asyncio.gather(*(agent.aio.get(f"k{i}") for i in range(5))) == [0, 1, 2, 3, 4]
    assert seen.take() == [("k0",), ("k1", "k2", "k3", "k4")]
    assert [await agent.aio.get("k1"), await agent.aio.get("k2")] == [1, 2]
    assert seen.take() == [("k1",), ("k2",)]


async def test_each_gets_what_it_would_get_alone(agent: ConnectedDataStore) -> None:
    whole: dict[str, Any] = {"none": None, "bytes": b"\x00\xff", "list": [1, {"a": 2.5}], "é\n": "text", "n": 7}
    await agent.aio.set_many(whole)
    asked = [*whole, "absent"]
    assert await asyncio.gather(*(agent.aio.get(key, "default") for key in asked)) == [*whole.values(), "default"]
    entries = await asyncio.gather(*(agent.aio.get_entry(key) for key in asked))
    assert [each and each.value for each in entries] == [*whole.values(), None]
    assert await asyncio.gather(*(agent.aio.exists(key) for key in asked)) == [True] * 5 + [False]
    assert await asyncio.gather(*(agent.aio.expires_in(key) for key in asked)) == [None] * 5 + [0]


async def test_other_places_and_other_questions_are_asked_apart(store: Store, seen: Seen) -> None:
    grants = (Grant(namespace="*"), Grant(space="team", namespace="*"))
    with connect(store, scope=Scope(user="alice", agent="reader", grants=grants)) as agent:
        other, team = agent.use_namespace("other"), agent.shared("team")
        for place, values in ((agent, "abcd"), (other, "ABCD"), (team, "1234")):
            await place.aio.set_many(dict(zip("abcd", values, strict=True)))
        asked = [
            *(agent.aio.get("a"), other.aio.get("b"), team.aio.get("c"), agent.private().aio.get("d", "mine")),
            *(agent.aio.get_entry("b"), agent.aio.exists("absent"), agent.aio.get("c"), agent.aio.get("d")),
        ]
        ended = await asyncio.gather(*asked)
    assert [getattr(each, "value", each) for each in ended] == ["a", "B", "3", "mine", "b", False, "c", "d"]
    assert sorted(seen.take()) == [("a",), ("absent",), ("b",), ("b",), ("c",), ("c", "d"), ("d",)]


async def test_every_read_of_one_key_is_counted(agent: ConnectedDataStore, store: Store) -> None:
    await agent.aio.set("k", 1)
    assert await asyncio.gather(*(agent.aio.get("k") for _ in range(10))) == [1] * 10
    await store.flush()
    entry = await agent.aio.get_entry("k")
    assert entry is not None
    assert entry.access_count == 10


async def test_more_than_one_operation_may_name_goes_in_several(agent: ConnectedDataStore, seen: Seen) -> None:
    await agent.aio.set_many({f"k{i}": i for i in range(2500)})
    assert await asyncio.gather(*(agent.aio.get(f"k{i}") for i in range(2500))) == list(range(2500))
    assert sorted(len(each) for each in seen.take()) == [1, 499, 1000, 1000]


async def test_what_does_not_fit_into_one_answer_comes_in_several(agent: ConnectedDataStore, seen: Seen) -> None:
    big = {f"k{i}": str(i) * 3_000_000 for i in range(6)}
    for key, value in big.items():
        await agent.aio.set(key, value)
    assert await asyncio.gather(*(agent.aio.get(key) for key in big)) == list(big.values())
    assert sorted(each[0] for each in seen.take()) == ["k0", "k1", "k2", "k3", "k4", "k5"]


async def test_a_refusal_is_raised_in_each(store: Store) -> None:
    scope = Scope(user="alice", agent="reader", grants=(Grant(namespace="open"),))
    with connect(store, scope=scope) as connected:
        ended = await asyncio.gather(*(connected.aio.get(f"k{i}") for i in range(4)), return_exceptions=True)
    assert [type(each) for each in ended] == [AccessDenied] * 4
    assert len({id(each) for each in ended}) == 4


async def test_an_entry_that_cannot_be_read_is_no_harm_to_the_others(
    agent: ConnectedDataStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.aio.set_many({f"k{i}": i for i in range(4)})
    real = store.engine.get

    async def get(place: Place, keys: Sequence[str], now: datetime) -> Any:
        if "k2" in keys:
            raise ValueError("a document that somebody has changed by hand")
        return await real(place, keys, now)

    monkeypatch.setattr(store.engine, "get", get)
    ended = await asyncio.gather(*(agent.aio.get(f"k{i}") for i in range(4)), return_exceptions=True)
    assert [ended[0], ended[1], type(ended[2]), ended[3]] == [0, 1, DataStoreError, 3]


async def test_each_is_told_that_the_host_is_gone(
    agent: ConnectedDataStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def get(*_: Any) -> Any:
        asked.set()
        await asyncio.sleep(0.2)
        return [], []

    monkeypatch.setattr(store.engine, "get", get)
    pending = [asyncio.create_task(agent.aio.get(f"k{i}")) for i in range(4)]
    await asyncio.wait_for(asked.wait(), 10)
    agent.close()
    ended = await asyncio.gather(*pending, return_exceptions=True)
    assert [type(each) for each in ended] == [StoreUnavailable] * 4


def test_reads_that_a_loop_leaves_behind_hold_up_nobody(tmp_path: Path) -> None:
    with connect(f"sqlite:///{tmp_path / 'store.db'}", user="alice", agent="reader") as agent:

        async def leave() -> None:
            left = [asyncio.create_task(agent.aio.get(f"k{i}")) for i in range(4)]
            await asyncio.sleep(0)
            assert not any(each.done() for each in left)

        asyncio.run(leave())
        agent.set("k", 1)
        assert agent.get("k") == 1


async def test_nobody_waits_for_a_request_that_was_cancelled_before_it_began(agent: ConnectedDataStore) -> None:
    pending = [asyncio.create_task(agent.aio.get(f"k{i}")) for i in range(4)]
    for _ in range(2):  # In the first turn reads begin, in the second a task is made for those that go together.
        await asyncio.sleep(0)
    [sending] = agent._channel._listener().loader._tasks
    sending.cancel()
    ended = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 10)
    assert [type(each) for each in ended[1:]] == [asyncio.CancelledError] * 3
    assert await agent.aio.get("k1", "later") == "later"


@pytest.mark.parametrize("where", ["batches", "Loader._fetch"])
async def test_each_is_told_of_what_could_not_even_be_sent(
    agent: ConnectedDataStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(f"sandbox.guest.loader.{where}", fail)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    pending = asyncio.gather(*(agent.aio.get(f"k{i}") for i in range(4)), return_exceptions=True)
    ended = await asyncio.wait_for(pending, 10)
    assert [type(each) for each in ended] == [type(None), *[MemoryError] * 3]


async def test_each_is_told_of_an_error_of_the_connection(
    agent: ConnectedDataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Channel._asend

    async def fail(channel: Channel, frame: bytes) -> None:
        if b"k1" in frame:
            raise RuntimeError("can't start new thread")
        await sent(channel, frame)

    monkeypatch.setattr(Channel, "_asend", fail)
    ended = await asyncio.gather(*(agent.aio.get(f"k{i}") for i in range(4)), return_exceptions=True)
    assert [type(each) for each in ended] == [type(None), *[RuntimeError] * 3]


async def test_one_that_gives_up_leaves_the_others_their_answers(agent: ConnectedDataStore) -> None:
    await agent.aio.set_many({f"k{i}": i for i in range(4)})
    pending = [asyncio.create_task(agent.aio.get(f"k{i}")) for i in range(4)]
    await asyncio.sleep(0)
    pending[0].cancel()
    pending[2].cancel()
    ended = await asyncio.gather(*pending, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError, int, asyncio.CancelledError, int]
    assert (ended[1], ended[3]) == (1, 3)
