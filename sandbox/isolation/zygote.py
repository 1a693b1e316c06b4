"""Fast starts at the level `strict`: guests forked by a sandboxed parent, each into namespaces of its own.

The parent, a zygote, is built like a strict guest and runs only our own code (inside/zygote.py). It may make
namespaces, which its guests may not. They share its hash seed and its address layout, so it is replaced after a
number of guests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from sandbox.isolation import preflight
from sandbox.isolation.diagnosis import explain
from sandbox.isolation.level import Guest
from sandbox.isolation.strict import Cell, find_cell

MOST_GUESTS: Final = 1000
"""Of one zygote, before the next one takes its place."""

_MESSAGE_BYTES: Final = 4096
_PATIENCE_SECONDS: Final = 10.0


class Zygote:
    """Guests as `strict` has them, forked instead of started anew.

    Args:
        run_as: as for `strict`.
        python: as for `strict`.
        site_packages: as for `strict`.
        most_guests: of one zygote.
    """

    def __init__(
        self,
        *,
        run_as: str | int | None = None,
        python: str | None = None,
        site_packages: str | None = None,
        most_guests: int = MOST_GUESTS,
    ) -> None:
        self.name = "strict"
        self._run_as = run_as
        self._python = python
        self._packages = site_packages
        self._most = most_guests
        self._cell: Cell | None = None
        self._nurseries: list[_Nursery] = []

    async def prepare(self) -> None:
        """Find what a zygote needs, then attack a guest that it has forked from inside and see that it holds."""
        cell = await asyncio.to_thread(find_cell, self._run_as, self._python, self._packages)
        tested: list[_Nursery] = []
        try:
            await preflight.self_test(partial(_spawn_tested, cell, tested), self.name)
        finally:
            for each in tested:
                await each.close()
        self._cell = cell

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        """Have a guest forked; the first one starts the zygote."""
        if self._cell is None:
            raise RuntimeError("prepare() comes before spawn().")
        self._nurseries = [each for each in self._nurseries if not each.is_gone()]
        current = self._nurseries[-1] if self._nurseries else None
        if current is None or not current.serves(bootstrap, self._most):
            current = _Nursery(self._cell, bootstrap, {})
            self._nurseries.append(current)
        return current.spawn(peer)

    async def close(self) -> None:
        """End every zygote, and with it what guests it has."""
        while self._nurseries:
            await self._nurseries.pop().close()


def _spawn_tested(
    cell: Cell, made: list[_Nursery], bootstrap: bytes, peer: socket.socket, environment: Mapping[str, str]
) -> Guest:
    made.append(_Nursery(cell, bootstrap, environment))
    return made[-1].spawn(peer)


class _Nursery:
    """One zygote as the host sees it: where it is asked for guests, and tells how they fare."""

    def __init__(self, cell: Cell, bootstrap: bytes, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._bootstrap = bootstrap
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._expected: dict[int, _Fork] = {}
        self._guests: dict[int, deque[_Fork]] = {}
        self._unsent: deque[tuple[int, socket.socket]] = deque()
        self._served = 0
        self._is_retired = self._has_ended = False
        with theirs:
            try:
                self._process = cell.spawn_zygote(bootstrap, theirs, environment)
            except BaseException:
                self._control.close()
                raise
        self._loop.add_reader(self._control, self._listen)
        self._end = asyncio.ensure_future(self._mourn())

    def is_gone(self) -> bool:
        """Say whether nothing is left of the zygote and its guests."""
        return self._end.done()

    def serves(self, bootstrap: bytes, most: int) -> bool:
        """Say whether the next guest may come from here; where not, none does any more."""
        if self._has_ended:
            return False
        if any(time.monotonic() - each.asked > _PATIENCE_SECONDS for each in self._expected.values()):
            self._process.kill()  # It hangs. Nothing ever makes it, but it would be for good.
            return False
        if bootstrap is self._bootstrap and self._served < most:
            return True
        self._is_retired = True
        self._retire()
        return False

    def _retire(self) -> None:
        """Have the zygote end after its last guest, once all that was asked of it has been sent."""
        if self._is_retired and not self._unsent:
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)

    def spawn(self, peer: socket.socket) -> Guest:
        """Ask for a guest on a socket."""
        number = next(self._numbers)
        guest = self._expected[number] = _Fork()
        self._served += 1
        self._unsent.append((number, peer.dup()))
        self._send()
        return guest

    def _send(self) -> None:
        """Send what was asked for, and the rest when there is room; where the zygote has ended, its end tells."""
        self._loop.remove_writer(self._control)
        while self._unsent:
            number, peer = self._unsent[0]
            try:
                socket.send_fds(self._control, [str(number).encode()], [peer.fileno()])
            except BlockingIOError:
                self._loop.add_writer(self._control, self._send)
                return
            except OSError:
                return
            self._unsent.popleft()
            peer.close()
        self._retire()

    async def close(self) -> None:
        """End the zygote; return when nothing is left of it and of its guests."""
        self._process.kill()
        await self._end

    def _listen(self) -> None:
        """Take what the zygote has said so far."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                said, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
                if not said:
                    self._loop.remove_reader(self._control)
                    return
                self._hear(*json.loads(said), *descriptors)

    def _hear(self, what: str, number: int, *further: Any) -> None:
        if what == "ended":
            self._bury(number, *further)
            return
        guest = self._expected.pop(number)
        if what == "failed":
            guest.end(1, words=f"zygote: {further[0]}")
        elif len(further) == 1:  # This process had no descriptor left to be given.
            guest.end(1, words="zygote: Too many open files")
        else:
            pid, pidfd = further
            self._guests.setdefault(pid, deque()).append(guest)
            guest.begin(pidfd)

    def _bury(self, pid: int, status: int, seconds: float) -> None:
        """Note the end of a guest: of several with one pid, that of the first."""
        if guests := self._guests.get(pid):
            guests.popleft().end(status, seconds)
            if not guests:
                del self._guests[pid]

    async def _mourn(self) -> None:
        """Wait for the zygote's end, and see to it that each of its guests is known to have ended too."""
        await self._process.wait()
        self._has_ended = True
        self._listen()
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()
        for _, peer in self._unsent:
            peer.close()
        words = await self._process.stderr()
        for guest in [*self._expected.values(), *(each for guests in self._guests.values() for each in guests)]:
            await guest.gone()
            guest.end(-signal.SIGKILL, words=words or "zygote: it ended")  # As the kernel ends whoever it leaves.


