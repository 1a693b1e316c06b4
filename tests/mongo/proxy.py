"""A wire between the driver and a real server that can break where a test says.

It looks for a command by its name in what the driver sends. The server always receives the command: what breaks is
the answer, which is the case that a host cannot tell from a write that never happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["cut", "hold"]


@dataclass
class Proxy:
    """Loopback port and the fault to make: `cut` closes the connection instead of an answer, `hold` never answers."""

    host: str
    port: int
    listening: int = 0
    fault: Fault = "cut"
    commands: tuple[str, ...] = ()
    times: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def break_answers(self, fault: Fault, times: int, *commands: str) -> None:
        """Break the answers to the next commands of these names."""
        self.fault, self.times, self.commands = fault, times, commands

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        upstream_reader, upstream = await asyncio.open_connection(self.host, self.port)
        self.writers |= {writer, upstream}
        broken = asyncio.Event()
        try:
            await asyncio.gather(
                self._carry(reader, upstream, broken, look=True),
                self._carry(upstream_reader, writer, broken, look=False),
            )
        except OSError:
            pass
        finally:
            self.writers -= {writer, upstream}
            writer.close()
            upstream.close()

    def _named(self, chunk: bytes) -> bool:
        """Say whether a command is in it: its name is the field of a string, or of the number 1."""
        return any(b"%c%s\0" % (kind, name.encode()) in chunk for name in self.commands for kind in (2, 16))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event, *, look: bool
    ) -> None:
        while chunk := await reader.read(1 << 16):
            if look and self.times and self._named(chunk):
                self.times -= 1
                broken.set()
            if not look and broken.is_set():
                if self.fault == "hold":
                    continue
                break
            writer.write(chunk)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def between(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Yield a wire to the server of a URL, and the URL that leads over it."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "", parts.port or 27017)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.listening = server.sockets[0].getsockname()[1]
    try:
        yield proxy, f"mongodb://127.0.0.1:{proxy.listening}{parts.path}?directConnection=true"
    finally:
        server.close()
        for writer in list(proxy.writers):
            writer.close()
        await server.wait_closed()
