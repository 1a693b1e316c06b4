"""A wire to MongoDB that breaks at commands, which it finds by name in what the driver sends."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tests.servers.wire import Fault, Wire
from tests.servers.wire import between as _between


class Proxy(Wire):
    """A wire that knows commands."""

    def break_answers(self, fault: Fault, times: int, *commands: str) -> None:
        """Break the answers to the next commands of these names."""
        self.break_when(fault, times, lambda chunk: named(chunk, commands))


def named(chunk: bytes, commands: tuple[str, ...]) -> bool:
    """Say whether a command is in it: its name is the field of a string, or of the number 1."""
    return any(b"%c%s\0" % (kind, name.encode()) in chunk for name in commands for kind in (2, 16))


def between(url: str) -> AbstractAsyncContextManager[tuple[Proxy, str]]:
    """Yield a wire to the server of a URL, and the URL that leads over it."""
    return _between(url, Proxy)