class _Fork:
    """A guest that is the child of a zygote."""

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.cpu_seconds = 0.0
        self._pidfd: int | None = None
        self._pid: int | None = None
        self._begun = asyncio.Event()
        self._exited = asyncio.Event()
        self._is_born = self._is_killed = False
        self._status = 0
        self._words = ""

    def begin(self, pidfd: int) -> None:
        """Note that the guest is there."""
        self._pidfd, self._pid = pidfd, _pid(pidfd)
        self._is_born = True
        self._begun.set()
        if self._is_killed:
            self.kill()

    def end(self, status: int, seconds: float = 0.0, words: str = "") -> None:
        """Note that the guest has ended, what it used, and what was said of it."""
        self._status, self.cpu_seconds, self._words = status, seconds, words
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self._begun.set()
        self._exited.set()

    async def gone(self) -> None:
        """Wait until the process itself is no more, whoever reaps it."""
        if self._pidfd is None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        await ended.wait()
        loop.remove_reader(self._pidfd)

    async def started(self) -> int | None:
        """Wait until the guest is there; return its pid on the host, or None where the host does not say it."""
        await self._begun.wait()
        if not self._is_born:
            raise explain(self._words, "strict")
        return self._pid

    async def wait(self) -> int:
        """Wait until the guest has ended; return its exit status."""
        await self._exited.wait()
        return self._status

    def kill(self) -> None:
        """Kill the guest, which is all that its namespace holds; one that is not there yet dies as soon as it is."""
        self._is_killed = True
        if self._pidfd is None:
            self._exited.set()
        else:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def stderr(self) -> str:
        """Return why it did not start; what it writes itself is its zygote's to keep."""
        return self._words


def _pid(pidfd: int) -> int | None:
    """Return the pid on this host, which is another one than the zygote knows; None: it is not known, or has ended."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as lines:  # noqa: PTH123 - no path of a user
            pid = next(int(line[4:]) for line in lines if line.startswith("Pid:"))
    except (OSError, StopIteration):  # No /proc.
        return None
    return pid if pid > 0 else None  # The kernel says -1 of a process that has been reaped.
