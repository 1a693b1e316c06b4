"""A run is bounded: time, memory, calls, bytes, log; and it dies whole, whoever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from pathlib import Path

import pytest

from admin.actions import blocking
from datastore import Scope, Store, open_store
from sandbox import RunLimits, RunResult, Sandbox
from tests.sandbox.hostile import HEAD
from tests.sandbox.test_pool import descriptors
from tests.uids import RUN_AS

ALICE = Scope(user="alice", agent="worker")

BROKEN = {
    "wire.pack({'result': {'value': 1}}) * 2": "a message out of turn",
    "wire.pack({'result': 1})": "the last message is neither a result nor an error",
    "wire.pack({'raised': {'error': 1}})": "the error is no text",
    "b'\\xff' * 4": "a frame of 4,294,967,295 bytes was announced",
    "struct.pack('>I', 8) + b'not json'": "a frame is not JSON",
}
"""What an agent sends, and what its run is told."""


async def test_a_run_that_takes_too_long_ends_at_its_wall_time(confined: Sandbox) -> None:
    result = await confined.run(
        "import time\ndef run():\n    print('begun')\n    time.sleep(60)",
        scope=ALICE,
        limits=RunLimits(wall_seconds=0.5),
    )
    assert (result.outcome, result.limit, result.log) == ("limit", "wall_seconds", "begun\n")
    assert 0.5 <= result.stats.run_seconds < 5


async def test_a_run_whose_user_is_blocked_ends_although_it_asks_for_nothing(confined: Sandbox, store: Store) -> None:
    begun = asyncio.Queue[str]()

    def run(user: str) -> asyncio.Task[RunResult]:
        code = "import time\ndef run():\n    print('begun')\n    time.sleep(60)"
        running = confined.run(code, scope=Scope(user=user, agent="worker"), on_event=lambda _: begun.put_nowait(user))
        return asyncio.create_task(running)

    alice, bob = run("alice"), run("bob")
    assert {await begun.get(), await begun.get()} == {"alice", "bob"}
    await blocking.block(store, "alice")
    result = await asyncio.wait_for(alice, 30)
    assert (result.outcome, result.limit, result.log) == ("limit", "blocked", "begun\n")
    assert not bob.done()
    bob.cancel()


async def test_a_busy_loop_that_ignores_signals_ends_at_its_processor_time(confined: Sandbox) -> None:
    code = """
