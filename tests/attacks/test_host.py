"""A host that is killed takes its confined guests along, whatever they do and however far they have come."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sandbox
from tests.sandbox.test_isolation_guest import ends, members

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(30)]

ROOT = Path(sandbox.__file__).parent.parent
GUESTS = 3
PATIENCE = 20
MOMENTS = [
    ("started", "lifetime.ignore_everything"),
    ("attempted", "lifetime.ignore_everything"),
    ("attempted", "lifetime.end_the_first_thread"),
    ("waiting", ""),
]
"""How far the guests have come, and what they are about."""

HOST = """
import asyncio, sys
from datastore import Scope, open_store
from sandbox import RunLimits, Sandbox
from tests.attacks.arsenal import agent
from tests.attacks.stage import RUN_AS
from tests.uids import uids

UIDS = uids(200, 100)  # Not those of the tests' own sandbox, whose guests live at the same time.
LEVELS = {"started": "strict", "forked": "strict"}
told = []

async def main(url, way):
    async with (
        open_store(url) as store,
        Sandbox(
            store,
            isolation=LEVELS.get(way, way),
            accept_no_isolation=True,
            run_as=UIDS if way == "landlock" else RUN_AS,
            zygote=way == "forked",
            pool_size=int(sys.argv[5]),
        ) as sandbox,
    ):
        spawn = sandbox._level.spawn
        async def tell(guest):
            print("started", await guest.started(), flush=True)
        def recording(*given):
            guest = spawn(*given)
            told.append(asyncio.create_task(tell(guest)))
            return guest
        sandbox._level.spawn = recording
        if sandbox._pool._limits.size:
            await sandbox._pool.full.wait()
            await asyncio.gather(*told)
            print("waiting\\n" * int(sys.argv[3]), end="", flush=True)
            await asyncio.Event().wait()
        def say(event):
            if event.log:
                print("attempted", flush=True)
        source, given = agent(sys.argv[4], {})
        limits = RunLimits(wall_seconds=20, cpu_seconds=5)
        async with asyncio.TaskGroup() as group:
            for each in range(int(sys.argv[3])):
                scope = Scope(user=f"user{each}", agent="worker")
                group.create_task(sandbox.run(source, given, scope=scope, limits=limits, on_event=say))

asyncio.run(main(*sys.argv[1:3]))
"""


@contextlib.asynccontextmanager
async def host(
    folder: Path, way: str, until: str, attack: str = "lifetime.ignore_everything"
) -> AsyncIterator[tuple[int, list[int]]]:
    """Start a host and let it come to where each guest has said a word; return its pid and those of the guests."""
    pool = str(GUESTS if until == "waiting" else 0)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOST, f"sqlite:///{folder / 'store.db'}", way, str(GUESTS), attack, pool),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    groups: list[int] = []
    counted = 0
    try:
        async with asyncio.timeout(20):
            while counted < GUESTS:
                word, *pid = (await process.stdout.readline()).split()
                groups.extend(map(int, pid))
                counted += word.decode() == until
        yield process.pid, groups
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        for group in groups:
            # Only reached with somebody alive if a test failed, or at unsafe_process.
            if members(group):
                os.killpg(group, signal.SIGKILL)


def left(groups: list[int], seconds: float) -> list[int]:
    """Wait for the end of each process of these groups, for so long at most; return who is left."""
    for pid in of_groups(groups):
        _wait(pid, seconds)
    return of_groups(groups)


def of_groups(groups: list[int]) -> list[int]:
    """Return who is alive of guests and of the groups they lead."""
    alone = [pid for pid in groups if not members(pid) and not ends(pid, 0)]
    return [*alone, *(pid for group in groups for pid in members(group))]


def _wait(pid: int, seconds: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(seconds * 1000)
    os.close(descriptor)


@pytest.mark.parametrize("way", ["started", "forked", "landlock"])
@pytest.mark.parametrize(("until", "attack"), MOMENTS)
async def test_a_host_that_is_killed_leaves_no_guest_alive(tmp_path: Path, way: str, until: str, attack: str) -> None:
    async with host(tmp_path, way, until, attack) as (pid, groups):
        assert len(of_groups(groups)) >= GUESTS
        os.kill(pid, signal.SIGKILL)
        assert left(groups, PATIENCE) == []


async def test_at_unsafe_process_guests_that_are_deaf_to_their_socket_outlive_the_host(tmp_path: Path) -> None:
    async with host(tmp_path, "unsafe_process", "attempted") as (pid, groups):
        os.kill(pid, signal.SIGKILL)
        assert left(groups, 0.3) == groups


async def test_a_guest_that_waits_ends_with_the_socket_to_its_host_where_nothing_else_ends_it(tmp_path: Path) -> None:
    async with host(tmp_path, "unsafe_process", "waiting") as (pid, groups):
        assert len(of_groups(groups)) == GUESTS
        os.kill(pid, signal.SIGKILL)
        assert [each for each in groups if not ends(each, 20_000)] == []
