"""The pool of warm slots: bounded, single-use, refilled with patience, and nothing of it stays."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import signal
import socket
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, Store
from datastore.errors import InvalidArgument, SandboxUnavailable
from sandbox import RunResult, Sandbox
from sandbox.isolation import Guest, choose
from sandbox.isolation.process import Process
from sandbox.limits import PoolLimits
from sandbox.pool import MOST_FAILURES, NoSlot, Pool, pause_seconds
from sandbox.slot import Slot
from tests.sandbox.conftest import PROMISING

pytestmark = pytest.mark.timeout(60)

ALICE = Scope(user="alice", agent="worker")
BOB = Scope(user="bob", agent="worker")
TRIVIAL = "def run(): return 1"
WAIT = "async def run(_, tools):\n    await tools['wait']()\n    return 1"


class Staged:
    """A level of real guests that fail to start, or never get ready, when the test says so."""

    name = "unsafe_process"

    def __init__(self, *, failing: int = 0, mute: bool = False) -> None:
        self.failing = failing
        self.mute = mute
        self.attempts = 0
        self.guests: list[Process] = []
        self._real = choose("unsafe_process", accept_no_isolation=True)
        self._attempted = asyncio.Event()

    async def prepare(self) -> None:
        await self._real.prepare()

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        self.attempts += 1
        self._attempted.set()
        if self.failing:
            self.failing -= 1
            raise SandboxUnavailable(f"staged failure {self.attempts}", "Mend it.")
        guest = self._real.spawn(silence() if self.mute else bootstrap, peer)
        assert isinstance(guest, Process)
        self.guests.append(guest)
        return guest

    async def close(self) -> None:
        await self._real.close()

    async def reach(self, attempts: int) -> None:
        """Wait until so many starts have been tried."""
        async with asyncio.timeout(30):
            while self.attempts < attempts:
                self._attempted.clear()
                await self._attempted.wait()


class Pauses:
    """Pauses that last until the test ends them, and are remembered."""

    def __init__(self, permits: int) -> None:
        self.seconds: list[float] = []
        self.permits = asyncio.Semaphore(permits)
        self._asked = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._asked.set()
        await self.permits.acquire()

    async def reach(self, number: int) -> None:
        async with asyncio.timeout(30):
            while len(self.seconds) < number:
                self._asked.clear()
                await self._asked.wait()


def silence() -> bytes:
    """A bootstrap that never says ready."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", "import signal\nsignal.pause()")
    return buffer.getvalue()


@asynccontextmanager
async def opened(level: Staged, pauses: Pauses | None = None, **limits: Any) -> AsyncIterator[Pool]:
    await level.prepare()
    pool = Pool(level, PoolLimits(**{"size": 1, **limits}), *([pauses] if pauses else []))
    pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def run(sandbox: Sandbox, code: str, scope: Scope = ALICE, **options: Any) -> RunResult:
    return await asyncio.wait_for(sandbox.run(code, scope=scope, **options), 30)


async def full(pool: Pool) -> None:
    await asyncio.wait_for(pool.full.wait(), 30)


class Gate:
    """A tool that lets the test know when it is called, and returns when the test says so."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.go_on = asyncio.Event()

    async def wait(self) -> None:
        self.called.set()
        await self.go_on.wait()


def remains() -> tuple[list[str], list[str], int]:
    """Return what a sandbox could leave: children, descriptors and tasks, without those of the store's own work.

    What earlier tests left to the garbage collector goes first.
    """
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    tasks = [each for each in asyncio.all_tasks() if not is_of_the_store(each)]
    return children, sorted(descriptors()), len(tasks)


def is_of_the_store(task: asyncio.Task[Any]) -> bool:
    """Say whether a store made a task, or SQLAlchemy did, which closes each connection in one."""
    code = getattr(task.get_coro(), "cr_code", None)
    return task.get_name().startswith("datastore ") or "sqlalchemy" in getattr(code, "co_filename", "")


def descriptors() -> Iterator[str]:
    """Give those that are open, but for the store's files: it opens one more when two look at once."""
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names only
        with contextlib.suppress(FileNotFoundError):  # The listing's own.
            if "store.db" not in os.readlink(f"/proc/self/fd/{number}"):  # noqa: PTH115 - what it says, not a path
                yield number


