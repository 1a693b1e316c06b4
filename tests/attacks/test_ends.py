"""The end of a run: attackers that die of it, that do not want to, and that would take others along."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from datastore.errors import SandboxUnavailable
from sandbox import RunLimits, Sandbox
from sandbox.isolation import Guest, account, interpreter
from tests.attacks.arsenal import MALLORY, Told, agent, control, level, strike, told
from tests.attacks.stage import RUN_AS
from tests.sandbox.test_isolation_guest import ends, survivors

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(30)]

SHORT = RunLimits(wall_seconds=0.5, cpu_seconds=5)

BYSTANDER = """
import signal, sys
heard = []
signal.signal(signal.SIGURG, lambda number, _: heard.append(number))
print("ready", flush=True)
sys.stdin.read()
print(heard)
"""


@pytest.fixture(params=["started", "forked", "landlock", "unsafe"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    made: Sandbox = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def guests(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[Guest]:
    """The guests that the sandbox has started, in order."""
    started: list[Guest] = []
    spawn = sandbox._level.spawn

    def recording(*given: Any) -> Guest:
        started.append(spawn(*given))
        return started[-1]

    monkeypatch.setattr(sandbox._level, "spawn", recording)
    return started


async def left_of(guests: list[Guest]) -> list[int]:
    """Return who is still alive of guests that have ended."""
    pids = []
    for guest in guests:
        with contextlib.suppress(SandboxUnavailable):  # It was cancelled before it came to be.
            pids.append(await guest.started())
    return [survivor for pid in pids if pid is not None for survivor in survivors(pid)]


async def test_no_shell_takes_the_place_of_a_confined_guest(confined: Sandbox, unsafe: Sandbox) -> None:
    refused = await strike(confined, "processes.become_shell", {})
    assert (refused.attempted, refused.refused) == (True, {"strict": "ENOENT", "landlock": "EPERM"}[level(confined)])
    became = await strike(unsafe, "processes.become_shell", {})
    assert (became.attempted, "(status 42)" in str(became.end)) == (True, True)


async def test_a_new_interpreter_in_the_place_of_a_guest_is_as_confined_or_never_comes_to_be(
    confined: Sandbox, unsafe: Sandbox
) -> None:
    name = "processes.become_python_with_a_socket"
    bound = await strike(confined, name, {})
    assert bound.attempted
    assert bound.refused == "EPERM" if level(confined) == "landlock" else "(status 101)" in str(bound.end)
    free = await strike(unsafe, name, {})
    assert (free.attempted, "(status 42)" in str(free.end)) == (True, True)


async def test_the_system_calls_of_32_bits_end_a_confined_guest(confined: Sandbox, unsafe: Sandbox) -> None:
    if platform.machine() != "x86_64":
        return  # Only that machine has a second table which a 64-bit process may use.
    name = "python.socket_by_the_calls_of_32_bits"
    killed = await strike(confined, name, {})
    assert (killed.attempted, killed.got) == (True, "")
    assert killed.end == "system_calls"
    free = await strike(unsafe, name, {})
    assert (free.attempted, free.got.startswith("descriptor")) == (True, True)


async def test_a_flood_past_the_log_goes_nowhere(sandbox: Sandbox) -> None:
    source, given = agent("lifetime.flood_descriptors", {})
    result = await sandbox.run(source, given, scope=MALLORY)
    assert (told(result).got, result.log) == ("written", "attempted\n")


@pytest.mark.parametrize("name", ["lifetime.ignore_everything", "lifetime.end_the_first_thread"])
async def test_who_ignores_every_signal_ends_at_the_wall_time_with_all_threads(
    sandbox: Sandbox, guests: list[Guest], name: str
) -> None:
    ended = await strike(sandbox, name, {}, SHORT)
    assert (ended.attempted, ended.end) == (True, "wall_seconds")
    assert await left_of(guests) == []


async def test_nobody_outlives_a_confined_run(confined: Sandbox) -> None:
    refused = await strike(confined, "lifetime.leave_a_child", {})
    assert (refused.attempted, refused.refused) == (True, "EPERM")


async def test_a_child_outlives_a_run_at_unsafe_process(unsafe: Sandbox) -> None:
    left = await strike(unsafe, "lifetime.leave_a_child", {})
    child = os.pidfd_open(int(left.got))
    try:
        signal.pidfd_send_signal(child, signal.SIGKILL)
    finally:
        os.close(child)
    assert ends(int(left.got))


async def test_a_run_that_is_cancelled_during_its_start_leaves_nobody(sandbox: Sandbox, guests: list[Guest]) -> None:
    source, given = agent("lifetime.ignore_everything", {})
    for milliseconds in range(0, 100, 8):
        run = asyncio.create_task(sandbox.run(source, given, scope=MALLORY, limits=SHORT))
        asyncio.get_running_loop().call_later(milliseconds / 1000, run.cancel)
        with pytest.raises(asyncio.CancelledError):
            await run
    assert len(guests) > 5
    assert await left_of(guests) == []


async def bystander(attack: Callable[[], Awaitable[Told]]) -> str:
    """Return what a process heard that is in the host's group and that the guest's account may signal."""
    launcher = account.launcher(RUN_AS)
    process = await asyncio.create_subprocess_exec(
        *(*launcher.prefix, interpreter.find(None, launcher.prefix).executable, "-I", "-S", "-c", BYSTANDER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd="/",
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        assert (await attack()).attempted
    finally:
        said, _ = await process.communicate(b"")
    return said.decode().strip()


async def test_a_signal_to_its_own_group_does_not_reach_the_hosts(sandbox: Sandbox) -> None:
    assert await bystander(lambda: strike(sandbox, "lifetime.signal_own_group", {})) == "[]"


async def test_a_signal_from_a_process_without_a_group_of_its_own_reaches_the_hosts() -> None:
    assert await bystander(lambda: control("lifetime.signal_own_group", {})) == str([int(signal.SIGURG)])


async def test_descriptors_that_are_handed_to_the_host_are_not_taken(sandbox: Sandbox) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough.
    most = 0

    def count(_: Any = None) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))  # noqa: PTH208

    source, given = agent("tenants.hand_descriptors_to_the_host", {})
    result = await sandbox.run(source, given, scope=MALLORY, on_event=count)
    assert told(result).got == "sent"
    assert before < most < before + 20
