"""Real guests at every level: what holds where isolation is promised must fail at unsafe_process, or proves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import io
import json
import os
import select
import signal
import socket
import sys
import textwrap
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datastore.errors import SandboxUnavailable
from sandbox.isolation import Level, choose
from sandbox.isolation.process import Process
from tests.uids import uid, uids

# Every wait of a test is bounded by the test's own time.
pytestmark = pytest.mark.timeout(20)

# Not the uid that a guest sees itself as, so that the two cannot be mistaken for each other.
RUN_AS = uid(2) if os.getuid() == 0 else None
UIDS = uids(400, 16)

# At landlock guests have uids that only root can give them.
PROMISING = ["strict", "landlock"] if os.getuid() == 0 else ["strict"]

PROLOGUE = """
import json, os, socket, sys
peer = socket.socket(fileno=int(sys.argv[1]))
def report(value):
    peer.sendall(json.dumps(value).encode())
    peer.close()
"""

ATTACKS = {
    "a socket": "socket.socket()",
    "a process": "os.fork() or os._exit(0)",
    "a shell": "import subprocess; subprocess.run(['/bin/sh', '-c', ':'], check=True)",
    "another program": "os.dup2(peer.fileno(), 1); os.execv('/bin/sh', ['sh', '-c', 'printf 0'])",
    "its own /proc": "open('/proc/self/environ')",
    "the host's environment": "open(f'/proc/{HOST}/environ', 'rb').read(1)",
    "the host's memory": "open(f'/proc/{HOST}/maps').read(1)",
    "a signal to the host": "os.kill(HOST, 0)",
    "/etc/passwd": "open('/etc/passwd')",
    "a file in /tmp": "name = f'/tmp/{UNIQUE}'; open(name, 'x'); os.unlink(name)",
    "a file in /dev/shm": "name = f'/dev/shm/{UNIQUE}'; open(name, 'x'); os.unlink(name)",
    "a file in memory": "os.memfd_create('x')",
    "a pidfd": "os.pidfd_open(os.getpid())",
    "a user namespace": "libc('unshare', 0x10000000)",
    "tracing": "libc('ptrace', 0, 0, 0, 0)",
    "outliving its parent": "libc('prctl', 1, 0)",
    "a user's keys": "libc('syscall', ADD_KEY, b'user', b'x', b'x', 1, -1)",
}

ATTEMPT = """
import ctypes, platform
HOST, UNIQUE = {host}, {unique!r}
ADD_KEY = 217 if platform.machine() == 'aarch64' else 248
def libc(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
try:
    {attack}
except OSError as refusal:
    report(refusal.errno)
else:
    report(0)
"""

HOST = """
import asyncio, socket, sys, test_isolation_guest as tests
async def main():
    level = await tests.prepared(sys.argv[1])
    guest, ours = tests.start(level, "import time; peer.sendall(b'ready')\\nwhile True: time.sleep(1)")
    await asyncio.get_running_loop().sock_recv(ours, 5)
    print(guest.pid, flush=True)
    await guest.wait()
asyncio.run(main())
"""
"""A host of its own, whose guest ignores that its socket has closed."""


async def prepared(name: str) -> Level:
    level = choose(name, run_as=UIDS if name == "landlock" else RUN_AS, accept_no_isolation=True, guests=6)
    await level.prepare()
    return level


@pytest.fixture
async def strict() -> Level:
    return await prepared("strict")


@pytest.fixture
async def unsafe() -> Level:
    level = choose("unsafe_process", accept_no_isolation=True)
    await level.prepare()
    return level


@pytest.fixture(params=PROMISING)
async def promising(request: pytest.FixtureRequest) -> Level:
    return await prepared(request.param)


@pytest.fixture(params=[*PROMISING, "unsafe_process"])
async def level(request: pytest.FixtureRequest) -> Level:
    return await prepared(request.param)


def bootstrap(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", PROLOGUE + textwrap.dedent(code))
    return buffer.getvalue()


def start(level: Level, code: str) -> tuple[Process, socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        guest = level.spawn(bootstrap(code), theirs)
    assert isinstance(guest, Process)
    ours.settimeout(0)
    return guest, ours


async def everything(ours: socket.socket) -> bytes:
    received = b""
    while piece := await asyncio.get_running_loop().sock_recv(ours, 65536):
        received += piece
    return received


async def ask(level: Level, code: str) -> Any:
    """Return what the code reported, after its guest has ended."""
    guest, ours = start(level, code)
    with ours:
        received = await everything(ours)
        status = await guest.wait()
    assert received, f"exit {status}: {await guest.stderr()}"
    return json.loads(received)


def attempt(name: str) -> str:
    return ATTEMPT.format(host=os.getpid(), unique=uuid.uuid4().hex, attack=ATTACKS[name])


def members(group: int) -> list[int]:
    """Return the processes of a group that are alive, be it in a thread that has outlived the first one."""
    processes = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - names are enough.
    return [pid for pid in processes if any(at == group and state not in "ZX" for state, at in threads(pid))]


def threads(pid: int) -> Iterator[tuple[str, int]]:
    """Give the state and the group of each thread of a process, passing over those that end meanwhile."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                state, _parent, group = (thread / "stat").read_text().rpartition(")")[2].split()[:3]
                yield state, int(group)


