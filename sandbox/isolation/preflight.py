"""The self-test: a real guest attacks its isolation from inside before any agent code may run.

It catches what no look at versions does: a kernel, a container or a security module that gives less than it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from datastore.errors import SandboxUnavailable
from sandbox import archive
from sandbox.isolation.diagnosis import explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.isolation.level import Guest

ATTACKS: Final = frozenset(
    {
        *("identity", "network", "fork", "namespaces", "writing", "own_files"),
        *("environment", "processes", "signals", "files", "descriptors", "standard_library"),
    }
)
"""What the probe must report on. One that it leaves out counts as missed: silence proves nothing."""

_ANSWER_SECONDS: Final = 10
_PIECE_BYTES: Final = 64 * 1024


class Spawn(Protocol):
    """How a slot starts a guest whose launcher has this environment."""

    def __call__(self, bootstrap: bytes, peer: socket.socket, environment: Mapping[str, str], /) -> Guest:
        """Start a guest."""


async def self_test(spawn: Spawn, level: str) -> None:
    """Attack a guest of a level from inside.

    Raises:
        SandboxUnavailable: It did not start, did not answer in time, or one of the attacks went through.
    """
    with _planted_secret() as planted:
        answer = await _ask(spawn, planted, level)
    missed = {name: answer.get(name, "not tried") for name in sorted(ATTACKS | answer.keys())}
    words = "; ".join(f"{name}: {reached}" for name, reached in missed.items() if reached)
    if words:
        raise SandboxUnavailable(
            f"the self-test of {level} missed ({words})",
            "Do not run agents on this machine before that is understood.",
        )


@contextlib.contextmanager
def _planted_secret() -> Iterator[dict[str, str]]:
    # In a folder that everybody may read, so that only the isolation can keep it from the guest.
    with tempfile.TemporaryDirectory(prefix="datastore-preflight-") as folder:
        path = Path(folder, "secret")
        secret = secrets.token_hex(16)
        path.write_text(secret, encoding="utf-8")
        path.chmod(0o644)
        path.parent.chmod(0o755)
        yield {"secret": secret, "path": str(path), "host": str(os.getpid())}


async def _ask(spawn: Spawn, planted: dict[str, str], level: str) -> dict[str, str]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        guest = spawn(_archive(), theirs, {"DATASTORE_PREFLIGHT": planted["secret"]})
        theirs.close()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await _converse(ours, planted) or await _fail(guest, level)
        except TimeoutError as error:
            raise SandboxUnavailable(
                f"the self-test of {level} did not end within {_ANSWER_SECONDS} seconds",
                "Try again when this machine is less busy.",
            ) from error
        finally:
            guest.kill()
            await guest.wait()


async def _converse(ours: socket.socket, planted: dict[str, str]) -> dict[str, str]:
    """Return the guest's report; an empty one if it ended without."""
    loop = asyncio.get_running_loop()
    ours.settimeout(0)
    line = b""
    with contextlib.suppress(ConnectionError):
        await loop.sock_sendall(ours, json.dumps(planted).encode() + b"\n")
        while piece := await loop.sock_recv(ours, _PIECE_BYTES):
            line += piece
    answer: dict[str, str] = json.loads(line) if line.endswith(b"\n") else {}
    return answer


async def _fail(guest: Guest, level: str) -> NoReturn:
    # Its words are complete only when it has ended, which its closing the socket does not prove.
    await guest.wait()
    raise explain(await guest.stderr(), level)


def _archive() -> bytes:
    return archive.bootstrap([("bootstrap.py", Path(__file__).with_name("probe.py").read_bytes())])