async def test_no_slot_is_used_twice(store: Store) -> None:
    level = Staged()
    async with Sandbox(store, isolation=level, pool_size=2) as sandbox:
        code = "import os\ndef run(): return os.getpid()"
        results = await asyncio.gather(*(run(sandbox, code) for _ in range(8)))
    pids = [result.output for result in results]
    assert len(set(pids)) == 8
    assert set(pids) <= {guest.pid for guest in level.guests}


@pytest.mark.parametrize(("size", "at_once"), [(2, False), (1, True)])
async def test_only_the_last_slot_is_replaced_before_its_run_has_had_the_loop(size: int, at_once: bool) -> None:  # noqa: FBT001 - a case
    level = Staged()
    async with opened(level, size=size) as pool:
        await full(pool)
        await pool.retire((await pool.take("alice", 30))[0])
        assert (len(pool._starts), pool._later is None) == (int(at_once), at_once)
        await level.reach(size + 1)


async def test_a_slot_that_a_run_was_given_as_it_gave_up_fills_the_pool_again() -> None:
    level = Staged()
    async with opened(level, size=2, runs_at_once=1) as pool:
        await full(pool)
        running, _ = await pool.take("alice", 30)
        await full(pool)
        waiting = asyncio.create_task(pool.take("bob", 30))
        await asyncio.sleep(0)
        pool._leave()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (len(pool._idle), pool.full.is_set()) == (2, True)
        await running.end()


@pytest.mark.parametrize("level", PROMISING)
async def test_two_users_alternating_on_a_pool_of_one_see_nothing_of_each_other(store: Store, level: str) -> None:
    code = """
import gc, os, sys, threading
def run(name):
    import json
    found = [
        getattr(json, "left", None), os.environ.get("LEFT"), sys.modules.get("left"), globals().get("left"),
        os.path.exists("/tmp/left"), data_store.get("k"), sorted(threading.enumerate()[1:]),
        [each for each in gc.get_objects() if type(each).__name__ == "Left"],
    ]
    globals()["left"] = json.left = os.environ["LEFT"] = name
    sys.modules["left"] = json
    json.held = type("Left", (), {})()
    try:
        open("/tmp/left", "w").write(name)
    except OSError:
        pass
    data_store.set("k", name)
    return found
"""
    async with Sandbox(store, isolation=level, run_as=PROMISING[level], pool_size=1) as sandbox:
        seen = []
        for scope in (ALICE, BOB, ALICE, BOB):
            result = await run(sandbox, code, scope, input=scope.user)
            assert result.error is None
            seen.append(result.output)
    nothing: list[Any] = [None, None, None, None, False, None, [], []]
    for scope, found in zip((ALICE, BOB, ALICE, BOB), seen, strict=True):
        assert found[5] in (None, scope.user)
        assert [*found[:5], None, *found[6:]] == nothing


@pytest.mark.parametrize("level", PROMISING)
async def test_a_waiting_guest_holds_nothing_of_its_rehearsal(store: Store, level: str) -> None:
    code = "import sys\ndef run(): return ['rehearsal' in str(sys.modules.get('agent')), data_store.get('k')]"
    async with Sandbox(store, isolation=level, run_as=PROMISING[level], pool_size=1) as sandbox:
        result = await run(sandbox, code)
    assert (result.output, result.error) == ([False, None], None)


@pytest.mark.parametrize("level", PROMISING)
async def test_a_warm_run_waits_neither_for_a_turn_nor_for_a_start(store: Store, level: str) -> None:
    async with Sandbox(store, isolation=level, run_as=PROMISING[level], pool_size=1) as sandbox:
        await full(sandbox._pool)
        stats = (await run(sandbox, TRIVIAL)).stats
    assert stats.queue_seconds + stats.start_seconds < 0.005
    assert stats.run_seconds > 0
    assert stats.peak_memory_bytes is not None
    assert 5 * 2**20 < stats.peak_memory_bytes < 100 * 2**20


