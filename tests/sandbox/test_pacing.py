"""Who uses the host for long leaves as much of it to other users, if there are any; and is never held up alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from datastore import Store
from datastore.metering import ACCOUNT, Metered, metered
from sandbox import RunLimits
from sandbox.guest import wire
from sandbox.pacing import meter
from tests.sandbox.test_broker import Peer

HEAVY_SECONDS = 0.3


async def test_who_is_alone_never_rests() -> None:
    alice = meter("alice")
    alice.spend(time.perf_counter() - 10)
    assert [alice.rest(), alice.rest()] == [0, 0]


async def test_who_has_used_the_loop_leaves_it_to_another_user_for_twice_as_long() -> None:
    alice, bob = meter("alice"), meter("bob")
    bob.rest()
    began = time.perf_counter()
    alice.spend(began - HEAVY_SECONDS)
    ended = time.perf_counter()
    assert began + 2 * HEAVY_SECONDS <= alice._paid_until <= ended + 2 * (HEAVY_SECONDS + ended - began)
    assert alice.rest() > 0
    assert bob.rest() == 0


async def test_what_was_used_alone_is_not_held_against_anybody_later() -> None:
    alice, bob = meter("alice"), meter("bob")
    alice.spend(time.perf_counter() - 10)
    alice.rest()
    bob.rest()
    assert alice.rest() == 0


async def test_all_connections_of_a_user_have_one_account_and_those_of_others_have_not() -> None:
    assert meter("alice") is (again := meter("alice"))
    assert meter("bob") is not again


async def test_work_in_a_task_of_its_own_is_counted_for_whom_it_is_done() -> None:
    spent: list[float] = []

    class Ledger:
        def spend(self, began: float) -> None:
            spent.append(began)

    async def steps(seconds: float) -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(seconds)
        return "done"

    assert await metered(steps(0)) == "done"
    assert spent == []
    ACCOUNT.set(Ledger())
    assert await asyncio.create_task(metered(steps(0))) == "done"
    assert len(spent) == 3
    task = asyncio.create_task(metered(steps(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await Metered(steps(0), Ledger()) == "done"


async def test_a_call_that_held_up_the_host_lets_many_of_a_neighbour_go_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forced with an engine that holds up the loop for one user's calls; at once, they would come one after another."""
    order: list[str] = []
    real = store.engine.count

    async def count(place: Any, *rest: Any) -> int:
        if place.owner == "mallory":
            time.sleep(HEAVY_SECONDS)  # noqa: ASYNC251 - holding up the loop is the point.
        order.append(place.owner)
        return await real(place, *rest)

    monkeypatch.setattr(store.engine, "count", count)
    mallory, bob = (Peer(store, RunLimits(in_flight=1), user=user) for user in ("mallory", "bob"))
    for peer in (bob, mallory):
        await peer.start()
    await bob.send(request(1))
    await bob.receive()
    await mallory.send(request(1), request(2))
    for number in range(2, 12):
        await bob.send(request(number))
        await bob.receive()
    await mallory.receive()
    await mallory.receive()
    assert order[-1] == "mallory"
    assert order.count("bob") == 11
    for peer in (mallory, bob):
        peer.sock.close()
        await peer.broker.close()


async def test_all_runs_of_a_user_have_a_bounded_number_of_operations_under_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine holds on to one user's operations; the other user's is answered meanwhile, and in the end all are."""
    held, going = asyncio.Event(), set[int]()
    most = asyncio.Semaphore(0)
    real = store.engine.count

    async def count(place: Any, *rest: Any) -> int:
        if place.owner == "mallory" and not held.is_set():
            going.add(len(going))
            most.release()
            await held.wait()
        return await real(place, *rest)

    monkeypatch.setattr(store.engine, "count", count)
    runs = [Peer(store, RunLimits(), user="mallory") for _ in range(3)]
    bob = Peer(store, RunLimits(), user="bob")
    for peer in (*runs, bob):
        await peer.start()
    learn_to_be_cheap("mallory")
    for peer in runs:
        await peer.send(*(request(number) for number in range(1, 17)))
    async with asyncio.timeout(30):
        for _ in range(16):
            await most.acquire()
    await bob.send(request(1))
    assert (await bob.receive() or {}).get("id") == 1
    assert len(going) == 16
    held.set()
    for peer in runs:
        assert {(await peer.receive() or {}).get("id") for _ in range(16)} == set(range(1, 17))
    for peer in (*runs, bob):
        peer.sock.close()
        await peer.broker.close()
    assert meter("mallory")._under_way == 0


def learn_to_be_cheap(user: str) -> None:
    for _ in range(200):
        meter(user).begin()
        meter(user).end()


@pytest.mark.parametrize(("neighbours", "most"), [([], 16), (["bob"], 4)])
async def test_beside_others_fewer_operations_are_begun_of_those_that_cost_something(
    neighbours: list[str], most: int
) -> None:
    alice = meter("alice")
    alice._cost = 0.006
    for each in [*neighbours, "alice"]:
        meter(each).rest()
    while alice.admits(lambda: None):
        alice.begin()
    assert alice._under_way == most


async def test_operations_that_hold_up_the_loop_are_begun_two_at_a_time() -> None:
    alice = meter("alice")
    learn_to_be_cheap("alice")
    begun = []
    for _ in range(8):
        alice.begin()
        alice.spend(time.perf_counter() - HEAVY_SECONDS)
        alice.end()
    while alice.admits(lambda: begun.append("woken")):
        alice.begin()
    assert alice._under_way == 2
    alice.end()
    await asyncio.sleep(0)
    assert begun == ["woken"]


async def test_who_pays_when_it_begins_gets_back_what_it_does_not_use() -> None:
    alice, bob = meter("alice"), meter("bob")
    for _ in range(8):
        alice.begin()
        alice.spend(time.perf_counter() - HEAVY_SECONDS)
        alice.end()
    alice._paid_until = 0
    alice.begin()
    bob.rest()
    assert alice.rest() > 0
    alice.end()
    bob.rest()
    assert alice.rest() == 0


async def test_closing_a_connection_that_rests_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(store, RunLimits())
    await peer.start()
    monkeypatch.setattr(peer.broker, "_meter", Resting())
    await peer.send(request(1))
    await asyncio.wait_for(Resting.asked.wait(), 30)
    peer.sock.close()
    await asyncio.wait_for(peer.broker.close(), 30)
    assert peer.broker._rest is not None
    assert peer.broker._rest.cancelled()


class Resting:
    """An account that is always far ahead."""

    asked = asyncio.Event()

    def admits(self, proceed: object) -> bool:
        return proceed is not None

    def leave(self, proceed: object) -> None:
        """Nobody stands in line."""

    def rest(self) -> float:
        self.asked.set()
        return 3600

    def spend(self, began: float) -> None:
        """Nothing is counted."""


def request(number: int) -> bytes:
    return wire.pack({"id": number, "op": "count", "namespace": "n"})