import signal
def run():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        pass
"""
    result = await confined.run(code, scope=ALICE, limits=RunLimits(wall_seconds=50, cpu_seconds=1))
    assert (result.outcome, result.limit) == ("limit", "cpu_seconds")


async def test_a_memory_bomb_ends_at_its_limit(confined: Sandbox) -> None:
    result = await confined.run(
        "def run():\n    held = []\n    while True: held.append(bytearray(10**7))",
        scope=ALICE,
        limits=RunLimits(memory_bytes=256 * 1024 * 1024),
    )
    assert (result.outcome, result.limit) == ("limit", "memory_bytes")


async def test_more_threads_or_open_files_than_granted_end_the_run_by_name(confined: Sandbox) -> None:
    threads = "import threading\ndef run():\n    while True: threading.Thread(target=threading.Event().wait).start()"
    files = "import os\ndef run():\n    while True: os.dup(1)"
    for code, limit, error in ((threads, "threads", "can't start new thread"), (files, "open_files", "Too many open")):
        result = await confined.run(code, scope=ALICE, limits=RunLimits(threads=8))
        assert (result.outcome, result.limit) == ("limit", limit), result.error
        assert error in (result.error or "")


async def test_the_kernel_bounds_a_guest_as_its_run_is_bounded(confined: Sandbox) -> None:
    names = ("CORE", "CPU", "AS", "FSIZE", "NOFILE", "NPROC", "MEMLOCK", "MSGQUEUE", "SIGPENDING")
    kinds = {name: getattr(resource, f"RLIMIT_{name}", {"MSGQUEUE": 12, "SIGPENDING": 11}.get(name)) for name in names}
    result = await confined.run(
        "import resource\ndef run(given): return {name: resource.getrlimit(kind) for name, kind in given.items()}",
        kinds,
        scope=ALICE,
        limits=RunLimits(cpu_seconds=7, memory_bytes=512 * 2**20, threads=20),
    )
    bounds = (0, 7, 512 * 2**20, 16 * 2**20, 64, 20, 0, 0, 64)
    assert result.output == {name: [bound, bound] for name, bound in zip(names, bounds, strict=True)}


async def test_who_breaks_the_protocol_is_ended_with_that_as_the_reason(strict: Sandbox) -> None:
    for said, reason in BROKEN.items():
        result = await strict.run(f"{HEAD}\ndef run():\n    peer.sendall({said})\n    time.sleep(60)", scope=ALICE)
        assert (result.outcome, result.limit, result.output, result.traceback) == ("limit", "protocol", None, None)
        assert (result.error or "").startswith(f"the agent broke the protocol: {reason}")


async def test_more_calls_than_granted_raise_and_end_the_run_as_a_limit(strict: Sandbox) -> None:
    limits = RunLimits(calls=5)
    result = await strict.run(
        "def run():\n    for i in range(10): data_store.set(f'k{i}', i)", scope=ALICE, limits=limits
    )
    assert (result.outcome, result.limit) == ("limit", "calls")
    assert "this run has used up its 5 calls. Use batches" in (result.error or "")
    caught = await strict.run(
        "def run():\n    try:\n        for i in range(10): data_store.get('k')\n"
        "    except data_store.RunLimitExceeded as error:\n        return error.limit",
        scope=ALICE,
        limits=limits,
    )
    assert (caught.outcome, caught.output) == ("done", "calls")


async def test_more_bytes_than_granted_raise(strict: Sandbox) -> None:
    result = await strict.run(
        "def run():\n    for i in range(10): data_store.set('k', 'x' * 500_000)",
        scope=ALICE,
        limits=RunLimits(bytes=2_000_000),
    )
    assert (result.outcome, result.limit) == ("limit", "bytes")


async def test_get_all_stops_before_memory_does_and_names_items(strict: Sandbox) -> None:
    code = """
def run():
    data_store.set_many({f"k{i}": "x" * 1_000_000 for i in range(12)})
    try:
        data_store.get_all()
    except data_store.RunLimitExceeded as error:
        return [str(error), sum(len(value) for _, value in data_store.items())]
"""
    result = await strict.run(code, scope=ALICE, limits=RunLimits(memory_bytes=80 * 1024 * 1024))
    assert result.error is None
    message, total = result.output
    assert message == (
        "get_all would hold more than 10,485,760 bytes at once; "
        "iterate: for key, value in data_store.items(prefix=...)."
    )
    assert total == 12_000_000


async def test_twelve_megabytes_in_one_get_many_come_back_whole_in_a_guest(strict: Sandbox) -> None:
    code = """
def run():
    values = {f"k{i}": chr(97 + i) * 1_048_576 for i in range(12)}
    return [data_store.set_many(values), data_store.get_many(values) == values]
"""
    result = await strict.run(code, scope=ALICE)
    assert (result.output, result.error) == ([12, True], None)


@pytest.mark.parametrize(
    "call",
    [
        "data_store.set('k', [0] * 250_000)",
        "tools['take']([0] * 250_000)",
        "[0] * 250_000",
        "data_store.set_many({'a': 1, 'k': [0] * 250_000})",
    ],
)
async def test_what_would_break_the_protocol_is_refused_in_the_guest_and_does_not_end_the_run(
    strict: Sandbox, call: str
) -> None:
    code = f"def run(_, tools):\n    return {call}"
    result = await strict.run(code, scope=ALICE, tools={"take": len})
    assert result.outcome == "raised"
    assert "ValueTooLarge: one call would send more than 200,000 values" in (result.error or "")


async def test_a_batch_with_one_value_that_cannot_be_sent_writes_nothing(strict: Sandbox) -> None:
    code = """
