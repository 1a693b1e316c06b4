"""Guests that a zygote forks: apart from each other, replaced with it, refused where nesting gives no rights."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, Store
from datastore.errors import ConfigurationError, SandboxUnavailable
from sandbox import RunLimits, RunResult, Sandbox
from sandbox.isolation import bubblewrap, zygote
from sandbox.isolation.inside import zygote as inside
from sandbox.isolation.zygote import Zygote
from tests.uids import RUN_AS

pytestmark = pytest.mark.timeout(60)

ALICE = Scope(user="alice", agent="worker")
BOB = Scope(user="bob", agent="worker")
HANG = "async def run(_, tools):\n    await tools['hang']()\n    while True: pass"


@pytest.fixture
async def sandbox(store: Store) -> AsyncIterator[Sandbox]:
    async with Sandbox(store, zygote=True, run_as=RUN_AS) as made:
        yield made


async def run(sandbox: Sandbox, code: str, scope: Scope = ALICE, **options: Any) -> RunResult:
    result = await sandbox.run(code, scope=scope, **options)
    assert result.outcome == "done", result.error
    return result


def parents(sandbox: Sandbox) -> list[int]:
    """Return the processes that the host has started for its zygotes, in order."""
    assert isinstance(sandbox._level, Zygote)
    return [each._process.pid for each in sandbox._level._nurseries]


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def begin(sandbox: Sandbox) -> asyncio.Task[RunResult]:
    """Begin a run that does not end by itself, and return when the agent is at it."""
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()

    task = asyncio.create_task(sandbox.run(HANG, scope=ALICE, tools={"hang": hang}))
    async with asyncio.timeout(30):
        await begun.wait()
    return task


async def test_two_guests_share_no_namespace_and_hold_no_capability(store: Store) -> None:
    async with Sandbox(store, zygote=True, run_as=RUN_AS, pool_size=2) as sandbox:
        await asyncio.wait_for(sandbox._pool.full.wait(), 30)
        pids = [await slot.guest.started() for slot in sandbox._pool._idle]
        (zygote_pid,) = read(f"/proc/{parents(sandbox)[0]}/task/{parents(sandbox)[0]}/children").split()
        everybody = [*pids, zygote_pid, "self"]
        for kind in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
            assert len({os.readlink(f"/proc/{each}/ns/{kind}") for each in everybody}) == 4, kind  # noqa: PTH115
        for pid in pids:
            status = dict(line.split(":\t") for line in read(f"/proc/{pid}/status").splitlines())
            assert {status[f"Cap{each}"].strip("0") for each in ("Eff", "Prm", "Inh", "Amb")} == {""}
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


async def test_two_guests_share_the_hash_seed_and_no_other_randomness(sandbox: Sandbox) -> None:
    code = """
import random, secrets, ssl, tempfile, uuid
def run():
    name = next(tempfile._get_candidate_names())
    return hash("x"), [random.random(), secrets.token_hex(), ssl.RAND_bytes(8).hex(), name, uuid.uuid4().hex]
"""
    (seed, one), (same, other) = [(await run(sandbox, code, scope)).output for scope in (ALICE, BOB)]
    assert seed == same
    assert not set(one) & set(other)


async def test_a_guest_finds_the_world_of_one_that_was_started_anew(sandbox: Sandbox, store: Store) -> None:
    code = """
import json, os, resource, signal, sys
async def run():  # So that whatever is loaded when it is used is loaded in both.
    bounds = [resource.getrlimit(kind) for kind in range(16)]
    return json.dumps([sys.argv[0], sys.path, os.getpid(), os.getppid(), os.getpgrp() in (0, 1), os.getcwd(), bounds,
        dict(os.environ), sorted(sys.modules), str(signal.getsignal(signal.SIGCHLD)), sorted(os.listdir("/dev"))])
