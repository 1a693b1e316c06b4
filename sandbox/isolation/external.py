"""The level `external`: guests that the operator's own launcher starts, in gVisor, a virtual machine, a container.

The contract. For every guest the launcher is executed with two words more, the numbers of two descriptors that it
inherits: BOOTSTRAP, a Python archive to be read from its beginning, and SOCKET, a connected stream socket. Inside, it
makes a Python of version 3.11 or later run

    python3 -I -S -E -B ARCHIVE DESCRIPTOR [PACKAGES]

where ARCHIVE is a path to the bootstrap, DESCRIPTOR a stream socket whose other end is SOCKET's (SOCKET itself, or one
for which the launcher copies bytes both ways), and PACKAGES a folder of packages for agents, if there is one. It ends
when the guest ends, and all that the guest has said is copied, with the guest's exit status; it is killed, with its
whole process group, when a run is over, and what it has started elsewhere must end with it. What it writes to stderr
explains a failed start; stdin and stdout lead nowhere.

Nothing is verified but a handshake: that the bootstrap runs, and that the socket carries bytes both ways. What the
launcher isolates is its operator's word alone.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from datastore.errors import ConfigurationError, SandboxUnavailable
from sandbox import archive
from sandbox.isolation import account
from sandbox.isolation.diagnosis import LAUNCHER, explain
from sandbox.isolation.interpreter import OLDEST
from sandbox.isolation.level import Guest
from sandbox.isolation.process import launch, memory_files

_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_HANDSHAKE: Final = b"""\
import json, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as peer, peer.makefile("rw", encoding="utf-8") as stream:
    stream.write(json.dumps({"nonce": stream.readline().strip(), "version": sys.version_info[:2]}) + "\\n")
"""
_ANSWER_SECONDS: Final = 30
_ANSWER_BYTES: Final = 1024


class External:
    """Guests behind a launcher of the operator's own.

    Args:
        launcher: Its command; the first word is a path, or a program on PATH.
        run_as: The account that it is launched by; None for the host's own, root included.
    """

    def __init__(self, launcher: Sequence[str], *, run_as: str | int | None = None) -> None:
        if isinstance(launcher, str) or not launcher:
            raise ConfigurationError(
                f"launcher must be a list of words, got {launcher!r}. Write ['/path/to/launcher']."
            )
        self.name = "external"
        self._launcher = tuple(launcher)
        self._run_as = run_as
        self._command: tuple[str, ...] | None = None

    async def prepare(self) -> None:
        """Start one guest that shakes hands."""
        self._command = self._find()
        await self._shake_hands()

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        """Start the launcher."""
        if self._command is None:
            raise RuntimeError("prepare() comes before spawn().")
        with memory_files(bootstrap) as (program,):
            words = [*self._command, str(program), str(peer.fileno())]
            return launch(words, inherit=(program, peer.fileno()), environment=_ENVIRONMENT)

    async def close(self) -> None:
        """Nothing to release: every launcher is a process of its own."""

    def _find(self) -> tuple[str, ...]:
        program = shutil.which(self._launcher[0])
        if program is None:
            raise SandboxUnavailable(
                f"there is no program {self._launcher[0]!r} to launch guests with",
                "Install it, make it executable, or name it by its whole path.",
            )
        prefix = account.launcher(self._run_as, allow_root=True).prefix
        return (*prefix, str(Path(program).absolute()), *self._launcher[1:])

    async def _shake_hands(self) -> None:
        nonce = secrets.token_hex(16)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            guest = self.spawn(archive.build([("__main__.py", _HANDSHAKE)]), theirs)
            theirs.close()
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await _ask(ours, nonce)
                    if not answer:
                        await guest.wait()  # Only then are its words complete.
                        raise explain(await guest.stderr(), self.name)
                _check(answer, nonce)
            except TimeoutError as error:
                raise SandboxUnavailable(
                    f"the launcher gave no guest that answers within {_ANSWER_SECONDS} seconds", LAUNCHER
                ) from error
            finally:
                guest.kill()
                await guest.wait()


async def _ask(ours: socket.socket, nonce: str) -> bytes:
    """Return the guest's line, or what came of it before the end of its socket or the bound."""
    loop = asyncio.get_running_loop()
    ours.settimeout(0)
    line = b""
    try:
        await loop.sock_sendall(ours, nonce.encode() + b"\n")
        while len(line) < _ANSWER_BYTES and not line.endswith(b"\n"):
            piece = await loop.sock_recv(ours, _ANSWER_BYTES)
            if not piece:
                break
            line += piece
    except ConnectionError:
        pass
    return line


class _Answer(BaseModel):
    """What the guest of the handshake says."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    nonce: str
    version: tuple[int, int]


def _check(line: bytes, nonce: str) -> None:
    try:
        answer = _Answer.model_validate_json(line)
    except ValidationError:
        answer = None
    if answer is None or answer.nonce != nonce:
        raise SandboxUnavailable("what the launcher connected to the socket is not the guest", LAUNCHER)
    if answer.version < OLDEST:
        shown = ".".join(map(str, answer.version))
        raise SandboxUnavailable(f"the launcher's Python is {shown}", "Give guests Python 3.11 or later.")