def status(pid: int) -> dict[str, str]:
    """Return the kernel's account of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def owner(path: str) -> int:
    return Path(path).stat().st_uid


def survivors(leader: int) -> list[int]:
    """Return who of a killed group is alive; a process whose end has begun is given time to finish it."""
    return [pid for pid in {leader, *members(leader)} if not ends(pid)]


def ends(pid: int, milliseconds: int = 1000) -> bool:
    """Say whether a process has ended, or does within that time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ready = poll.poll(milliseconds)
    os.close(descriptor)
    return bool(ready)


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_refused_where_isolation_is_promised(promising: Level, name: str) -> None:
    refusals = {errno.EPERM, errno.ENOENT, errno.EROFS, errno.ESRCH, errno.EACCES}
    assert await ask(promising, attempt(name)) in refusals


@pytest.mark.parametrize("name", ATTACKS)
async def test_the_same_attack_goes_through_at_unsafe_process(unsafe: Level, name: str) -> None:
    assert await ask(unsafe, attempt(name)) == 0


async def test_agents_find_the_standard_library(level: Level) -> None:
    code = """
    import asyncio, bz2, ctypes, decimal, hashlib, json, lzma, sqlite3, ssl, threading, uuid, zlib
    ssl.create_default_context()
    thread = threading.Thread(target=lambda: sqlite3.connect(':memory:').execute('select 1'))
    thread.start(); thread.join()
    report([hashlib.sha256(b'').hexdigest()[:8], asyncio.run(asyncio.sleep(0, 7)), str(decimal.Decimal('0.1'))])
    """
    assert await ask(level, code) == ["e3b0c442", 7, "0.1"]


async def test_nothing_that_is_installed_comes_with_the_standard_library(promising: Level) -> None:
    code = """
    import importlib.util
    report([importlib.util.find_spec(name) is not None for name in ("pip", "pydantic", "json")])
    """
    assert await ask(promising, code) == [False, False, True]


async def test_no_folder_of_a_strict_guest_is_writable(strict: Level) -> None:
    code = """
    writable = []
    for folder, _, _ in os.walk("/"):
        try:
            open(os.path.join(folder, "x"), "x")
        except OSError:
            continue
        writable.append(folder)
    report([writable, sorted(os.listdir("/"))])
    """
    writable, root = await ask(strict, code)
    assert writable == []
    assert set(root) <= {"bootstrap.pyz", "dev", "lib", "lib64", "opt", "tmp", "usr"}


