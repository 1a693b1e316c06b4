"""Calls that wait: few at a time, in nobody's way, without a gap, and ended with whoever waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, Store, open_store
from datastore.errors import StoreUnavailable
from datastore.operations import Watch
from sandbox import RunLimits, Sandbox, connect, polls
from sandbox.broker import Broker
from sandbox.guest import watching
from tests.sandbox.test_broker import Frame, Peer, apply

WAIT_SECONDS = 30
ALICE = Scope(user="alice", agent="a")


def poll(number: int, cursor: str | None, wait_seconds: float = 30, prefix: str = "") -> Frame:
    frame = {"id": number, "op": "watch", "namespace": "n", "prefix": prefix, "wait_seconds": wait_seconds}
    return frame if cursor is None else {**frame, "cursor": cursor}


@pytest.fixture
async def peer(store: Store) -> AsyncIterator[Peer]:
    made = Peer(store, RunLimits())
    await made.start()
    yield made
    made.sock.close()
    await made.broker.close()


async def begun(peer: Peer, prefix: str = "") -> str:
    await peer.send(poll(1, None, 0, prefix))
    cursor: str = (await peer.receive() or {})["ok"]["cursor"]
    return cursor


def running(broker: Broker) -> int:
    return len(broker._polls._running)


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not fact():  # noqa: ASYNC110 - the host's own state is watched from outside
            await asyncio.sleep(0)


async def test_calls_that_wait_do_not_hold_up_others(peer: Peer) -> None:
    cursor = await begun(peer)
    await peer.send(*(poll(number, cursor) for number in range(10, 26)))
    await until(lambda: (running(peer.broker), len(peer.broker._polls.parked)) == (4, 12))
    await peer.send(*({"id": number, "op": "count", "namespace": "n"} for number in range(100, 120)))
    answers = [await peer.receive() or {} for _ in range(20)]
    assert {each["id"] for each in answers} == set(range(100, 120))
    await peer.send({"id": 200, **apply({"kind": "put", "key": "k", "value": 1})})
    answers = [await peer.receive() or {} for _ in range(17)]
    assert {each["id"] for each in answers} == {200, *range(10, 26)}
    assert all(each["ok"]["items"][0]["key"] == "k" for each in answers if each["id"] != 200)


async def test_one_that_waits_beyond_all_bounds_is_refused_and_told_what_to_do(peer: Peer) -> None:
    cursor = await begun(peer)
    await peer.send(*(poll(number, cursor) for number in range(10, 31)))
    answer = await peer.receive()
    assert answer is not None
    assert (answer["id"], answer["error"]["code"]) == (30, "run_limit_exceeded")
    assert "Watch a common prefix with one watch()" in answer["error"]["message"]


async def test_those_that_wait_aside_have_their_turn_when_nothing_changes(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "SHARED_SECONDS", 0.01)
    cursor = await begun(peer)
    await peer.send(*(poll(number, cursor, 1) for number in range(10, 16)))
    answers = [await peer.receive() or {} for _ in range(6)]
    assert {each["id"] for each in answers} == set(range(10, 16))
    assert all(each["ok"]["items"] == [] for each in answers)


async def test_few_calls_in_flight_leave_one_for_others(store: Store) -> None:
    peer = Peer(store, RunLimits(in_flight=2))
    await peer.start()
    cursor = await begun(peer)
    await peer.send(poll(2, cursor), poll(3, cursor))
    await until(lambda: running(peer.broker) == 1)
    await peer.send({"id": 4, "op": "usage"})
    assert (await peer.receive() or {})["id"] == 4
    peer.sock.close()
    await peer.broker.close()


async def test_a_peer_that_leaves_ends_its_waiting_calls(peer: Peer) -> None:
    cursor = await begun(peer)
    await peer.send(*(poll(number, cursor) for number in range(10, 20)))
    await until(lambda: running(peer.broker) == 4)
    peer.sock.close()
    async with asyncio.timeout(WAIT_SECONDS / 2):
        await peer.broker.close()
    assert not peer.broker._polls.parked


@pytest.mark.parametrize("wrong", [-1, 31, "5", None, True, [1]])
async def test_a_wait_that_is_no_bounded_duration_is_refused(peer: Peer, wrong: Any) -> None:
    await peer.send({**poll(2, None), "wait_seconds": wrong})
    assert (await peer.receive() or {})["error"]["code"] == "invalid_argument"


async def test_a_store_that_closes_ends_every_wait(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        waiting = asyncio.create_task(store.execute(ALICE, Watch(namespace="n", wait_seconds=30)))
        connected = connect(store, scope=ALICE)
        through = asyncio.create_task(connected.aio.wait_for("k", WAIT_SECONDS))
        await until(lambda: len(store._watching._changes._waiting) == 2)
    async with asyncio.timeout(WAIT_SECONDS / 2):
        for each in (waiting, through):
            with pytest.raises(StoreUnavailable):
                await each


def test_closing_a_connection_ends_a_wait_in_another_thread(tmp_path: Path) -> None:
    store = connect(f"sqlite:///{tmp_path / 'store.db'}", scope=ALICE)
    ended = threading.Event()
    watch = store.watch(timeout_seconds=WAIT_SECONDS)

    def wait() -> None:
        with pytest.raises(StoreUnavailable):
            next(watch)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    store.close()
    assert ended.wait(WAIT_SECONDS / 2)
    thread.join()


async def test_a_run_that_ends_leaves_no_wait_behind(store: Store, strict: Sandbox) -> None:
    code = """
