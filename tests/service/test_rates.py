"""How fast a scope may act, and how much of a user may be under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from datastore import Grant, Limits, Scope, Store, open_store
from datastore.errors import AccessDenied, QuotaExceeded, RateExceeded
from datastore.operations import Apply, Clear, Copy, Count, Delete, Get, GetUsage, Namespaces, Operation, Scan, Watch
from datastore.service import crowds
from datastore.service.rates import Rates
from sandbox import connect

GET = Get(namespace="n", keys=("k",))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite://") as opened:
        yield opened


def scope(user: str = "alice", agent: str = "x", run: str | None = "r", **limits: Any) -> Scope:
    return Scope(user=user, agent=agent, run=run, limits=Limits(**limits))


class Seconds:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def spent(rates: Rates, acting: Scope, times: int) -> int:
    """How many of so many operations were let through."""
    done = 0
    for _ in range(times):
        try:
            rates.spend(acting)
        except RateExceeded:
            continue
        done += 1
    return done


def test_a_scope_may_be_a_seconds_worth_ahead_and_no_more() -> None:
    seconds = Seconds()
    rates, fast = Rates(seconds), scope(operations_per_second=50)
    assert spent(rates, fast, 200) == 50
    for _ in range(10):
        seconds.now += 0.1
        assert spent(rates, fast, 20) == 5
    seconds.now += 3600
    assert spent(rates, fast, 200) == 50


def test_a_rate_below_one_a_second_lets_one_through_each_time() -> None:
    seconds = Seconds()
    rates, slow = Rates(seconds), scope(operations_per_second=0.1)
    assert spent(rates, slow, 3) == 1
    seconds.now += 9.9
    assert spent(rates, slow, 3) == 0
    seconds.now += 0.1
    assert spent(rates, slow, 3) == 1


def test_the_refusal_says_the_rate_and_a_time_after_which_it_goes_well() -> None:
    seconds = Seconds()
    rates, acting = Rates(seconds), scope(operations_per_second=4)
    spent(rates, acting, 4)
    with pytest.raises(RateExceeded) as caught:
        rates.spend(acting)
    assert str(caught.value) == (
        "this agent may do 4 operations a second, and has done so. "
        "Try again in 0.25 s, or do more with each: get_many, set_many, get_all."
    )
    assert caught.value.fields == {"limit": "operations_per_second", "value": 4, "retry_after_seconds": 0.25}
    seconds.now += caught.value.retry_after_seconds
    rates.spend(acting)


def test_each_user_agent_and_run_has_a_rate_of_its_own() -> None:
    limit: dict[str, Any] = {"operations_per_second": 1.0}
    rates = Rates(Seconds())
    others = [scope("bob", **limit), scope(agent="y", **limit), scope(run="s", **limit), scope(run=None, **limit)]
    assert [spent(rates, each, 2) for each in (scope(**limit), *others, scope(**limit))] == [1, 1, 1, 1, 1, 0]
    assert spent(rates, scope(), 1000) == 1000


def test_scopes_that_are_idle_are_forgotten() -> None:
    seconds = Seconds()
    rates = Rates(seconds)
    for number in range(10_000):
        seconds.now += 0.01
        rates.spend(scope(run=f"run-{number}", operations_per_second=10))
    assert len(rates) <= 2000


async def test_who_is_too_fast_is_refused_before_the_policy_and_the_engine_are_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    acting = Scope(user="alice", agent="x", grants=(), limits=Limits(operations_per_second=0.001))
    with pytest.raises(AccessDenied):
        await store.execute(acting, GET)
    monkeypatch.setattr(store, "engine", None)
    with pytest.raises(RateExceeded):
        await store.execute(acting, GET)


async def test_an_agent_hears_of_its_rate_as_of_a_quota_and_in_usage(store: Store) -> None:
    data_store = connect(store, scope=scope(operations_per_second=0.001))
    assert (await data_store.aio.usage())["limits"]["operations_per_second"] == 0.001
    with pytest.raises(data_store.RateExceeded, match=r"may do 0\.001 operations a second") as caught:
        await data_store.aio.get("k")
    assert isinstance(caught.value, QuotaExceeded)
    assert 0 < caught.value.retry_after_seconds <= 1000
    data_store.close()


async def test_the_locks_of_an_agent_that_was_too_fast_are_given_back(store: Store) -> None:
    """Where its rate held for that too, the other one would wait for the lease to expire."""
    fast, patient = connect(store, scope=scope(operations_per_second=5)), connect(store, scope=scope(agent="y"))
    await fast.aio.lock("job", ttl_seconds=60).__aenter__()
    with pytest.raises(fast.RateExceeded):
        await asyncio.gather(*(fast.aio.get("k") for _ in range(100)))
    fast.close()
    async with patient.aio.lock("job", wait_seconds=20) as lease:
        assert not lease.lost
    patient.close()


async def test_a_lock_refused_after_its_claim_says_so_and_ends_with_its_run(store: Store) -> None:
    slow, patient = connect(store, scope=scope(operations_per_second=0.001)), connect(store, scope=scope(agent="y"))
    with pytest.raises(slow.RateExceeded, match="the lock 'job' was claimed for 60 seconds; then: ") as caught:
        await slow.aio.lock("job", ttl_seconds=60).__aenter__()
    assert caught.value.may_have_written
    slow.close()
    async with patient.aio.lock("job", wait_seconds=20) as lease:
        assert not lease.lost
    patient.close()


class Held:
    """Something that is asked of the engine, and does not end before it is let go."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.begun = asyncio.Semaphore(0)
        self.under_way = 0
        self.gone_on = asyncio.Event()
        for name in names:
            monkeypatch.setattr(store.engine, name, self._holding(getattr(store.engine, name)))

    def _holding(self, real: Any) -> Any:
        async def held(*given: Any) -> Any:
            self.under_way += 1
            self.begun.release()
            await self.gone_on.wait()
            self.under_way -= 1
            return await real(*given)

        return held

    async def wait(self, number: int) -> None:
        async with asyncio.timeout(30):
            for _ in range(number):
                await self.begun.acquire()


