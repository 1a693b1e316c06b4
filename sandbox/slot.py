"""One guest that has started and waits: single-use, and without anything of a user until it is taken.

A slot listens to its own guest only for the one word `ready`. Whatever else a waiting guest says, or the end of its
socket, spoils the slot. Taking it hands the connection to the run's own protocol; the slot then only ends the guest.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Self

from datastore.errors import SandboxUnavailable
from sandbox.bundle import bootstrap
from sandbox.guest import wire
from sandbox.isolation import Guest, Level, explain

READY: Final = wire.pack({"ready": True})

_LEAVE_SECONDS: Final = 1.0
_STATUS_BYTES: Final = 4096
_REMEDY: Final = "Raise RunLimits.start_seconds, or lower the load."


class Slot(asyncio.Protocol):
    """A guest and its connection. Make one with `start`, and `end` it, whatever happened."""

    guest: Guest

    def __init__(self) -> None:
        self._heard = b""
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()
        self._socket: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._status: int | None = None
        self.on_lost: Callable[[Slot], None] | None = None
        self.generation = 0
        """After how many deaths in a row its pool started it."""

    @classmethod
    async def start(cls, level: Level, seconds: float) -> Self:
        """Start a guest and wait until it is ready.

        Raises:
            SandboxUnavailable: it did not start, or not within `seconds`; nothing of it is left.
        """
        slot = cls()
        try:
            await slot._spawn(level)
            await slot._await_ready(level.name, seconds)
            slot._status = _status_file(await slot.guest.started())
        except BaseException:
            await finish(slot.end())
            raise
        return slot

    async def _spawn(self, level: Level) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._socket.setblocking(False)
            await asyncio.get_running_loop().create_connection(lambda: self, sock=self._socket)
            self.guest = level.spawn(bootstrap(), theirs)

    async def _await_ready(self, level: str, seconds: float) -> None:
        await asyncio.wait({self._ready}, timeout=seconds)
        if self._ready.done() and self._ready.result():
            return
        if self._ready.done():
            await leave(self.guest)
        elif not await self.guest.stderr():
            raise SandboxUnavailable(f"the guest did not start within {seconds:g} seconds", _REMEDY)
        raise explain(await self.guest.stderr(), level)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket has this kind
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take the guest's one word."""
        self._heard += data
        if self._heard == READY:
            self._ready.set_result(True)
        elif not READY.startswith(self._heard) and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Note that the guest is gone."""
        self._lost.set()
        if not self._ready.done():
            self._ready.set_result(False)
        elif self.on_lost is not None:
            self.on_lost(self)

    def is_alive(self) -> bool:
        """Say whether the guest still waits, in silence; asked at the last moment, before the loop would notice."""
        if self._socket is None or self._lost.is_set():
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def hand_over(self, protocol: asyncio.BaseProtocol, greeting: bytes) -> None:
        """Give the connection to a run's protocol, and the guest its first words; once."""
        assert self._transport is not None  # noqa: S101 - `start` has returned
        self.on_lost = None
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._lost.is_set():  # It died between the pool's last look and now.
            protocol.connection_lost(None)
            return
        self._lost.set()  # From here on the end of the connection is the protocol's to await.
        self._transport.write(greeting)

    def peak_memory_bytes(self) -> int | None:
        """Return the most that the guest has held in memory, by the kernel's account; None if it is gone."""
        if self._status is None:
            return None
        try:
            found = re.search(rb"VmHWM:\s+(\d+) kB", os.pread(self._status, _STATUS_BYTES, 0))
        except OSError:
            return None
        return int(found[1]) * 1024 if found else None

    def kill(self) -> None:
        """Kill the guest, without waiting for its end."""
        if hasattr(self, "guest"):
            self.guest.kill()

    async def end(self) -> None:
        """Kill the guest, wait for its end, release everything."""
        self.on_lost = None
        self.kill()
        if self._transport is not None:
            self._transport.abort()
            await self._lost.wait()
        elif self._socket is not None:
            self._socket.close()
        if hasattr(self, "guest"):
            await self.guest.wait()
        if self._status is not None:
            os.close(self._status)
            self._status = None


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Do all of some clean-up even if the caller is cancelled meanwhile; the cancellation comes after it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def leave(guest: Guest) -> bool:
    """Let a guest that has closed its socket end by itself, and say whether it did: its exit status then says why."""
    try:
        await asyncio.wait_for(guest.wait(), _LEAVE_SECONDS)
    except TimeoutError:
        return False
    return True


def _status_file(pid: int | None) -> int | None:
    """Open the kernel's account of the innermost process of a guest that has not run agent code yet.

    An open file stays with its process: it never shows another one that got the same number later.
    """
    try:
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split():
            pid = int(children[0])
        return os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # No /proc, or a kernel that does not list children.
        return None