import threading
def run():
    data_store.watch()
    for number in range(6):
        threading.Thread(target=data_store.wait_for, args=(f"never:{number}",), daemon=True).start()
    while data_store.count() < 0 or threading.active_count() < 7:
        pass
    return "done"
"""
    async with asyncio.timeout(WAIT_SECONDS / 2):
        result = await strict.run(code, scope=ALICE)
    assert (result.outcome, result.output) == ("done", "done")
    assert store._watching._changes._waiting == {}


@pytest.mark.parametrize("moment", ["before the cursor", "after the cursor", "after the second look"])
async def test_wait_for_has_no_gap_between_its_look_and_its_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Forced: another agent writes exactly there."""
    engine, looks = store.engine, 0
    get, head = engine.get, engine.head
    agent, other = connect(store, scope=ALICE).aio, connect(store, user=ALICE.user, agent="b").aio

    async def write_once(when: str) -> None:
        if when == moment:
            monkeypatch.setattr(engine, "get", get)
            monkeypatch.setattr(engine, "head", head)
            await other.set("k", "here")

    async def a_get(*args: Any) -> Any:
        nonlocal looks
        answer = await get(*args)
        if args[0].owner == "alice":
            looks += 1
            await write_once("after the second look" if looks == 2 else "")
        return answer

    async def a_head(*args: Any) -> Any:
        await write_once("before the cursor" if args else "")
        answer = await head(*args)
        await write_once("after the cursor" if args else "")
        return answer

    monkeypatch.setattr(engine, "get", a_get)
    monkeypatch.setattr(engine, "head", a_head)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await agent.wait_for("k", 1000) == "here"


async def test_a_change_between_two_polls_is_given_by_the_next(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the feed had ended meanwhile, because nobody watched."""
    monkeypatch.setattr("datastore.service.changes.LINGER_SECONDS", -1.0)
    agent = connect(store, scope=ALICE).aio
    watch = await agent.watch(timeout_seconds=WAIT_SECONDS)
    for number in range(3):
        await until(lambda: store._watching._changes._feed is None)
        version = await agent.set("k", number)
        assert (await anext(watch)).version == version


async def test_a_feed_that_breaks_begins_anew_and_nobody_misses_anything(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datastore.service.changes._RETRY_SECONDS", 0.0)
    real, broken = store.engine.follow, asyncio.Event()

    async def break_off(*args: Any) -> AsyncIterator[Any]:
        async for batch in real(*args):
            if batch[0]:
                monkeypatch.setattr(store.engine, "follow", real)
                broken.set()
                raise KeyError("a mistake of ours")
            yield batch

    monkeypatch.setattr(store.engine, "follow", break_off)
    agent = connect(store, scope=ALICE).aio
    watch = await agent.watch(timeout_seconds=WAIT_SECONDS)
    waiting = asyncio.ensure_future(anext(watch))
    version = await agent.set("k", 1)
    assert (await waiting).version == version
    assert broken.is_set()


async def test_a_ring_that_overflows_costs_nothing_but_a_question_to_the_engine(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datastore.service.ring.MOST", 2)
    agent = connect(store, scope=ALICE).aio
    watch, other = await agent.watch("k", timeout_seconds=WAIT_SECONDS), await agent.watch(timeout_seconds=WAIT_SECONDS)
    for number in range(10):
        await agent.set(f"k{number}", number)
        await anext(other)
    assert [(await anext(watch)).key for _ in range(10)] == [f"k{number}" for number in range(10)]


def test_a_poll_is_shorter_than_what_the_host_accepts() -> None:
    assert Watch(namespace="n", wait_seconds=watching.POLL_SECONDS)