async def test_a_user_has_so_many_scans_at_once_over_all_runs_and_the_next_waits_for_one_to_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(store, monkeypatch, "scan", "count")
    runs = [scope(run=f"r{number}", scans_at_once=2) for number in range(3)]
    tasks = [asyncio.create_task(store.execute(each, Scan(namespace="n"))) for each in runs]
    await held.wait(2)
    await store.execute(runs[2], GET)  # Which is no scan.
    others = asyncio.create_task(store.execute(scope("bob", scans_at_once=2), Count(namespace="n")))
    await held.wait(1)
    assert held.under_way == 3
    held.gone_on.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks, others)


@pytest.mark.parametrize(
    "operation",
    [
        Scan(namespace="n", detail="key"),
        Count(namespace="n"),
        Namespaces(),
        GetUsage(),
        Clear(namespace="n"),
        Copy(namespace="n", target="m"),
    ],
    ids=lambda each: str(each.op),
)
async def test_what_finds_no_place_in_time_is_refused_and_says_how_many_there_may_be(
    store: Store, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    monkeypatch.setattr(crowds, "WAIT_SECONDS", 0.01)
    held, acting = Held(store, monkeypatch, "scan"), scope(scans_at_once=1)
    first = asyncio.create_task(store.execute(acting, Scan(namespace="n")))
    await held.wait(1)
    with pytest.raises(RateExceeded) as caught:
        await store.execute(acting, operation)
    assert str(caught.value) == (
        "as many scans of this user are under way as may be at once (1), and none ended within 0.01 s. "
        "Try again in 1 s, or do them one after another."
    )
    held.gone_on.set()
    await asyncio.wait_for(first, 30)
    await store.execute(acting, operation)


async def test_a_user_has_so_many_long_polls_at_once_and_a_cancelled_one_leaves_its_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowds, "WAIT_SECONDS", 0.01)
    acting = scope(long_polls_at_once=1)
    poll = Watch(namespace="n", wait_seconds=30)
    first = asyncio.create_task(store.execute(acting, poll))
    await asyncio.sleep(0)  # It has its place.
    with pytest.raises(RateExceeded, match=r"many long polls .* may be at once \(1\), .* one watch"):
        await store.execute(acting, poll)
    await store.execute(acting, Watch(namespace="n"))  # Which does not wait.
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await store.execute(acting, Watch(namespace="n", wait_seconds=0.01))


async def test_a_grant_that_ends_while_an_operation_waits_for_its_place_gives_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, acting = Held(store, monkeypatch, "scan"), scope(scans_at_once=1)
    first = asyncio.create_task(store.execute(acting, Scan(namespace="n")))
    await held.wait(1)
    until = store.clock.now().replace(year=2999, microsecond=0)
    brief = Scope(user="alice", agent="x", grants=(Grant(namespace="n", until=until),), limits=acting.limits)
    waiting = asyncio.create_task(store.execute(brief, Scan(namespace="n")))
    await asyncio.sleep(0)

    class Later:
        def now(self) -> Any:
            return until

    store.clock = Later()
    held.gone_on.set()
    with pytest.raises(AccessDenied):
        await asyncio.wait_for(waiting, 30)
    await asyncio.gather(first, return_exceptions=True)


def test_a_delegated_scope_is_never_faster() -> None:
    acting = scope(operations_per_second=10, scans_at_once=2)
    assert acting.delegate("y", []).limits == acting.limits
    assert acting.delegate("y", [], limits=Limits(operations_per_second=5, scans_at_once=1)).agent == "y"
    for wider in (Limits(), Limits(operations_per_second=11, scans_at_once=2), Limits(operations_per_second=10)):
        with pytest.raises(AccessDenied, match="is above this scope's own"):
            acting.delegate("y", [], limits=wider)


async def test_a_delete_is_counted_like_any_operation(store: Store) -> None:
    acting = scope(operations_per_second=0.001)
    await store.execute(acting, Apply(namespace="n", mutations=(Delete(key="k"),)))
    with pytest.raises(RateExceeded):
        await store.execute(acting, Apply(namespace="n", mutations=(Delete(key="k"),)))
