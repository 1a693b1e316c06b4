"""What the attackers are after: secrets of a host and of a neighbour, planted where only isolation keeps them.

A neighbour is a process of the very account that launches guests. Each secret is made at run time and told to no
attacker, so whoever returns it has read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sandbox.isolation import account, interpreter
from tests.uids import uid, uids

ACCOUNT: Final = uid(0) if os.geteuid() == 0 else os.geteuid()
"""Who launches guests: not the uid that a guest sees itself as."""

UIDS: Final = uids(100, 100)
"""Whose the guests of `landlock` are, one each."""

RUN_AS: Final = ACCOUNT if os.geteuid() == 0 else None

_NEIGHBOUR: Final = """
import ctypes, json, os, sys
secret = sys.argv[1].encode()
held = ctypes.create_string_buffer(secret, 64)
file = os.memfd_create(secret.decode())
os.write(file, secret)
ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)  # Yama, where it is, lets others of the uid trace it.
print(json.dumps({"pid": os.getpid(), "address": ctypes.addressof(held), "descriptor": file}), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The secret, and what attackers are told: where to look."""

    secret: str
    told: dict[str, Any]


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Plant everything, and take it away again."""
    secret = secrets.token_hex(16)
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(_planted_file(secret))
        told: dict[str, Any] = {
            "host": os.getpid(),
            "secret_file": str(folder / "secret"),
            "open_file": str(folder / "open"),
            "movable_file": str(folder / "shared/file"),
        }
        told |= await _listen(stack, folder, secret)
        met = await stack.enter_async_context(neighbour(secret, RUN_AS))
        yield Stage(secret, {**told, "neighbour": met})


@contextlib.contextmanager
def _planted_file(secret: str) -> Iterator[Path]:
    # In a folder that everybody may read: not tmp_path, which is closed to the account that launches guests.
    with tempfile.TemporaryDirectory(prefix="attacks-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").write_text(secret, encoding="utf-8")
        (folder / "open").touch()
        (folder / "open").chmod(0o666)
        (folder / "shared").mkdir()
        (folder / "shared").chmod(0o777)
        (folder / "shared/file").touch()
        yield folder


async def _listen(stack: contextlib.AsyncExitStack, folder: Path, secret: str) -> dict[str, Any]:
    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(secret.encode())
        await writer.drain()
        writer.close()

    abstract = f"attacks-{secrets.token_hex(8)}"
    tcp = await asyncio.start_server(tell, "127.0.0.1", 0)
    path = await asyncio.start_unix_server(tell, folder / "socket")
    (folder / "socket").chmod(0o777)
    hidden = await asyncio.start_unix_server(tell, f"\0{abstract}")
    for server in (tcp, path, hidden):
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
    udp = await _datagrams(stack, secret, local_addr=("127.0.0.1", 0))
    await _datagrams(stack, secret, sock=_unix_datagram(str(folder / "datagram")))
    (folder / "datagram").chmod(0o777)
    await _datagrams(stack, secret, sock=_unix_datagram(f"\0{abstract}-datagram"))
    return {
        "tcp": tcp.sockets[0].getsockname()[1],
        "udp": udp.get_extra_info("sockname")[1],
        "path_socket": str(folder / "socket"),
        "path_datagram": str(folder / "datagram"),
        "abstract_socket": abstract,
        "abstract_datagram": f"{abstract}-datagram",
    }


def _unix_datagram(address: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(address)
    made.setblocking(False)
    return made


class _Teller(asyncio.DatagramProtocol):
    """Answers whoever has an address with the secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as documented
        self._transport = transport

    def datagram_received(self, _data: bytes, address: Any) -> None:
        if address and self._transport is not None:
            self._transport.sendto(self._secret, address)


async def _datagrams(stack: contextlib.AsyncExitStack, secret: str, **where: Any) -> asyncio.DatagramTransport:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Teller(secret), **where)
    stack.callback(transport.close)
    return transport


@contextlib.asynccontextmanager
async def neighbour(secret: str, uid: int | None) -> AsyncIterator[dict[str, int]]:
    """Start a process of that account which holds the secret; say where in it."""
    launcher = account.launcher(uid)
    python = interpreter.find(None, launcher.prefix)
    process = await asyncio.create_subprocess_exec(
        *(*launcher.prefix, python.executable, "-I", "-S", "-c", _NEIGHBOUR, secret),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"SECRET": secret},
        cwd="/",
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(10):
            said: dict[str, int] = json.loads(await process.stdout.readline())
        yield said
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
