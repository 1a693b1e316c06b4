"""A sandboxed guest, a connected script and a served socket go through one door: the same frames, as many."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, Settings, Store
from datastore.assembly import open_engine
from datastore.clock import SystemClock
from datastore.operations import Answer, Apply, Operation
from sandbox import Sandbox, connect, inject, serve
from sandbox.broker import Broker
from sandbox.guest.channel import Channel
from sandbox.guest.verbs import DataStore
from tests.uids import RUN_AS

AGENT = '''
def work(data_store):
    """Call every verb once."""
    notes = data_store.use_namespace("notes")
    version = notes.set("a", {"x": [1, 2]}, {"m": 1}, ttl_seconds=60)
    notes.set("a", 2, if_version=version)
    notes.add("b", b"bytes")
    notes.set_many({f"k{i:04}": i for i in range(1500)})
    found = [notes.get("a"), notes["b"] == b"bytes", notes.get("absent", 0), notes.exists("a"), "b" in notes]
    found += [notes.get_entry("a").value, notes.expires_in("b"), notes.count(), len(notes.list_keys())]
    found += [len(notes.get_all("k")), len(notes.get_many([f"k{i:04}" for i in range(1200)]))]
    found += [sum(1 for _ in notes.items("k", limit=10)), len(notes.keys()), notes.touch("a", 5)]
    found += [notes.copy_to("copy", "k"), data_store.list_namespaces(), data_store.usage()["keys"]]
    found += [notes.incr("n"), notes.incr("n", 1.5), notes.incr("m", initial=7, ttl_seconds=60)]
    found += [notes.update("n", lambda n: n + 1), notes.update("u", lambda v: v, default=[1])]
    found += [notes.delete("a"), notes.delete_many(["b", "c", "n", "m", "u"])]
    found += [notes.clear("k"), data_store.private().count()]
    data_store.use_namespace("copy").clear()
    return found


def run():
    return work(data_store)
'''


class Listener:
    """Notes the operations that the store was asked for."""

    def __init__(self) -> None:
        self.seen: list[Operation] = []

    def saw(self, scope: Scope, operation: Operation, outcome: Answer | BaseException, seconds: float) -> None:
        del scope, outcome, seconds
        self.seen.append(operation)

    def take(self) -> list[Operation]:
        """Return what was noted, with what differs from run to run left out, and begin anew."""
        seen, self.seen = self.seen, []
        return [_without_versions(each) for each in seen]


def _without_versions(operation: Operation) -> Operation:
    if not isinstance(operation, Apply):
        return operation
    mutations = [
        each.model_copy(update={name: "some" for name in ("if_version", "version") if getattr(each, name, None)})
        for each in operation.mutations
    ]
    return operation.model_copy(update={"mutations": tuple(mutations)})


@pytest.fixture
async def listener() -> Listener:
    return Listener()


@pytest.fixture
async def heard(tmp_path: Path, listener: Listener) -> AsyncIterator[Store]:
    clock = SystemClock()
    engine = await open_engine(f"sqlite:///{tmp_path / 'store.db'}", Settings(), clock)
    store = Store(engine, clock=clock, observers=[listener])
    yield store
    await store.aclose()


def work() -> Callable[[Any], list[Any]]:
    namespace: dict[str, Any] = {}
    exec(AGENT, namespace)  # noqa: S102 - the agent of this test
    found: Callable[[Any], list[Any]] = namespace["work"]
    return found


async def test_every_door_sends_the_same_frames_and_gives_the_same_answers(
    heard: Store, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope(user="alice", agent="a")
    frames: list[int] = []
    accept = Broker._accept

    def counted(broker: Broker, message: dict[str, Any], size: int) -> None:
        if "id" in message:
            frames.append(size)
        accept(broker, message, size)

    monkeypatch.setattr(Broker, "_accept", counted)

    async with Sandbox(heard, run_as=RUN_AS) as sandbox:
        result = await sandbox.run(AGENT, scope=scope)
    assert result.error is None
    seen = [(result.output, listener.take(), len(frames))]
    frames.clear()

    connected = connect(heard, scope=scope)
    answers = await asyncio.to_thread(work(), connected)
    connected.close()
    seen.append((answers, listener.take(), len(frames)))
    frames.clear()

    namespace: dict[str, Any] = {}
    injected = inject(namespace, heard, scope=scope)
    assert namespace["data_store"] is injected
    answers = await asyncio.to_thread(work(), injected)
    seen.append((answers, listener.take(), len(frames)))
    frames.clear()

    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(serve(theirs, scope, store=heard))
    channel = await asyncio.to_thread(Channel, ours)
    answers = await asyncio.to_thread(work(), DataStore(channel))
    channel.close()
    await asyncio.wait_for(serving, 30)
    seen.append((answers, listener.take(), len(frames)))

    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert len(seen[0][1]) == seen[0][2] == 37
