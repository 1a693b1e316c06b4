"""Several readers and writers, in one process and in several; locks, deadlines, cancellation, closing."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from datastore.backends.sql import SqlBackend
from datastore.backends.sql.runner import Job
from datastore.document import Span
from datastore.entry import Entry
from datastore.errors import NotSupported, StoreUnavailable
from tests.sql.claimant import KEYS
from tests.sql.words import HERE, Clock, Listener, apply, at, locked, make, opened, put, read, rows

WAIT_SECONDS = 60


async def until(condition: Callable[[], object]) -> None:
    """Let others run until it is so, but not for ever."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - the condition has no event, and the wait is bounded
            await asyncio.sleep(0)


async def endless(job: Job) -> None:
    await job.command("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")


@pytest.mark.slow
def test_processes_that_add_the_same_keys_have_one_winner_each(lasting_url: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.sql.claimant", lasting_url]
    workers = [
        subprocess.Popen(
            [*command, f"worker-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    answers = [worker.communicate(timeout=WAIT_SECONDS) for worker in workers]

    assert [(worker.returncode, errors) for worker, (_out, errors) in zip(workers, answers, strict=True)] == [
        (0, "")
    ] * 4
    wins = collections.Counter(key for out, _errors in answers for key in json.loads(out))
    assert wins == {f"claim:{number}": 1 for number in range(KEYS)}


async def test_tasks_that_race_for_one_version_have_one_winner(store: SqlBackend) -> None:
    await apply(store, put("k", 0))

    race = [apply(store, put("k", number, f"w{number}", if_version="v1")) for number in range(50)]
    winners = [applied.outcomes[0].version for applied in await asyncio.gather(*race) if applied.changed]

    entry = await read(store, "k")
    assert entry is not None
    assert winners == [entry.version]


async def test_reads_see_the_last_commit_while_another_process_writes(file_store: SqlBackend, path: Path) -> None:
    await apply(file_store, put("k", 1))

    with locked(path) as other:
        other.execute("DELETE FROM entries")
        async with asyncio.timeout(WAIT_SECONDS):
            found = await asyncio.gather(*(read(file_store, "k") for _ in range(20)))

    assert [entry.value for entry in found if entry] == [1] * 20


async def test_a_write_waits_for_another_process_and_then_succeeds(file_store: SqlBackend, path: Path) -> None:
    listener = Listener(file_store)
    with locked(path):
        writing = asyncio.create_task(apply(file_store, put("k", 1)))
        await until(lambda: len([text for text, _given in listener.heard if text.startswith("INSERT")]) > 2)
        assert await read(file_store, "k") is None

    assert (await writing).changed == 1


@pytest.mark.parametrize("keys", [["k"], ["k", "l"]])
async def test_a_lock_that_outlasts_the_deadline_says_that_nothing_was_written(
    url: str, path: Path, keys: list[str]
) -> None:
    store = await opened(url, operation_timeout_seconds=0.2)
    with locked(path), pytest.raises(StoreUnavailable, match=r"^the store .*Nothing was written; try again\.$"):
        await apply(store, *(put(key) for key in keys))

    assert (await apply(store, *(put(key) for key in keys))).changed == len(keys)
    await store.aclose()


async def test_a_file_locked_for_too_long_cannot_be_opened(url: str, path: Path) -> None:
    make(path)
    with locked(path), pytest.raises(StoreUnavailable, match="busy with other writers"):
        await opened(url, connect_timeout_seconds=0.2)


@pytest.mark.parametrize("writes", [False, True])
async def test_a_statement_is_interrupted_at_the_deadline(store: SqlBackend, *, writes: bool) -> None:
    runner = store._runner
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await runner.run(endless, writes=writes, until=runner.deadline(0.1))

    assert (await apply(store, put("k"))).changed == 1
    assert await read(store, "k") is not None


async def test_waiting_for_a_turn_ends_at_the_deadline(file_store: SqlBackend) -> None:
    runner = file_store._runner
    holding = asyncio.create_task(runner.run(endless, writes=True))
    await until(lambda: runner._tasks)

    with pytest.raises(StoreUnavailable, match="Nothing was written"):
        await runner.run(endless, writes=True, until=runner.deadline(0.05))

    holding.cancel()
    await asyncio.wait({holding})
    assert (await apply(file_store, put("k"))).changed == 1


async def test_a_cancelled_batch_is_rolled_back_and_gives_everything_back(store: SqlBackend) -> None:
    inside = asyncio.Event()

    async def work(job: Job) -> None:
        async with job.transaction():
            await job.command("DELETE FROM entries")
            inside.set()
            await endless(job)

    await apply(store, put("k"))
    task = asyncio.create_task(store._runner.run(work, writes=True))
    await inside.wait()
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert await read(store, "k") is not None
    assert (await apply(store, put("l"), put("m"))).changed == 2


async def test_a_write_cancelled_while_it_waits_for_a_lock_is_never_made(file_store: SqlBackend, path: Path) -> None:
    with locked(path):
        task = asyncio.create_task(apply(file_store, put("k")))
        await until(lambda: file_store._runner._tasks)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    await until(lambda: not file_store._runner._tasks)
    assert rows(path) == 0
    assert (await apply(file_store, put("l"))).changed == 1


async def test_cancelling_at_any_moment_leaves_the_store_usable(store: SqlBackend) -> None:
    for turns in range(60):
        operations = [
            asyncio.create_task(apply(store, put("k", turns, f"v{turns}"), put("l", turns))),
            asyncio.create_task(store.scan(HERE, Span(), at(0))),
            asyncio.create_task(store.get(HERE, ["k", "l"], at(0))),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for each in operations:
            each.cancel()
        await asyncio.wait(operations)
        assert [each.exception() for each in operations if not each.cancelled()] == [None] * sum(
            not each.cancelled() for each in operations
        )
        await apply(store, put("after", turns))
        assert [entry.value for entry in (await store.get(HERE, ["after"], at(0)))[0]] == [turns]


async def test_a_reader_of_two_keys_never_sees_half_a_batch(file_store: SqlBackend) -> None:
    await apply(file_store, put("a", 0), put("b", 0))

    async def write() -> None:
        for number in range(1, 50):
            await apply(file_store, put("a", number), put("b", number))

    writing = asyncio.create_task(write())
    seen: list[list[Entry]] = []
    while not writing.done():
        seen.append((await file_store.get(HERE, ["a", "b"], at(0)))[0])
        seen.append((await file_store.scan(HERE, Span(), at(0)))[0])
    await writing

    assert all(first.value == second.value for first, second in seen)


async def test_closing_twice_and_at_once_leaves_no_thread(url: str, clock: Clock) -> None:
    before = set(threading.enumerate())
    store = await opened(url, clock)
    await asyncio.gather(*(read(store, "k") for _ in range(20)), apply(store, put("k")))

    await asyncio.gather(store.aclose(), store.aclose())
    await store.aclose()

    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(WAIT_SECONDS)
    assert not [thread for thread in left if thread.is_alive()]


async def test_closing_lets_what_is_at_work_end_and_takes_nothing_new(url: str, path: Path, clock: Clock) -> None:
    store = await opened(url, clock)
    writes = [asyncio.create_task(apply(store, put(f"k{number}"))) for number in range(5)]
    await until(lambda: store._runner._tasks)

    await store.aclose()

    ends = await asyncio.gather(*writes, return_exceptions=True)
    done = [end for end in ends if not isinstance(end, BaseException)]
    assert done
    assert all(isinstance(end, StoreUnavailable) for end in ends if isinstance(end, BaseException))
    assert rows(path) == len(done)
    with pytest.raises(StoreUnavailable, match="closed"):
        await read(store, "k0")


def test_another_event_loop_is_refused(url: str) -> None:
    with asyncio.Runner() as first, asyncio.Runner() as second:
        store = first.run(opened(url))
        with pytest.raises(NotSupported, match="another event loop"):
            second.run(read(store, "k"))
        with pytest.raises(NotSupported, match="another event loop"):
            second.run(store.aclose())
        first.run(store.aclose())


async def test_another_process_is_refused(file_store: SqlBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(NotSupported, match="process"):
            await read(file_store, "k")