async def test_a_guest_sees_no_variable_of_the_host(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASTORE_TEST_SECRET", uuid.uuid4().hex)
    seen = await ask(level, "report(dict(os.environ))")
    seen.pop("PWD", None)
    assert seen == {"PATH": "/usr/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", "HOME": "/tmp"}  # noqa: S108


async def test_a_guest_holds_no_descriptor_of_the_host_but_its_socket_and_archive(
    promising: Level, unsafe: Level
) -> None:
    code = """
    def is_open(descriptor):
        try:
            return bool(os.fstat(descriptor))
        except OSError:
            return False
    report(len([each for each in range(1024) if is_open(each)]))
    """
    secret = os.memfd_create("secret")
    os.set_inheritable(secret, True)
    try:
        # Where the bootstrap is a descriptor too, that the scan sees it shows that it can see one.
        expected = 4 if promising.name == "strict" else 5
        assert (await ask(promising, code), await ask(unsafe, code)) == (expected, 5)
    finally:
        os.close(secret)


async def test_a_strict_guest_is_nobody_and_alone(strict: Level) -> None:
    assert await ask(strict, "report([os.getuid(), os.getgid(), os.getpid(), os.getppid()])") == [65534, 65534, 1, 0]


@pytest.mark.parametrize("landlock", [each for each in PROMISING if each == "landlock"])
async def test_a_guest_at_landlock_is_a_uid_of_its_own_without_groups_or_capabilities(landlock: str) -> None:
    level = await prepared(landlock)
    code = """
    peer.sendall(b'ready'); peer.recv(1)
    report([os.getresuid(), os.getresgid(), os.getgroups()])
    """
    guest, ours = start(level, code)
    with ours:
        assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"ready"
        told = status(guest.pid)
        # What is not dumpable is root's, so that nobody of the guest's uid may look into it.
        assert owner(f"/proc/{guest.pid}/environ") == 0
        ours.sendall(b"x")
        users, groups, further = json.loads(await everything(ours))
    await guest.wait()
    first, last = map(int, UIDS.split("-"))
    assert first <= users[0] <= last
    assert (len({*users, *groups}), further) == (1, [])
    held = [int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    assert (held, told["NoNewPrivs"], told["Seccomp"]) == ([0, 0, 0, 0], "1", "2")


async def test_two_guests_at_once_are_two_processes(level: Level) -> None:
    pairs = [start(level, "report(sys.argv[1])") for _ in range(2)]
    assert len({guest.pid for guest, _ in pairs}) == 2
    for guest, ours in pairs:
        with ours:
            assert json.loads(await everything(ours))
        assert await guest.wait() == 0


async def test_kill_leaves_no_process_of_the_group_alive(level: Level) -> None:
    guest, ours = start(level, "peer.sendall(b'ready'); peer.recv(1)")
    with ours:
        assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"ready"
        assert members(guest.pid)
        guest.kill()
        assert await guest.wait() == -signal.SIGKILL
        assert await everything(ours) == b""
    assert survivors(guest.pid) == []


async def test_a_kill_during_the_start_leaves_no_process_alive(level: Level) -> None:
    for milliseconds in range(0, 30, 2):
        guest, ours = start(level, "peer.recv(1)")
        asyncio.get_running_loop().call_later(milliseconds / 1000, guest.kill)
        with ours:
            await guest.wait()
        assert survivors(guest.pid) == []


async def test_a_kill_at_once_after_the_spawn_leaves_no_process_alive(level: Level) -> None:
    for _ in range(20):
        guest, ours = start(level, "peer.recv(1)")
        guest.kill()
        with ours:
            assert await guest.wait() == -signal.SIGKILL
        assert survivors(guest.pid) == []


async def test_who_outlives_its_killed_leader_is_killed_too(unsafe: Level) -> None:
    code = """
    if os.fork() == 0:
        peer.sendall(b'ready')
        peer.recv(1)
    else:
        os.wait()
    """
    guest, ours = start(unsafe, code)
    with ours:
        assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"ready"
        os.kill(guest.pid, signal.SIGKILL)
        await guest.wait()
        assert survivors(guest.pid) == []


@pytest.fixture
def adopting() -> Iterator[None]:
    """Have this process adopt what its guests leave behind, as process 1 of a container does."""
    libc = ctypes.CDLL(None)
    libc.prctl(36, 1, 0, 0, 0)
    yield
    libc.prctl(36, 0, 0, 0, 0)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.usefixtures("adopting")
async def test_a_host_that_is_process_1_buries_what_its_killed_guests_leave(strict: Level) -> None:
    before = children()
    for _ in range(5):
        guest, ours = start(strict, "peer.sendall(b'ready'); peer.recv(1)")
        with ours:
            assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"ready"
            guest.kill()
            await guest.wait()
    while children() - before:  # noqa: ASYNC110 - the kernel's list, with the dead; the test's own time bounds it
        await asyncio.sleep(0.01)


async def test_killing_a_guest_that_has_ended_reaches_no_other(level: Level) -> None:
    ended, ours = start(level, "report(0)")
    with ours:
        await ended.wait()
    # One of these gets the descriptor numbers that the ended one had.
    others = [start(level, "peer.recv(1); report(1)") for _ in range(5)]
    ended.kill()
    for guest, peer in others:
        with peer:
            peer.sendall(b"x")
            assert await everything(peer) == b"1"
            assert await guest.wait() == 0


async def test_a_guest_leaves_no_descriptor_behind_in_the_host(level: Level) -> None:
    await ask(level, "report(0)")
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are enough.
    for _ in range(5):
        await ask(level, "report(0)")
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


async def test_a_leader_that_somebody_else_reaped_is_not_signalled(
    unsafe: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, ours = start(unsafe, "report(0)")
    os.waitpid(guest.pid, 0)  # noqa: ASYNC222 - behind the loop's back is the point.
    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _signal: signalled.append(group))
    guest.kill()
    with ours:
        await guest.wait()
    assert signalled == []


async def test_a_guest_that_could_not_be_watched_is_killed_and_refused(
    level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", full)
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    with ours, theirs:
        with pytest.raises(SandboxUnavailable, match="Too many open files"):
            level.spawn(bootstrap("peer.recv(1)"), theirs)
        theirs.close()
        assert await everything(ours) == b""


async def test_the_exit_status_is_the_guests(level: Level) -> None:
    guest, ours = start(level, "sys.exit(7)")
    with ours:
        assert [await guest.wait(), await guest.wait()] == [7, 7]


async def test_the_last_8_kib_of_stderr_are_kept(level: Level) -> None:
    guest, ours = start(level, "sys.stderr.write('x' * 20_000 + 'the end')")
    with ours:
        await guest.wait()
    words = await guest.stderr()
    assert (len(words), words[-7:]) == (8192, "the end")


async def test_stderr_does_not_wait_for_a_guest_that_is_silent(level: Level) -> None:
    guest, ours = start(level, "peer.sendall(b'ready'); peer.recv(1)")
    with ours:
        assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"ready"
        assert await guest.stderr() == ""
    await guest.wait()


async def test_a_flood_of_stderr_stalls_the_guest_and_not_the_host(level: Level) -> None:
    guest, ours = start(level, "peer.sendall(b'ready')\nwhile True: os.write(2, b'x' * 65536)")
    with ours:
        assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"ready"
        assert len(await guest.stderr()) <= 8192
        guest.kill()
        await guest.wait()
    assert len(await guest.stderr()) <= 8192


async def test_guests_work_in_a_loop_of_another_thread(level: Level) -> None:
    assert await asyncio.to_thread(asyncio.run, ask(level, "report(1)")) == 1


async def test_a_guest_ends_with_its_host_end_of_the_socket(level: Level) -> None:
    guest, ours = start(level, "peer.recv(1)")
    ours.close()
    assert await guest.wait() == 0


@pytest.mark.parametrize("name", PROMISING)
async def test_a_host_that_is_killed_leaves_no_guest_alive(name: str) -> None:
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent.parent)))
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, name, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert host.stdout is not None
    group = int(await host.stdout.readline())
    assert members(group)
    host.kill()
    await host.wait()
    assert survivors(group) == []
