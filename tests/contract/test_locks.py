"""Locks: one holder at a time, tokens that grow, leases that renew themselves and end with their holder."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from datastore import Grant, Scope
from datastore.errors import (
    AccessDenied,
    Conflict,
    InvalidArgument,
    InvalidName,
    LockUnavailable,
    NotSupported,
    StoreUnavailable,
)
from datastore.operations import Answer, Apply, Clear, Copy, Delete, Get, Operation, Scan
from sandbox import ConnectedDataStore
from sandbox.guest.lease import Lease, Lock
from tests.contract.test_watch import meanwhile
from tests.world import WAIT_SECONDS, World

HERE = "@locks/default"


def held(store: ConnectedDataStore, name: str = "x", **options: Any) -> bool:
    """Say whether somebody else holds a lock, by trying to take it."""
    try:
        with store.lock(name, **options):
            return False
    except LockUnavailable:
        return True


def is_lost(lock: Lock) -> None:
    """Give back a lock that is not held any more, which must say so."""
    with pytest.raises(LockUnavailable, match=r"the lease of lock '\w+' was lost: it expired or was removed"):
        lock.__exit__(None, None, None)


def test_a_lock_has_one_holder_at_a_time(the_world: World) -> None:
    one, other = the_world.agent(run="run-1"), the_world.agent(run="run-2")
    with one.lock("x") as lease:
        assert not lease.lost
        with pytest.raises(LockUnavailable, match=r"'x' is held by another run\. Wait longer with wait_") as caught:
            other.lock("x").__enter__()
        assert 0 < caught.value.fields["expires_in_seconds"] <= 30
        with other.lock("y"), other.use_namespace("elsewhere").lock("x"):
            assert not lease.lost
    assert repr(lease) == "<lease of 'x', token 1, lost>"
    assert not held(other)


def test_two_users_share_no_lock(the_world: World) -> None:
    with the_world.agent("alice").lock("x"), the_world.agent("bob").lock("x"):
        assert held(the_world.agent("alice", run="run-2"))


def test_every_holder_has_a_larger_token_also_across_expiry_and_clear(the_world: World) -> None:
    store, other = the_world.agent(), the_world.agent(run="run-2")
    tokens = []
    for _ in range(3):
        with store.lock("x") as lease:
            tokens.append(lease.token)
    late = store.lock("x", ttl_seconds=600)
    tokens.append(late.__enter__().token)
    the_world.clock.advance(601)
    with other.lock("x") as its:
        tokens.append(its.token)
        store.set("k", 1)
        assert other.clear() == 1
        assert held(the_world.agent(run="run-3"))
    is_lost(late)
    with store.lock("x") as lease:
        tokens.append(lease.token)
    assert tokens == [1, 2, 3, 4, 5, 6]


def test_a_holder_who_comes_too_late_gives_back_nothing_of_anothers(the_world: World) -> None:
    store, other = the_world.agent(), the_world.agent(run="run-2")
    late = store.lock("x", ttl_seconds=600)
    lease = late.__enter__()
    the_world.clock.advance(601)
    with other.lock("x"):
        is_lost(late)
        assert held(the_world.agent(run="run-3"))
    assert lease.lost


def test_what_the_body_raised_is_not_hidden_by_a_lost_lease(the_world: World) -> None:
    late = the_world.agent().lock("x", ttl_seconds=600)

    def work() -> None:
        with late:
            the_world.clock.advance(601)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_a_run_is_told_at_once_that_it_holds_the_lock_already(the_world: World) -> None:
    store = the_world.agent()
    with store.lock("x"):
        with pytest.raises(LockUnavailable, match=r"this run holds the lock 'x' already.*Pass the lease on"):
            store.lock("x", wait_seconds=WAIT_SECONDS).__enter__()
        with store.use_namespace("other").lock("x"):
            pass
    with store.lock("x"):
        pass


def test_a_lease_renews_itself_until_it_is_given_back(the_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, store = threading.Event(), the_world.agent()
    call = store._channel.call

    def calling(request: Any) -> Any:
        answer = call(request)
        if request.get("mutations", [{}])[0].get("kind") == "touch":
            renewed.set()
        return answer

    monkeypatch.setattr(store._channel, "call", calling)
    with store.lock("x", ttl_seconds=1.5) as lease:
        version = lease._version
        for _ in range(2):
            renewed.clear()
            assert renewed.wait(WAIT_SECONDS)
        the_world.clock.advance(1.2)
        renewed.clear()
        assert renewed.wait(WAIT_SECONDS)
        the_world.clock.advance(1.2)
        assert held(the_world.agent(run="run-2"))
        assert lease._version == version


def test_a_lease_that_cannot_be_renewed_says_that_it_is_lost(the_world: World) -> None:
    lock = the_world.agent().lock("x", ttl_seconds=1)
    lease = lock.__enter__()
    the_world.execute(Apply(namespace=HERE, mutations=(Delete(key="lease:x"),)))
    while not lease.lost:
        threading.Event().wait(0.01)
    is_lost(lock)


def test_waiting_ends_when_the_lock_is_given_back(the_world: World) -> None:
    one, other = the_world.agent(run="run-1"), the_world.agent(run="run-2")
    taken, asked = threading.Event(), threading.Event()
    call, tokens = other._channel.call, list[int]()

    def calling(request: Any) -> Any:
        if request.get("wait_seconds"):
            asked.set()
        return call(request)

    def wait() -> None:
        assert taken.wait(WAIT_SECONDS)
        with other.lock("x", wait_seconds=WAIT_SECONDS) as lease:
            tokens.append(lease.token)

    other._channel.call = calling  # type: ignore[method-assign]  # to know when it waits
    with meanwhile(wait), one.lock("x", ttl_seconds=3600):
        taken.set()
        assert asked.wait(WAIT_SECONDS)
    assert tokens == [2]


def test_waiting_ends_when_the_lease_expires(the_world: World) -> None:
    one, other = the_world.agent(run="run-1"), the_world.agent(run="run-2")
    lease = one.lock("x", ttl_seconds=3600).__enter__()
    lease._ended.set()  # The holder dies.
    the_world.clock.advance(3599.9)
    looked = threading.Event()
    call = other._channel.call

    def calling(request: Any) -> Any:
        if request["op"] == "watch":
            looked.set()
        return call(request)

    other._channel.call = calling  # type: ignore[method-assign]  # to know when it waits

    def expire() -> None:
        assert looked.wait(WAIT_SECONDS)
        the_world.clock.advance(0.2)

    with meanwhile(expire), other.lock("x", wait_seconds=WAIT_SECONDS) as its:
        assert its.token == 2


def test_who_stalls_between_claim_and_token_never_uses_that_token(the_world: World) -> None:
    slow, fast = the_world.agent(run="run-1"), the_world.agent(run="run-2")
    claimed, go_on = threading.Event(), threading.Event()
    call, tokens = slow._channel.call, list[int]()

    def stalling(request: Any) -> Any:
        if request["op"] == "apply" and request["mutations"][0]["kind"] == "incr" and not claimed.is_set():
            claimed.set()
            assert go_on.wait(WAIT_SECONDS)
        return call(request)

    def take() -> None:
        with slow.lock("x", ttl_seconds=60, wait_seconds=WAIT_SECONDS) as lease:
            tokens.append(lease.token)

    slow._channel.call = stalling  # type: ignore[method-assign]  # to stop it there
    with meanwhile(take):
        assert claimed.wait(WAIT_SECONDS)
        the_world.clock.advance(61)
        with fast.lock("x") as lease:
            tokens.append(lease.token)
            go_on.set()
            assert tokens == [1]
    assert tokens == [1, 3]  # The token 2 was counted after the claim had expired, and was given up with it.


def test_changes_with_a_lease_are_made_only_while_it_holds(large_world: World) -> None:
    store, other = large_world.agent(), large_world.agent(run="run-2")
    lock = store.lock("x", ttl_seconds=600)
    lease = lock.__enter__()
    with store.atomic(lease=lease) as changes:
        changes.set("k", 1).use_namespace("n").incr("count")
    with pytest.raises(Conflict), store.atomic(lease=lease) as changes:
        changes.check("k", "another version").set("n", 1)
    large_world.clock.advance(601)
    with other.lock("x"), pytest.raises(LockUnavailable, match="was lost"), store.atomic(lease=lease) as changes:
        changes.set("k", 2)
    is_lost(lock)
    with pytest.raises(LockUnavailable, match="was lost"), store.atomic(lease=lease) as changes:
        changes.set("k", 3)
    assert (store.get("k"), store.get("n")) == (1, None)
    with pytest.raises(InvalidArgument, match=r'lease is what lock\(\) gives, got str\. Write "with'):
        store.atomic(lease="x")  # type: ignore[arg-type]  # the mistake


def test_nobody_uses_the_locks_of_what_they_may_not_write(the_world: World) -> None:
    reader = the_world.agent(grants=(Grant(namespace="*", access="read"),))
    with pytest.raises(AccessDenied, match="writing namespace 'default' is not granted"):
        reader.lock("x").__enter__()
    writer = the_world.agent(grants=(Grant(namespace="jobs", access="write"), Grant(namespace="self.*")))
    with writer.use_namespace("jobs").lock("x"), writer.private("p").lock("x"):
        assert the_world.agent().list_namespaces() == []
        assert the_world.agent().usage()["keys"] == 0
        assert not held(the_world.agent(agent="another").private("p"))
    with pytest.raises(AccessDenied, match="read_only"):
        the_world.agent().read_only().lock("x")


def test_locks_are_reached_by_lock_alone(the_world: World) -> None:
    store = the_world.agent()
    with pytest.raises(InvalidName, match="begins with '@'"):
        store.use_namespace(HERE)
    scope = Grant.own()
    assert scope.namespace == "*"
    for operation in (
        Clear(namespace=HERE),
        Scan(namespace=HERE),
        Copy(namespace="default", target=HERE),
        Copy(namespace=HERE, target="default"),
    ):
        with pytest.raises(InvalidName, match="holds locks, which only lock\\(\\) uses"):
            store._channel.call(operation.model_dump(exclude_none=True, exclude_defaults=False))
    for nested in ("@locks/@locks/default", "@locks/@agent/writer", "@locks/"):
        with pytest.raises(InvalidName):
            store._channel.call(Get(namespace=nested, keys=("a",)).model_dump())


@pytest.mark.parametrize(
    "mutation",
    [
        {"kind": "put", "key": "note", "value": "hidden", "if_absent": True, "ttl_seconds": 5.0},
        {"kind": "put", "key": "lease:x", "value": "hidden", "if_absent": True, "ttl_seconds": 5.0},
        {"kind": "put", "key": "lease:x", "value": None, "if_absent": True},
        {"kind": "put", "key": "lease:x", "value": {"token": "1" * 100}, "if_version": "v", "ttl_seconds": 5.0},
        {"kind": "put", "key": "lease:x", "value": None, "if_absent": True, "ttl_seconds": 5.0, "metadata": {"a": 1}},
        {"kind": "put", "key": "token:x", "value": 1},
        {"kind": "incr", "key": "token:x", "by": 2},
        {"kind": "incr", "key": "token:x", "by": 1, "ttl_seconds": 5.0},
        {"kind": "incr", "key": "count", "by": 1},
        {"kind": "delete", "key": "token:x"},
        {"kind": "delete", "key": "lease:x"},
        {"kind": "touch", "key": "lease:x", "ttl_seconds": 5.0},
        {"kind": "touch", "key": "lease:x", "if_version": "v"},
    ],
    ids=str,
)
def test_among_locks_nothing_is_kept_and_no_token_is_made_to_fall(the_world: World, mutation: dict[str, Any]) -> None:
    store = the_world.agent()
    with pytest.raises(InvalidName, match="which only lock\\(\\) uses"):
        store._channel.call({"op": "apply", "namespace": HERE, "mutations": [mutation]})
    inside = {**mutation, "namespace": HERE}
    with pytest.raises(InvalidName, match="which only lock\\(\\) uses"):
        store._channel.call({"op": "apply", "namespace": "default", "atomic": True, "mutations": [inside]})


def test_a_connection_that_ends_gives_back_what_it_holds(the_world: World) -> None:
    gone, other = the_world.agent(run="run-1"), the_world.agent(run="run-2")
    gone.lock("x", ttl_seconds=3600).__enter__()
    gone.use_namespace("n").lock("x", ttl_seconds=3600).__enter__()
    gone.close()
    with other.lock("x", wait_seconds=WAIT_SECONDS), other.use_namespace("n").lock("x", wait_seconds=WAIT_SECONDS):
        pass


def test_a_lock_that_fails_half_way_is_given_back(the_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store, call = the_world.agent(), the_world.agent()._channel.call

    def failing(request: Any) -> Any:
        if request["mutations"][0]["kind"] == "incr":
            raise StoreUnavailable("staged")
        return call(request)

    monkeypatch.setattr(store._channel, "call", failing)
    with pytest.raises(StoreUnavailable):
        store.lock("x", ttl_seconds=3600).__enter__()
    with the_world.agent(run="run-2").lock("x", wait_seconds=WAIT_SECONDS):
        pass


def test_a_lock_whose_taking_is_cancelled_is_given_back_at_any_moment(large_world: World) -> None:
    store, other = large_world.agent(), large_world.agent(run="run-2")

    async def hold(name: str) -> None:
        async with store.aio.lock(name, ttl_seconds=3600):
            await asyncio.Event().wait()

    async def interrupted() -> None:
        holders = [asyncio.ensure_future(hold(f"x{turn}")) for turn in range(20)]
        for turn, holder in enumerate(holders):
            asyncio.get_running_loop().call_later(turn * 0.001, holder.cancel)
        await asyncio.wait(holders)
        for turn in range(20):
            async with other.aio.lock(f"x{turn}", wait_seconds=WAIT_SECONDS):
                pass

    asyncio.run(interrupted())


def test_two_tasks_of_one_run_wait_for_each_other(the_world: World) -> None:
    store, order = the_world.agent(), list[int]()

    async def work() -> None:
        async with store.aio.lock("x", wait_seconds=WAIT_SECONDS) as lease:
            order.append(lease.token)
            await store.aio.get("k")
            order.append(lease.token)

    async def both() -> None:
        await asyncio.gather(work(), work())
        async with store.aio.lock("x"):
            with pytest.raises(LockUnavailable, match="this run holds"):
                async with store.aio.lock("x", wait_seconds=WAIT_SECONDS):
                    pass

    asyncio.run(both())
    assert order == [1, 1, 2, 2]


def test_waiting_that_is_cut_off_leaves_no_mark(the_world: World) -> None:
    store, other = the_world.agent(), the_world.agent(run="run-2")

    async def cut_off() -> None:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await store.aio.lock("x", wait_seconds=WAIT_SECONDS).__aenter__()
        # A claim under way is awaited, to be given back; a loop that ends first leaves that to the lease's expiry.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    with other.lock("x"):
        asyncio.run(cut_off())
    with store.lock("x", wait_seconds=WAIT_SECONDS):
        pass


def test_a_wait_that_is_cut_off_within_a_claim_goes_on_for_that_claim_alone(
    the_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = the_world.agent(), the_world.agent(run="run-2")
    claimed, goes_on, asked = threading.Event(), threading.Event(), []
    execute = the_world.store.execute

    async def held_up(scope: Scope, operation: Operation) -> Answer:
        if scope.run == "run-1":
            asked.append(operation.op)
            claimed.set()
            await asyncio.to_thread(goes_on.wait, WAIT_SECONDS)
        return await execute(scope, operation)

    async def cut_off() -> None:
        taking = asyncio.create_task(store.aio.lock("x", wait_seconds=WAIT_SECONDS).__aenter__())
        await asyncio.to_thread(claimed.wait, WAIT_SECONDS)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        goes_on.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    with other.lock("x"):
        monkeypatch.setattr(the_world.store, "execute", held_up)
        asyncio.run(cut_off())
    assert asked == ["apply"]


def test_without_a_thread_to_renew_it_nothing_is_locked(the_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = the_world.agent()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(LockUnavailable, match=r"needs a thread that renews it.*End threads, or give back"):
            store.lock("x").__enter__()
    assert not held(the_world.agent(run="run-2"))


def test_a_lock_of_the_longest_namespace_and_name_works(the_world: World) -> None:
    with the_world.agent().use_namespace("n" * 256).lock("l" * 256) as lease:
        assert lease.token == 1


@pytest.mark.parametrize(
    ("mistake", "mend"),
    [
        (lambda store: store.lock("x").token, "Write \"with data_store.lock\\('x'\\) as lease:\""),
        (lambda store: store.aio.lock("x").token, 'Write "async with data_store.aio.lock'),
        (lambda store: store.aio.lock("x").__enter__(), 'is for "async with"'),
        (lambda store: store.lock(""), "lock must not be empty"),
        (lambda store: store.lock("x", ttl_seconds=0), "ttl_seconds=0 must be above 0"),
        (lambda store: store.lock("x", ttl_seconds=0.5), "ttl_seconds=0.5 is too short .* Write ttl_seconds=1 or more"),
        (
            lambda store: store.add("x", 1, ttl_seconds=0.9),
            "ttl_seconds=0.9 is too short .* Write ttl_seconds=1 or more",
        ),
        (lambda store: store.lock("x", wait_seconds=-1), "wait_seconds=-1 must be above 0"),
        (lambda store: store.lock("x", timeout=3), "wait_seconds|ttl_seconds"),
    ],
    ids=range(9),
)
@pytest.mark.filterwarnings("ignore:.*never entered:RuntimeWarning")
def test_a_nearly_right_call_names_its_mend(the_world: World, mistake: Any, mend: str) -> None:
    with pytest.raises((InvalidArgument, InvalidName), match=mend):
        mistake(the_world.agent())


def test_a_lock_that_nobody_enters_warns(the_world: World) -> None:
    with pytest.warns(RuntimeWarning, match=r"data_store\.lock\('x'\) was never entered, so nothing was locked"):
        the_world.agent().lock("x")


def test_asynchronous_agents_lock_too(the_world: World) -> None:
    one, other = the_world.agent(run="run-1"), the_world.agent(run="run-2")
    order: list[int] = []

    async def work(store: ConnectedDataStore) -> None:
        async with store.aio.lock("x", wait_seconds=WAIT_SECONDS) as lease:
            assert isinstance(lease, Lease)
            order.append(lease.token)
            await store.aio.incr("count")
            order.append(lease.token)

    async def both() -> None:
        await asyncio.gather(work(one), work(other))

    asyncio.run(both())
    assert order == [1, 1, 2, 2]
    assert one.get("count") == 2


def test_a_lost_reply_of_a_renewal_is_no_loss_before_the_lease_expires(
    the_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = the_world.agent()
    failures, call = [1], store._channel.call
    again = threading.Event()

    def failing(request: Any) -> Any:
        if request.get("mutations", [{}])[0].get("kind") == "touch":
            if failures.pop() if failures else 0:
                raise StoreUnavailable("staged")
            again.set()
        return call(request)

    monkeypatch.setattr(store._channel, "call", failing)
    with store.lock("x", ttl_seconds=1.2) as lease:
        assert again.wait(WAIT_SECONDS)
        assert not lease.lost


def test_a_standalone_server_cannot_tie_changes_to_a_lease(the_world: World) -> None:
    if the_world.backend == "mock":  # It has no transactions either.
        store = the_world.agent()
        with store.lock("x") as lease, pytest.raises(NotSupported), store.atomic(lease=lease) as changes:
            changes.set("k", 1)
        assert store.get("k") is None