"""
    async with Sandbox(store, run_as=RUN_AS) as plain:
        anew = json.loads((await run(plain, code)).output)
    forked = json.loads((await run(sandbox, code)).output)
    loaded = {"inside", "inside.kernel", "inside.zygote", "bootstrap", "ctypes", "_ctypes", "ctypes._endian"}
    # What its zygote needed stays loaded, and a guest that is started anew leads no group that it could see.
    assert set(forked[8]) - set(anew[8]) <= loaded
    assert [*forked[:8], *forked[9:]] == [*anew[:8], *anew[9:]]


async def test_a_zygote_is_replaced_after_its_number_of_guests_which_end_in_peace(store: Store) -> None:
    async with Sandbox(
        store, isolation=Zygote(run_as=RUN_AS, most_guests=2), limits=RunLimits(wall_seconds=60)
    ) as sandbox:
        hanging = await begin(sandbox)
        (first,) = parents(sandbox)
        await run(sandbox, "def run(): return 1")
        await run(sandbox, "def run(): return 2")
        kept, second = parents(sandbox)
        assert kept == first != second
        assert not hanging.done()
        retired = sandbox._level._nurseries[0]  # type: ignore[attr-defined]
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        await run(sandbox, "def run(): return 3")
        await asyncio.wait_for(retired._end, 30)
        await run(sandbox, "def run(): return 4")
        assert kept not in parents(sandbox)


async def test_a_zygote_that_is_killed_ends_its_runs_and_the_next_run_has_a_new_one(sandbox: Sandbox) -> None:
    hanging = await begin(sandbox)
    (first,) = parents(sandbox)
    os.killpg(first, signal.SIGKILL)
    result = await asyncio.wait_for(hanging, 30)
    assert (result.outcome, result.limit, result.error) == (
        "limit",
        "memory_bytes",
        "the run was killed (status -9), as the kernel does where memory runs out",
    )
    assert (await run(sandbox, "def run(): return 1")).output == 1
    assert parents(sandbox) != [first]


async def test_a_zygote_that_hangs_is_replaced(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "_PATIENCE_SECONDS", 0.2)
    await run(sandbox, "def run(): return 1")
    (first,) = parents(sandbox)
    os.killpg(first, signal.SIGSTOP)
    with pytest.raises(SandboxUnavailable, match="did not start within"):
        await sandbox.run("def run(): return 1", scope=ALICE, limits=RunLimits(start_seconds=0.5))
    assert (await run(sandbox, "def run(): return 2")).output == 2


async def test_where_nested_namespaces_give_no_rights_it_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = bubblewrap._world
    monkeypatch.setattr(bubblewrap, "_world", lambda *given: [*world(*given), "--disable-userns"])
    with pytest.raises(SandboxUnavailable, match=r"zygote: unshare: .*do without zygote=True"):
        await Sandbox(store, zygote=True, run_as=RUN_AS).__aenter__()


async def test_no_other_level_has_one(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="needs isolation='strict'"):
        Sandbox(store, isolation="unsafe_process", accept_no_isolation=True, zygote=True)


def test_a_zygote_that_cannot_fork_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket() as guest:
        before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names only
        socket.send_fds(ours, [b"7"], [guest.fileno()])
        assert inside.Zygote(theirs, b"", lambda _: None)._take()
        assert json.loads(ours.recv(100)) == ["failed", 7, "Resource temporarily unavailable"]
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - names only


async def test_a_host_without_descriptors_left_is_told_so_and_goes_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(sandbox, "def run(): return 1")
    recv = socket.recv_fds

    def without(*given: Any) -> Any:
        said, descriptors, flags, address = recv(*given)
        for each in descriptors:
            os.close(each)
        return said, [], flags, address

    with monkeypatch.context() as patch:
        patch.setattr(socket, "recv_fds", without)
        with pytest.raises(SandboxUnavailable, match="zygote: Too many open files"):
            await sandbox.run("def run(): return 1", scope=ALICE)
    assert (await run(sandbox, "def run(): return 2")).output == 2


async def test_more_requests_than_the_socket_holds_are_all_answered(store: Store) -> None:
    async with Sandbox(store, zygote=True, run_as=RUN_AS, runs_at_once=400, queue_size=400) as sandbox:
        await run(sandbox, "def run(): return 1")
        (parent,) = parents(sandbox)
        os.killpg(parent, signal.SIGSTOP)
        runs = [asyncio.ensure_future(run(sandbox, "def run(): return 1")) for _ in range(330)]
        for _ in range(20):  # Turns of the loop, after which every run has asked.
            await asyncio.sleep(0)
        assert len(sandbox._level._nurseries[0]._unsent) > 10  # type: ignore[attr-defined]
        os.killpg(parent, signal.SIGCONT)
        assert sum(result.output for result in await asyncio.gather(*runs)) == 330


def test_a_guest_that_has_been_reaped_has_no_pid() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    pidfd = os.pidfd_open(child)
    try:
        assert zygote._pid(pidfd) == child
        os.waitpid(child, 0)
        assert zygote._pid(pidfd) is None
    finally:
        os.close(pidfd)