async def test_the_peak_is_what_the_agent_held_also_where_it_let_go(confined: Sandbox) -> None:
    stats = (await run(confined, "def run(): return len(b'x' * 100_000_000)")).stats
    assert stats.start_seconds > 0
    assert stats.peak_memory_bytes is not None
    assert stats.peak_memory_bytes > 100_000_000


async def test_a_run_beyond_the_queue_ends_at_once_with_no_slot(store: Store) -> None:
    gate = Gate()
    async with Sandbox(store, isolation=Staged(), pool_size=1, runs_at_once=1, queue_size=1) as sandbox:
        first = asyncio.create_task(run(sandbox, WAIT, tools={"wait": gate.wait}))
        await asyncio.wait_for(gate.called.wait(), 30)
        queued = asyncio.create_task(run(sandbox, TRIVIAL))
        await asyncio.sleep(0)
        refused = await run(sandbox, "def run(): data_store.set('k', 1)")
        gate.go_on.set()
        results = [await first, await queued]
    assert (refused.outcome, refused.error) == ("no_slot", "1 runs wait for a slot already")
    assert (refused.operations, refused.stats.run_seconds) == ((), 0)
    assert [result.outcome for result in results] == ["done", "done"]
    assert results[1].stats.queue_seconds > 0


@pytest.mark.parametrize("pool_size", [0, 1])
async def test_a_run_whose_turn_does_not_come_in_time_ends_with_no_slot(store: Store, pool_size: int) -> None:
    gate = Gate()
    bounds = {"pool_size": pool_size, "runs_at_once": 1, "queue_seconds": 0.5}
    async with Sandbox(store, isolation=Staged(), **bounds) as sandbox:  # type: ignore[arg-type]  # as it takes them
        first = asyncio.create_task(run(sandbox, WAIT, tools={"wait": gate.wait}))
        await asyncio.wait_for(gate.called.wait(), 30)
        refused = await run(sandbox, TRIVIAL)
        gate.go_on.set()
        assert (await first).outcome == "done"
        assert (await run(sandbox, TRIVIAL)).outcome == "done"
    assert (refused.outcome, refused.error) == ("no_slot", "no slot became free within 0.5 seconds")
    assert 0.4 < refused.stats.queue_seconds < 10


async def line_up(sandbox: Sandbox, gate: Gate, users: list[str]) -> tuple[list[str], list[asyncio.Task[RunResult]]]:
    """Let one run of mallory's hold the only slot, and one of each user wait, in this order; return who ran when."""
    ran: list[str] = []

    def tools(user: str) -> dict[str, Any]:
        return {"wait": gate.wait, "ran": lambda: ran.append(user)}

    code = "async def run(_, tools):\n    tools['ran']()\n    await tools['wait']()"
    tasks = []
    for user in ["mallory", *users]:
        tasks.append(asyncio.create_task(run(sandbox, code, Scope(user=user, agent="worker"), tools=tools(user))))
        await asyncio.wait_for(gate.called.wait(), 30)
        await asyncio.sleep(0)
    return ran, tasks


@pytest.mark.parametrize("pool_size", [0, 1])
async def test_users_take_turns_where_slots_are_scarce(store: Store, pool_size: int) -> None:
    gate = Gate()
    async with Sandbox(store, isolation=Staged(), pool_size=pool_size, runs_at_once=1) as sandbox:
        ran, tasks = await line_up(sandbox, gate, ["mallory"] * 5 + ["alice", "alice", "bob"])
        gate.go_on.set()
        assert {(await each).outcome for each in tasks} == {"done"}
    assert ran == ["mallory", "mallory", "alice", "bob", "mallory", "alice", "mallory", "mallory", "mallory"]


async def test_a_full_queue_turns_away_the_last_of_the_longest_line(store: Store) -> None:
    gate = Gate()
    async with Sandbox(store, isolation=Staged(), pool_size=1, runs_at_once=1, queue_size=3) as sandbox:
        _, tasks = await line_up(sandbox, gate, ["mallory"] * 3 + ["alice", "bob", "carol", "alice"])
        gate.go_on.set()
        outcomes = [(await each).outcome for each in tasks]
        stats = (await tasks[2]).stats
    assert outcomes == ["done", "done", "no_slot", "no_slot", "done", "done", "no_slot", "no_slot"]
    assert stats.queue_seconds > 0