def run():
    try:
        data_store.set_many({**{f"k{i}": i for i in range(2000)}, "z": [0] * 250_000})
    except data_store.ValueTooLarge:
        return data_store.count()
"""
    result = await strict.run(code, scope=ALICE)
    assert (result.output, result.error) == (0, None)


async def test_a_batch_of_many_small_values_is_split_to_what_the_host_takes(strict: Sandbox) -> None:
    code = """
def run():
    tables = {f"k{i:02}": [0] * 30_000 for i in range(20)}
    return [data_store.set_many(tables), data_store.get_all() == tables]
"""
    result = await strict.run(code, scope=ALICE)
    assert (result.output, result.error) == ([20, True], None)


async def test_a_flood_of_output_is_cut_and_said_to_be(strict: Sandbox) -> None:
    result = await strict.run(
        "def run():\n    for i in range(100_000): print('x' * 100)\n    return 1",
        scope=ALICE,
        limits=RunLimits(log_bytes=1000),
    )
    assert (result.outcome, result.output, result.log_dropped) == ("done", 1, True)
    assert result.log.endswith("\n[log cut at 1,000 bytes]\n")
    assert len(result.log) == 1000 + len("\n[log cut at 1,000 bytes]\n")


async def test_calls_beyond_those_that_are_kept_are_counted(strict: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.record._MOST_RECORDED", 3)
    result = await strict.run("def run():\n    for _ in range(5): data_store.get('k')", scope=ALICE)
    assert (len(result.operations), result.operations_dropped, result.stats.calls) == (3, 2, 5)


async def test_a_guest_that_leaves_its_connection_and_goes_on_is_told_from_one_that_the_kernel_ended(
    strict: Sandbox,
) -> None:
    code = "import os, time\ndef run():\n    os.closerange(3, 256)\n    time.sleep(60)"
    result = await strict.run(code, scope=ALICE)
    assert (result.outcome, result.error) == (
        "raised",
        "the agent closed its connection to the host and went on without it",
    )


async def test_a_tools_result_over_the_frame_is_refused(strict: Sandbox) -> None:
    result = await strict.run("def run(_, tools): tools['big']()", scope=ALICE, tools={"big": lambda: "x" * 6_000_000})
    assert result.outcome == "raised"
    assert "the tool's result is" in (result.error or "")


async def test_cancelling_a_run_leaves_no_process(confined: Sandbox) -> None:
    begun = asyncio.Event()

    async def begin() -> None:
        begun.set()

    await confined.run("def run(): pass", scope=ALICE)  # A zygote starts with the first run, and stays.
    before = _descendants()
    task = asyncio.create_task(
        confined.run(
            "async def run(_, tools):\n    await tools['begin']()\n    while True: pass",
            scope=ALICE,
            tools={"begin": begin},
        )
    )
    async with asyncio.timeout(30):
        await begun.wait()
    assert len(_descendants()) > len(before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _descendants() == before


async def test_a_run_leaves_no_descriptor_and_no_process_behind(confined: Sandbox) -> None:
    await confined.run("def run(): pass", scope=ALICE)
    before = (_descendants(), sorted(descriptors()))
    for code in ("def run(): data_store.set('k', 1)", "def run(): 1/0", "import os\nos._exit(1)"):
        await confined.run(code, scope=ALICE)
    assert (_descendants(), sorted(descriptors())) == before


async def test_a_store_that_goes_away_is_an_outcome_of_its_own(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store, Sandbox(store, run_as=RUN_AS) as sandbox:

        async def close() -> None:
            await store.engine.aclose()

        result = await sandbox.run(
            "async def run(_, tools):\n    await tools['close']()\n    data_store.get('k')",
            scope=ALICE,
            tools={"close": close},
        )
    assert result.outcome == "store_unavailable"


def _descendants() -> list[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return sorted(found)
