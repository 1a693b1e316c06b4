"""What asynchronous agents may rely on, each fact in a real guest."""

from __future__ import annotations

import asyncio
import textwrap
from typing import Any

import pytest

from datastore import Scope, Store
from sandbox import RunLimits, RunResult, Sandbox

pytestmark = pytest.mark.timeout(60)

ALICE = Scope(user="alice", agent="worker")


async def run(sandbox: Sandbox, code: str, **options: Any) -> RunResult:
    return await asyncio.wait_for(sandbox.run(textwrap.dedent(code), scope=ALICE, **options), 30)


class Held:
    """An engine's `get` that answers nobody until the test says so, and tells how many wait.

    Those who wait for a test that has failed are refused in the end: closing its store waits for them.
    """

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, enough: int) -> None:
        self.waiting = 0
        self.enough = asyncio.Event()
        self.go_on = asyncio.Event()
        real = store.engine.get

        async def get(*given: Any) -> Any:
            self.waiting += 1
            if self.waiting == enough:
                self.enough.set()
            await asyncio.wait_for(self.go_on.wait(), 40)
            return await real(*given)

        monkeypatch.setattr(store.engine, "get", get)


async def test_a_gather_sends_its_calls_without_waiting_for_the_first_answer(
    strict: Sandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(store, monkeypatch, enough=RunLimits().in_flight)
    code = """
    async def run():
        places = [data_store.aio.use_namespace(f"n{i}") for i in range(40)]
        await asyncio.gather(*(place.set("k", i) for i, place in enumerate(places)))
        return await asyncio.gather(*(place.get("k") for place in places))
    """
    running = asyncio.create_task(run(strict, code))
    await asyncio.wait_for(held.enough.wait(), 30)
    held.go_on.set()
    assert (await running).output == list(range(40))


async def test_others_go_on_while_one_sleeps_or_waits_for_the_store(
    strict: Sandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(store, monkeypatch, enough=1)
    code = """
    async def run(_, tools):
        order = []
        async def sleeper():
            await asyncio.sleep(0.01)
            order.append("slept")
            await tools["go_on"]()
        async def reader():
            await data_store.aio.get("k")
            order.append("read")
        await asyncio.gather(reader(), sleeper())
        return order
    """

    async def go_on() -> None:
        held.go_on.set()

    assert (await run(strict, code, tools={"go_on": go_on})).output == ["slept", "read"]


async def test_a_call_that_was_cancelled_or_timed_out_leaves_the_others_their_answers(
    strict: Sandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(store, monkeypatch, enough=2)  # The first read, and those that share a request.
    code = """
    async def run(_, tools):
        data_store.set("a", 1)
        data_store.set("b", 2)
        patient = asyncio.create_task(data_store.aio.get("a"))
        hasty = asyncio.create_task(data_store.aio.get("b"))
        ended = []
        try:
            async with asyncio.timeout(0.01):
                await data_store.aio.get("b")
        except TimeoutError:
            ended.append("timeout")
        hasty.cancel()
        try:
            await hasty
        except asyncio.CancelledError:
            ended.append("cancelled")
        await tools["go_on"]()
        return ended + [await patient, await data_store.aio.get("b"), data_store.get("a")]
    """

    async def go_on() -> None:
        await held.enough.wait()
        held.go_on.set()

    result = await run(strict, code, tools={"go_on": go_on})
    assert (result.output, result.error) == (["timeout", "cancelled", 1, 2, 1], None)


async def test_synchronous_verbs_of_many_threads_get_their_own_answers(strict: Sandbox) -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor

    def work(number):
        for turn in range(50):
            data_store.set(f"t{number}", [number, turn])
            assert data_store.get(f"t{number}") == [number, turn]
        return number

    def run():
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(work, range(8)))
    """
    result = await run(strict, code)
    assert (result.output, result.error) == (list(range(8)), None)


async def test_a_synchronous_verb_inside_a_coroutine_does_not_wait_for_the_loop_that_it_holds_up(
    strict: Sandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forced: answers of the loop's own calls come while the verb waits, and the verb's own comes last."""
    held = Held(store, monkeypatch, enough=10)
    held.go_on.set()
    real = store.engine.count

    async def count(*given: Any) -> int:
        await asyncio.wait_for(held.enough.wait(), 30)
        return await real(*given)

    monkeypatch.setattr(store.engine, "count", count)
    code = """
    async def run():
        places = [data_store.aio.use_namespace(f"n{i}") for i in range(10)]
        pending = [asyncio.create_task(place.get("k", i)) for i, place in enumerate(places)]
        await asyncio.sleep(0)
        number = data_store.count()
        return [number, await asyncio.gather(*pending)]
    """
    result = await run(strict, code)
    assert (result.output, result.error) == ([0, list(range(10))], None)


async def test_two_loops_in_two_threads_of_an_agent_share_the_socket(strict: Sandbox) -> None:
    code = """
    import threading

    async def work(name):
        store = data_store.aio
        await asyncio.gather(*(store.set(f"{name}{i}", i) for i in range(20)))
        return sum(await asyncio.gather(*(store.get(f"{name}{i}") for i in range(20))))

    async def run():
        other = asyncio.to_thread(lambda: asyncio.run(work("b")))
        return await asyncio.gather(work("a"), other)
    """
    result = await run(strict, code)
    assert (result.output, result.error) == ([190, 190], None)
