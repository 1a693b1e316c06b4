"""The model again, with every verb called inside a real sandboxed guest."""

from __future__ import annotations

import asyncio
import base64
import pickle
import queue
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from datastore import Scope
from datastore.errors import DataStoreError, from_dict
from sandbox import RunLimits, RunResult, Sandbox
from sandbox.guest.verbs import DataStore
from sandbox.guest.watching import Change
from tests.contract.test_state_machine import StoreMachine
from tests.uids import RUN_AS
from tests.world import WAIT_SECONDS, Loop, Servers, World, world

pytestmark = pytest.mark.slow

RELAY = '''
import base64, pickle

def run(_, tools):
    """Do what the test says, one verb after another, and tell it what came of it; a function of its is called there."""
    def hear():
        sent = tools["next"]()
        return None if sent is None else pickle.loads(base64.b64decode(sent))

    def tell(answer):
        tools["answer"](base64.b64encode(pickle.dumps(answer)).decode())

    def function(value):
        tell({"call": value})
        return hear()

    while (sent := hear()) is not None:
        namespace, verb, args, kwargs = sent
        store = data_store.use_namespace(namespace)
        try:
            if verb == "atomic":
                with store.atomic() as changes:
                    for place, change, given, named in args:
                        given = [data_store.ABSENT if each == "ABSENT" else each for each in given]
                        getattr(changes.use_namespace(place), change)(*given, **named)
                answer = {"ok": None}
            elif verb == "watch":
                watch = store.watch(*args, **kwargs)
                answer = {"ok": watch.cursor if kwargs["cursor"] is None else next(watch).as_dict()}
            else:
                given = [function if each == "FUNCTION" else each for each in args]
                answer = {"ok": getattr(store, verb)(*given, **kwargs)}
        except data_store.DataStoreError as error:
            answer = {"error": error.as_dict()}
        tell(answer)
'''


class Guest:
    """An agent in a sandbox that calls verbs as it is told."""

    def __init__(self, loop: Loop, sandbox: Sandbox, scope: Scope) -> None:
        self._orders: queue.Queue[str | None] = queue.Queue()
        self._answers: queue.Queue[str] = queue.Queue()
        tools: dict[str, Callable[..., Any]] = {
            "next": lambda: self._orders.get(timeout=WAIT_SECONDS),
            "answer": self._answers.put,
        }
        limits = RunLimits(wall_seconds=WAIT_SECONDS, calls=10**6, bytes=2**40)
        self._run: Future[RunResult] = asyncio.run_coroutine_threadsafe(
            sandbox.run(RELAY, scope=scope, tools=tools, limits=limits), loop.loop
        )

    def call(self, namespace: str, verb: str, *args: Any, **kwargs: Any) -> Any:
        functions = [each for each in args if callable(each)]
        self._tell((namespace, verb, ["FUNCTION" if callable(each) else each for each in args], kwargs))
        while "call" in (answer := self._hear()):
            self._tell(functions[0](answer["call"]))
        if "error" in answer:
            raise from_dict(answer["error"])
        return answer["ok"]

    def _tell(self, order: Any) -> None:
        self._orders.put(base64.b64encode(pickle.dumps(order)).decode())

    def _hear(self) -> Any:
        return pickle.loads(base64.b64decode(self._answers.get(timeout=WAIT_SECONDS)))  # noqa: S301 - our own relay

    def end(self) -> None:
        self._orders.put(None)
        result = self._run.result(WAIT_SECONDS)
        assert result.outcome == "done", result


class RemoteStore:
    """A data_store whose verbs are called in a guest."""

    def __init__(self, guest: Guest, namespace: str = "default") -> None:
        self._guest = guest
        self._namespace = namespace

    def use_namespace(self, name: str) -> RemoteStore:
        return RemoteStore(self._guest, name)

    def atomic(self) -> RemoteAtomic:
        return RemoteAtomic(self._guest, self._namespace, [])

    def watch(self, prefix: str, *, cursor: str | None = None, timeout_seconds: float = WAIT_SECONDS) -> RemoteWatch:
        return RemoteWatch(self._guest, self._namespace, prefix, cursor, timeout_seconds)

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._guest.call(self._namespace, verb, *args, **kwargs)


class RemoteAtomic:
    """An atomic() that is gathered here, and made in a guest."""

    def __init__(self, guest: Guest, namespace: str, calls: list[Any]) -> None:
        self._guest, self._namespace, self._calls = guest, namespace, calls

    def use_namespace(self, name: str) -> RemoteAtomic:
        return RemoteAtomic(self._guest, name, self._calls)

    def commit(self) -> None:
        self._guest.call("default", "atomic", *self._calls)

    def __getattr__(self, change: str) -> Callable[..., None]:
        def gather(*args: Any, **kwargs: Any) -> None:
            given = ["ABSENT" if each is DataStore.ABSENT else each for each in args]
            self._calls.append((self._namespace, change, given, kwargs))

        return gather


class RemoteWatch:
    """A watch that is begun anew in a guest for each change, with the cursor of the last one."""

    def __init__(self, guest: Guest, namespace: str, prefix: str, cursor: str | None, timeout_seconds: float) -> None:
        self._ask = partial(guest.call, namespace, "watch", prefix, timeout_seconds=timeout_seconds)
        self.cursor = self._ask(cursor=None) if cursor is None else cursor

    def __iter__(self) -> RemoteWatch:
        return self

    def __next__(self) -> Change:
        change = Change(**self._ask(cursor=self.cursor))
        self.cursor = change.cursor
        return change


class SandboxedWorld(World):
    """A world whose agents run in sandboxes."""

    def __init__(self, base: World, stack: ExitStack) -> None:
        super().__init__(base.loop, base.store, base.clock, base.backend)
        self._stack = stack
        self._sandbox = Sandbox(base.store, run_as=RUN_AS)
        self.loop.run(self._sandbox.__aenter__())
        stack.callback(lambda: self.loop.run(self._sandbox.__aexit__(None, None, None)))

    def agent(self, user: str = "alice", agent: str = "writer", **_: Any) -> Any:
        guest = Guest(self.loop, self._sandbox, Scope(user=user, agent=agent))
        self._stack.callback(guest.end)
        return RemoteStore(guest)


def test_any_sequence_of_verbs_in_a_guest_does_what_it_does_to_a_dict(
    host_loop: Loop, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> None:
    def open_world(stack: ExitStack) -> World:
        folder: Path = tmp_path_factory.mktemp("guest")
        base = stack.enter_context(world(host_loop, "sqlite", folder, servers))
        return SandboxedWorld(base, stack)

    # A lock is held by an object of the guest's own, which no relay can hand out.
    members = {"open_world": staticmethod(open_world), "locks": False}
    machine: type[StoreMachine] = type("Machine", (StoreMachine,), members)
    examples = 10
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_relay_tells_of_errors(host_loop: Loop, tmp_path: Path, servers: Servers) -> None:
    with world(host_loop, "sqlite", tmp_path, servers) as base, ExitStack() as stack:
        store = SandboxedWorld(base, stack).agent()
        with pytest.raises(DataStoreError, match="key must be a string"):
            store.get(5)
