"""A wire between a store and a real server that can break where a test says.

A fault waits for a sign in what the store sends. The server always receives it: what breaks is the answer, which is
the case that a host cannot tell from a write that never happened. Each engine's tests say what its signs look like.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Literal, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

Fault = Literal["cut", "hold", "leave"]

_CHUNK_BYTES: Final = 1 << 16
_MONGO_OPTIONS: Final = "directConnection=true"
"""Else the driver asks the server for its members, and goes past the wire."""


class Wire:
    """Carries what a store and a server say to each other.

    Args:
        host: the server's.
        port: the server's.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._connected = asyncio.Event()
        self._fault: Fault = "cut"
        self._sign: Callable[[bytes], bool] = lambda _chunk: False
        self._is_gone = False
        self.listening = 0
        self.made = 0
        """How many connections were made over it."""
        self.times = 0
        """How often the fault is still to be made."""

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._writers) // 2

    async def connected(self) -> None:
        """Wait until a connection was made since the last cut."""
        await self._connected.wait()

    def break_when(self, fault: Fault, times: int, sign: Callable[[bytes], bool]) -> None:
        """Break so many answers: `cut` closes the connection, `hold` never answers, `leave` closes every connection."""
        self._fault, self.times, self._sign = fault, times, sign

    def cut(self) -> None:
        """Close every connection."""
        self._connected.clear()
        for each in list(self._writers):
            each.close()

    def leave(self) -> None:
        """Close every connection, and each that is made from now on."""
        self._is_gone = True
        self.cut()

    def come_back(self) -> None:
        """Carry connections again."""
        self._is_gone = False

    def reader(self) -> Callable[[bytes], None]:
        """Return what is shown all that the server says on a new connection."""
        return lambda _chunk: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        if self._is_gone:
            writer.close()
            return
        try:
            upstream_reader, upstream = await asyncio.open_connection(*self._server)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, upstream}
        self.made += 1
        self._connected.set()
        broken = asyncio.Event()
        try:
            await asyncio.gather(self._send(reader, upstream, broken), self._answer(upstream_reader, writer, broken))
        except OSError:
            pass
        finally:
            self._writers -= {writer, upstream}
            writer.close()
            upstream.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self.times and self._sign(chunk):
                self.times -= 1
                broken.set()
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event) -> None:
        show = self.reader()
        while chunk := await reader.read(_CHUNK_BYTES):
            if broken.is_set():
                if self._fault == "hold":
                    continue
                if self._fault == "leave":
                    self.leave()
                break
            show(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.close()


W = TypeVar("W", bound=Wire)
T = TypeVar("T")


class Loop(Protocol):
    """An event loop in another thread."""

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine there and wait for it."""


@asynccontextmanager
async def between(url: str, kind: type[W]) -> AsyncIterator[tuple[W, str]]:
    """Yield a wire to the one server of a URL, and the URL that leads over it."""
    parts = urlsplit(url)
    mongo = parts.scheme == "mongodb"
    wire = kind(parts.hostname or "", parts.port or (27017 if mongo else 5432))
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.listening = server.sockets[0].getsockname()[1]
    credentials, at, _ = parts.netloc.rpartition("@")
    over = parts._replace(netloc=f"{credentials}{at}127.0.0.1:{wire.listening}")
    try:
        yield wire, urlunsplit(over._replace(query=_MONGO_OPTIONS) if mongo else over)
    finally:
        server.close()
        wire.cut()
        await server.wait_closed()


@contextmanager
def carried(loop: Loop, url: str, kind: type[W]) -> Iterator[tuple[W, str]]:
    """As `between`, carried in the thread of a loop."""
    carrying = between(url, kind)
    made = loop.run(carrying.__aenter__())
    try:
        yield made
    finally:
        loop.run(carrying.__aexit__(None, None, None))