async def test_failed_starts_are_tried_again_more_and_more_slowly_until_one_succeeds() -> None:
    level, pauses = Staged(failing=4), Pauses(permits=10)
    async with opened(level, pauses) as pool:
        slot, _ = await pool.take("alice", 10)
        await pool.retire(slot)
        await full(pool)
    for seconds, longest in zip(pauses.seconds, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= seconds <= longest
    assert level.attempts == 6


async def test_while_starts_fail_only_one_at_a_time_is_tried() -> None:
    level, pauses = Staged(failing=9), Pauses(permits=0)
    async with opened(level, pauses, size=4):
        await pauses.reach(1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(pauses.seconds) == 1


def test_a_pause_is_bounded_and_never_the_same_twice() -> None:
    pauses = [pause_seconds(1000) for _ in range(10)]
    assert all(15 <= each <= 30 for each in pauses)
    assert len(set(pauses)) == 10


async def test_five_failures_in_a_row_end_the_wait_of_everybody_and_a_success_opens_again() -> None:
    level, pauses = Staged(failing=MOST_FAILURES), Pauses(permits=MOST_FAILURES - 1)
    async with opened(level, pauses) as pool:
        waiting = [asyncio.create_task(pool.take("alice", 10)) for _ in range(3)]
        ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
        assert all(isinstance(each, SandboxUnavailable) for each in ended)
        assert "in a row, the last one because staged failure 5. Mend it." in str(ended[0])
        assert len({id(each) for each in ended}) == 3
        with pytest.raises(SandboxUnavailable, match="staged failure 5"):
            await pool.take("alice", 10)
        await pauses.reach(MOST_FAILURES)
        attempts = level.attempts
        pauses.permits.release()
        await level.reach(attempts + 1)
        await full(pool)
        slot, _ = await pool.take("alice", 10)
        await pool.retire(slot)


async def test_a_level_that_raises_anything_else_is_told_to_those_who_wait() -> None:
    class Broken(Staged):
        def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
            raise ZeroDivisionError(bootstrap[:0], peer)

    async with opened(Broken(), Pauses(permits=9)) as pool:
        with pytest.raises(SandboxUnavailable, match="a guest's start raised ZeroDivisionError"):
            await pool.take("alice", 10)


async def test_an_idle_slot_that_is_killed_is_replaced_and_never_handed_out(store: Store) -> None:
    level = Staged()
    async with Sandbox(store, isolation=level, pool_size=1) as sandbox:
        await full(sandbox._pool)
        os.kill(level.guests[0].pid, signal.SIGKILL)
        await asyncio.wait_for(level.guests[0].wait(), 30)
        result = await run(sandbox, "import os\ndef run(): return os.getpid()")
    assert result.output == level.guests[1].pid


async def test_guests_that_die_before_anybody_takes_one_are_replaced_more_and_more_slowly() -> None:
    level, pauses = Staged(), Pauses(permits=10)
    async with opened(level, pauses) as pool:
        for number in range(1, 5):
            await full(pool)
            level.guests[-1].kill()
            await pauses.reach(number)
        slot, _ = await pool.take("alice", 10)
        await pool.retire(slot)
        await full(pool)
        level.guests[-1].kill()
        await pauses.reach(5)
    for seconds, longest in zip(pauses.seconds, (0.1, 0.2, 0.4, 0.8, 0.1), strict=True):
        assert longest / 2 <= seconds <= longest


async def test_idle_guests_that_die_together_keep_nobody_waiting_for_long() -> None:
    """As those of a zygote that is killed: one accident, however many it takes along."""
    level, pauses = Staged(), Pauses(permits=0)
    async with opened(level, pauses, size=MOST_FAILURES + 1) as pool:
        await full(pool)
        for slot in list(pool._idle):
            slot.kill()
        async with asyncio.timeout(30):
            while pool._idle:  # noqa: ASYNC110 - until the pool knows
                await asyncio.sleep(0)
        taking = asyncio.create_task(pool.take("alice", 10))
        await pauses.reach(1)
        assert pauses.seconds[0] <= 0.1
        pauses.permits.release()
        slot, _ = await taking
        await pool.retire(slot)


async def test_an_idle_guest_that_says_anything_more_is_ended() -> None:
    class Talker(Staged):
        def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
            self.peers.append(peer.dup())
            return super().spawn(bootstrap, peer)

        peers: list[socket.socket] = []  # noqa: RUF012 - of one test

    level = Talker()
    async with opened(level) as pool:
        await full(pool)
        with level.peers[0] as peer:
            peer.sendall(b"more")
        assert await asyncio.wait_for(level.guests[0].wait(), 30) != 0
        slot, _ = await pool.take("alice", 10)
        assert slot.guest is level.guests[1]
        await pool.retire(slot)
    for peer in level.peers:
        peer.close()


async def test_an_idle_slot_is_recycled_after_its_time() -> None:
    level = Staged()
    async with opened(level, slot_idle_seconds=0.2) as pool:
        await full(pool)
        await level.reach(3)
        assert await asyncio.wait_for(level.guests[0].wait(), 30) != 0


async def test_a_guest_that_does_not_get_ready_is_killed_and_named() -> None:
    level = Staged(mute=True)
    await level.prepare()
    with pytest.raises(SandboxUnavailable, match=r"did not start within 0\.2 seconds"):
        await Slot.start(level, 0.2)
    assert await level.guests[0].wait() == -signal.SIGKILL


async def test_the_pool_never_holds_more_than_its_size() -> None:
    level = Staged()
    async with opened(level, size=3) as pool:
        await full(pool)
        assert (level.attempts, len(pool._idle)) == (3, 3)
        slots = [(await pool.take("alice", 10))[0] for _ in range(3)]
        await full(pool)
        assert (level.attempts, len(pool._idle)) == (6, 3)
        for slot in slots:
            await pool.retire(slot)


@pytest.mark.parametrize("pool_size", [0, 2])
@pytest.mark.parametrize("level", PROMISING)
async def test_nothing_is_left_behind_when_the_sandbox_is_left(store: Store, level: str, pool_size: int) -> None:
    before = remains()
    async with Sandbox(store, isolation=level, run_as=PROMISING[level], pool_size=pool_size) as sandbox:
        codes = (TRIVIAL, "def run(): 1/0", "import os\nos._exit(1)", "def run(): data_store.set('k', 1)")
        await asyncio.gather(*(run(sandbox, code) for code in codes))
    assert remains() == before


async def test_nothing_is_left_behind_after_an_error_or_with_runs_and_waiters_left(store: Store) -> None:
    before = remains()
    gate = Gate()
    tasks = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the sandbox is left by it
        async with Sandbox(store, isolation=Staged(), pool_size=1, runs_at_once=1) as sandbox:
            tasks = [asyncio.create_task(run(sandbox, WAIT, tools={"wait": gate.wait})) for _ in range(3)]
            await asyncio.wait_for(gate.called.wait(), 30)
            raise ZeroDivisionError
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
    assert remains() == before


@pytest.mark.parametrize("pool_size", [0, 1])
async def test_a_run_cancelled_while_its_guest_starts_leaves_nothing(store: Store, pool_size: int) -> None:
    before = remains()
    level = Staged(mute=True)
    async with Sandbox(store, isolation=level, pool_size=pool_size) as sandbox:
        task = asyncio.create_task(run(sandbox, TRIVIAL))
        await level.reach(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert remains() == before


async def test_runs_cancelled_while_queued_give_their_turn_to_the_next(store: Store) -> None:
    gate = Gate()
    async with Sandbox(store, isolation=Staged(), pool_size=1, runs_at_once=1, queue_size=2) as sandbox:
        first = asyncio.create_task(run(sandbox, WAIT, tools={"wait": gate.wait}))
        await asyncio.wait_for(gate.called.wait(), 30)
        cancelled, last = (asyncio.create_task(run(sandbox, TRIVIAL)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        gate.go_on.set()
        assert [(await each).outcome for each in (first, last)] == ["done", "done"]
        assert sandbox._pool._running <= 1


async def test_a_run_cancelled_in_the_moment_of_its_turn_passes_the_unused_slot_on() -> None:
    level = Staged()
    async with opened(level) as pool:
        task = asyncio.create_task(pool.take("alice", 10))
        await asyncio.sleep(0)
        waiter = next(iter(pool._waiting._lines["alice"]))
        waiter.add_done_callback(lambda _: task.cancel())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (pool._running, len(pool._idle)) == (0, 1)
        slot, _ = await pool.take("alice", 10)
        assert slot.guest is level.guests[0]
        await pool.retire(slot)


async def test_a_run_cancelled_while_it_runs_is_killed_at_once(store: Store) -> None:
    before = remains()
    gate, level = Gate(), Staged()
    async with Sandbox(store, isolation=level, pool_size=1) as sandbox:
        code = "async def run(_, tools):\n    await tools['wait']()\n    while True: pass"
        task = asyncio.create_task(run(sandbox, code, tools={"wait": gate.wait}))
        await asyncio.wait_for(gate.called.wait(), 30)
        gate.go_on.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(level.guests[0].wait(), 30) == -signal.SIGKILL
    assert remains() == before


@pytest.mark.parametrize("pool_size", [0, 2])
async def test_cancelling_a_run_at_any_step_leaves_nothing(store: Store, pool_size: int) -> None:
    before = remains()
    async with Sandbox(store, isolation=Staged(), pool_size=pool_size) as sandbox:
        for steps in range(20):
            task = asyncio.create_task(run(sandbox, TRIVIAL))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await run(sandbox, TRIVIAL)).outcome == "done"
    assert remains() == before


@pytest.mark.parametrize("steps", range(8))
async def test_leaving_a_sandbox_whose_pool_is_still_filling_leaves_nothing(store: Store, steps: int) -> None:
    before = remains()
    async with Sandbox(store, isolation=Staged(), pool_size=2):
        for _ in range(steps):
            await asyncio.sleep(0)
    assert remains() == before


async def test_a_start_cancelled_before_a_ready_guest_has_a_pid_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a zygote tells it, which it does on a socket of its own."""
    asked = asyncio.Event()

    async def never(_: Process) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Process, "started", never)
    level = Staged()
    await level.prepare()
    before = remains()
    starting = asyncio.create_task(Slot.start(level, 30))
    await asyncio.wait_for(asked.wait(), 30)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert remains() == before


async def test_who_takes_a_slot_that_dies_in_that_moment_is_told_that_the_connection_is_lost() -> None:
    class Taker(asyncio.Protocol):
        told: list[str] = []  # noqa: RUF012 - of one test

        def connection_made(self, _: asyncio.BaseTransport) -> None:
            self.told.append("made")

        def connection_lost(self, _: Exception | None) -> None:
            self.told.append("lost")

    level = Staged()
    await level.prepare()
    slot = await Slot.start(level, 30)
    slot.kill()
    await asyncio.wait_for(slot._lost.wait(), 30)
    slot.hand_over(Taker(), b"hello")
    await slot.end()
    assert Taker.told == ["made", "lost"]


async def test_cancelling_the_closing_of_a_sandbox_twice_still_leaves_nothing(store: Store) -> None:
    before = remains()
    level = Staged()
    sandbox = Sandbox(store, isolation=level, pool_size=2)
    await sandbox.__aenter__()
    await full(sandbox._pool)
    closing = asyncio.create_task(sandbox.__aexit__())
    for _ in range(2):
        await asyncio.sleep(0)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert remains() == before


async def test_a_sandbox_that_is_not_open_says_so(store: Store) -> None:
    sandbox = Sandbox(store, isolation=Staged(), pool_size=1)
    with pytest.raises(InvalidArgument, match="Write: async with Sandbox"):
        await sandbox.run(TRIVIAL, scope=ALICE)
    async with sandbox:
        pass
    with pytest.raises(InvalidArgument, match="not open"):
        await sandbox.run(TRIVIAL, scope=ALICE)


async def test_nobody_waits_when_the_queue_has_no_place() -> None:
    async with opened(Staged(mute=True), queue_size=0) as pool:
        with pytest.raises(NoSlot):
            await pool.take("alice", 10)
