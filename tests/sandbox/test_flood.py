"""A thousand runs of fifty users under a flood by one of them: nobody gets a wrong answer, and nothing is left behind.

All use one agent's name, the same namespaces and the same keys, so whatever went astray would be found by somebody.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import re
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Scope, Store
from datastore.operations import Count
from sandbox import RunLimits, Sandbox
from tests.sandbox.hostile import HOSTILE
from tests.uids import RUN_AS

pytestmark = [pytest.mark.slow, pytest.mark.alone]

USERS: Final = 50
ROUNDS: Final = 20
AT_ONCE: Final = 12
"""Honest runs that are asked for at once: users take turns, so with more the flood would be interrupted for longer."""

SHORT: Final = RunLimits(wall_seconds=0.15)
SUBREAPER: Final = 36

HONEST: Final = """
def run(given):
    print(given["secret"])
    faces = [data_store, data_store.use_namespace("notes"), data_store.private()]
    before = [each.get("k") for each in faces]
    for each in faces:
        each.set("k", given["secret"])
    notes = faces[1]
    notes.set_many({f"round-{given['round']}": given["secret"], "last": given["round"]})
    return {"before": before, "after": [each.get("k") for each in faces], "notes": notes.get_all()}
"""


def expected(secret: str, number: int) -> dict[str, Any]:
    """Return what a user's run answers: the own values alone, and all of them."""
    rounds = {f"round-{each}": secret for each in range(number + 1)}
    before = [secret if number else None] * 3
    return {
        "before": before,
        "after": [secret] * 3,
        "notes": dict(sorted({"k": secret, "last": number, **rounds}.items())),
    }


async def honest(sandbox: Sandbox, user: str, places: asyncio.Semaphore) -> int:
    """Do one user's runs, one after another; return how many answered what they had to."""
    secret, right = secrets.token_hex(8), 0
    for number in range(ROUNDS):
        scope = Scope(user=user, agent="worker")
        async with places:
            result = await sandbox.run(HONEST, {"secret": secret, "round": number}, scope=scope)
        assert (result.outcome, result.error, result.log) == ("done", None, f"{secret}\n")
        assert result.output == expected(secret, number)
        assert [each.name for each in result.operations] == ["get"] * 3 + ["apply"] * 4 + ["get"] * 3 + ["scan"]
        right += 1
    return right


async def never() -> None:
    await asyncio.Event().wait()


async def flood(sandbox: Sandbox, outputs: dict[str, set[str]], seen: asyncio.Event) -> None:
    """Do one hostile run after another; note of each kind what came out of those that came to flood."""
    for kind in itertools.cycle(HOSTILE):
        scope = Scope(user="user-0", agent="worker")
        result = await sandbox.run(HOSTILE[kind], scope=scope, tools={"never": never}, limits=SHORT)
        if result.log.startswith("attempted\n"):
            outputs[kind].add(str(result.output))
        if all(outputs.values()):
            seen.set()


async def everything(sandbox: Sandbox) -> tuple[int, dict[str, set[str]]]:
    """Do all runs; return how many of the honest ones were right, and what came out of each kind of hostile ones."""
    outputs: dict[str, set[str]] = {kind: set() for kind in HOSTILE}
    places, seen = asyncio.Semaphore(AT_ONCE), asyncio.Event()
    async with asyncio.TaskGroup() as hostile:
        flooding = hostile.create_task(flood(sandbox, outputs, seen))
        right = await asyncio.gather(*(honest(sandbox, f"user-{each}", places) for each in range(USERS)))
        with contextlib.suppress(TimeoutError):  # Which kind is missing is told by the test.
            await asyncio.wait_for(seen.wait(), 60)
        flooding.cancel()
    return sum(right), outputs


def children() -> int:
    """Return how many children this process has, orphaned descendants and the dead included: all are ours to reap."""
    lists = [each.read_text().split() for each in Path("/proc/self/task").glob("*/children")]
    return len({pid for each in lists for pid in each})


def descriptors() -> Counter[str]:
    """Return this process's open files and sockets by kind."""
    found: Counter[str] = Counter()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # The listing's own.
            found[re.sub(r"\d+", "N", each.readlink().as_posix())] += 1
    return found


def objects() -> Counter[str]:
    """Return the objects of runs that are still held."""
    gc.collect()
    kinds = {"Broker", "Record", "Run", "Slot", "ToolBox", "Process"}
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each).__name__ in kinds)


def held(folder: Path) -> tuple[Any, ...]:
    """Return all that could leak."""
    files = sorted(each.as_posix() for each in folder.rglob("*"))
    tasks = [
        each for each in asyncio.all_tasks() if not each.get_name().startswith("datastore ")
    ]  # Not the store's own.
    return children(), descriptors(), threading.active_count(), len(tasks), objects(), files


async def warm_up(store: Store, pool: dict[str, Any]) -> None:
    """Let the store open all its connections, and the sandbox do what is done once."""
    scope = Scope(user="first", agent="worker")
    async with Sandbox(store, run_as=RUN_AS, **pool) as sandbox:
        await sandbox.run(HONEST, {"secret": "", "round": 0}, scope=scope)
    await asyncio.gather(*(store.execute(scope, Count(op="count", namespace="default", prefix="")) for _ in range(200)))


async def settled(sandbox: Sandbox) -> None:
    """Wait until the pool is full, and what ended has ended."""
    async with asyncio.timeout(30):
        await sandbox._pool.full.wait()
        while sandbox._pool._ends:
            await asyncio.wait(sandbox._pool._ends)


async def held_at_last(folder: Path, expected: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what is held when it is what was expected, or after some seconds; what leaked stays."""
    for _ in range(50):
        if (found := held(folder)) == expected:
            break
        await asyncio.sleep(0.1)
    return found


@pytest.fixture
def adopting() -> Iterator[None]:
    """What sandboxes leave behind becomes a child of this process, and is counted."""
    libc = ctypes.CDLL(None)
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(SUBREAPER, 0, 0, 0, 0)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("adopting")
@pytest.mark.parametrize("pool", [{"pool_size": 4}, {"pool_size": 4, "zygote": True}], ids=["started", "forked"])
async def test_a_thousand_runs_of_fifty_users_under_a_flood(
    store: Store, tmp_path: Path, pool: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await warm_up(store, pool)
    closed = held(tmp_path)
    async with Sandbox(store, run_as=RUN_AS, queue_seconds=60, **pool) as sandbox:
        await settled(sandbox)
        opened = held(tmp_path)
        right, outputs = await everything(sandbox)
        await settled(sandbox)
        assert await held_at_last(tmp_path, opened) == opened
    assert await held_at_last(tmp_path, closed) == closed
    assert right == USERS * ROUNDS
    possible = {"calls left unanswered": {"None", "gone"}, "a socket kept open": {"None", "kept"}}
    assert {kind: seen for kind, seen in outputs.items() if not seen or seen - possible.get(kind, {"None"})} == {}
