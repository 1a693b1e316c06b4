"""Neighbours without a namespace between them: what is told apart at `landlock` by uids and by scopes.

A sandbox gives no two living guests one uid. The victims here have the attacker's all the same, so that each test
shows what holds without that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from datastore import Scope, Store
from datastore.errors import SandboxUnavailable
from sandbox import RunLimits, Sandbox
from sandbox.isolation import account, interpreter
from tests.attacks.arsenal import LIMITS, MALLORY, meeting, strike, told
from tests.attacks.stage import ACCOUNT, neighbour
from tests.uids import uid

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(30)]

ALONE = uid(1)
SIGNALLED = ["lifetime.signal_everybody", "lifetime.signal_by_file"]

LISTENER = """
import os, signal, sys
heard = []
signal.signal(signal.SIGURG, lambda number, _: heard.append(number))
print(os.getpid(), flush=True)
sys.stdin.read()
print(bool(heard))
"""

THREADS = """
import threading
async def run(given, tools):
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait) for _ in range(given)]
    for each in threads:
        each.start()
    await tools["meet"]()
    enough.set()
    return len(threads)
"""


class Listener:
    """A process of a uid that tells which signals it heard."""

    async def start(self, uid: int) -> dict[str, int]:
        prefix = account.launcher(uid).prefix
        self._process = await asyncio.create_subprocess_exec(
            *(*prefix, interpreter.find(None, prefix).executable, "-I", "-S", "-c", LISTENER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        return {"pid": int(await self._process.stdout.readline())}

    async def heard(self) -> str:
        said, _ = await self._process.communicate(b"")
        return said.decode().strip()


@contextlib.asynccontextmanager
async def one_uid(store: Store) -> AsyncIterator[Sandbox]:
    """A sandbox for one guest at a time, whose uid is known."""
    async with Sandbox(store, isolation="landlock", run_as=ALONE, runs_at_once=1) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", SIGNALLED)
async def test_no_signal_reaches_a_process_of_the_guests_own_uid(store: Store, name: str) -> None:
    listener = Listener()
    async with one_uid(store) as sandbox:
        source, given = meeting(name, {})
        result = await sandbox.run(source, given, scope=MALLORY, limits=LIMITS, names={"meet": listener.start})
    assert (told(result).attempted, told(result).got) == (True, "signalled")
    assert await listener.heard() == "False"


@pytest.mark.parametrize("name", SIGNALLED)
async def test_the_same_signal_arrives_at_unsafe_process(unsafe: Sandbox, name: str) -> None:
    listener = Listener()
    given = await listener.start(ACCOUNT)
    assert (await strike(unsafe, name, given)).attempted
    assert await listener.heard() == "True"


async def test_no_guest_starts_under_a_uid_that_another_process_has(store: Store) -> None:
    async with neighbour("secret", ALONE):
        with pytest.raises(SandboxUnavailable, match=rf"uid {ALONE} is in use by another process.*run_as="):
            async with one_uid(store):
                pass
    async with one_uid(store) as sandbox:
        assert (await sandbox.run("def run(): return 1", scope=MALLORY)).output == 1


async def test_a_guest_that_uses_all_its_threads_takes_none_from_a_neighbour(landlock: Sandbox) -> None:
    limits = RunLimits(threads=32)
    full, enough = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        full.set()
        await enough.wait()

    async def nothing() -> None:
        pass

    greedy = asyncio.create_task(landlock.run(THREADS, 25, scope=MALLORY, limits=limits, tools={"meet": hold}))
    await full.wait()
    modest = await landlock.run(
        THREADS, 25, scope=Scope(user="alice", agent="worker"), limits=limits, tools={"meet": nothing}
    )
    enough.set()
    assert (modest.output, (await greedy).output) == (25, 25)


async def test_no_two_living_guests_have_one_uid(landlock: Sandbox) -> None:
    everybody = asyncio.Barrier(5)
    code = "import os\nasync def run(given, tools):\n    await tools['meet']()\n    return os.getuid()"

    async def meet() -> None:
        await everybody.wait()

    runs = [landlock.run(code, scope=MALLORY, tools={"meet": meet}) for _ in range(5)]
    uids = {result.output for result in await asyncio.gather(*runs)}
    assert len(uids) == 5
