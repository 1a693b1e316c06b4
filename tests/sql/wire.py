"""A wire between a store and a real PostgreSQL, which counts round trips and breaks where a test says.

A round trip ends when the server says that it is ready for the next query: one message, whatever went before it. A
fault waits for a text in what the store sends. The server always receives it: what breaks is the answer, which is the
case that a host cannot tell from a write that never happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

Fault = Literal["cut", "hold"]

_READY: Final = ord("Z")
_HEADER: Final = 5


@dataclass
class Wire:
    """Where it leads, what it counted, and the fault to make.

    `cut` closes the connection instead of an answer, `hold` never answers.
    """

    host: str
    port: int
    trips: int = 0
    fault: Fault | None = None
    sign: bytes = b""
    times: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def break_answers(self, fault: Fault, sign: str, times: int = 1) -> None:
        """Break the answers to what has the text in it, so many times."""
        self.fault, self.sign, self.times = fault, sign.encode(), times

    def take(self) -> int:
        """Return how many round trips there were since the last time."""
        trips, self.trips = self.trips, 0
        return trips

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        try:
            upstream_reader, upstream = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        self.writers |= {writer, upstream}
        broken = asyncio.Event()
        try:
            await asyncio.gather(self._send(reader, upstream, broken), self._answer(upstream_reader, writer, broken))
        except OSError:
            pass
        finally:
            self.writers -= {writer, upstream}
            writer.close()
            upstream.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event) -> None:
        while chunk := await reader.read(1 << 16):
            if self.times and self.sign in chunk:
                self.times -= 1
                broken.set()
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event) -> None:
        pending = bytearray()
        while chunk := await reader.read(1 << 16):
            if broken.is_set():
                if self.fault == "hold":
                    continue
                break
            pending += chunk
            self.trips += _whole(pending).count(_READY)
            writer.write(chunk)
            await writer.drain()
        writer.close()


def _whole(pending: bytearray) -> bytes:
    """Take the whole messages off the front of what came; return the kind of each."""
    kinds = bytearray()
    while len(pending) >= _HEADER and len(pending) >= (end := 1 + int.from_bytes(pending[1:_HEADER], "big")):
        kinds.append(pending[0])
        del pending[:end]
    return bytes(kinds)


@asynccontextmanager
async def between(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """Yield a wire to the server of a URL, and the URL that leads over it."""
    parts = urlsplit(url)
    wire = Wire(parts.hostname or "", parts.port or 5432)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    credentials, at, _ = parts.netloc.rpartition("@")
    address = f"{credentials}{at}127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire, urlunsplit(parts._replace(netloc=address))
    finally:
        server.close()
        for writer in list(wire.writers):
            writer.close()
        await server.wait_closed()
