"""A wire to PostgreSQL that counts round trips, and breaks at what has a text in it.

A round trip ends when the server says that it is ready for the next query: one message, whatever went before it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from tests.servers.wire import Fault
from tests.servers.wire import Wire as _Wire
from tests.servers.wire import between as _between

_READY: Final = ord("Z")
_HEADER: Final = 5


class Wire(_Wire):
    """A wire that knows messages."""

    trips = 0

    def break_answers(self, fault: Fault, sign: str, times: int = 1) -> None:
        """Break the answers to what has the text in it, so many times."""
        self.break_when(fault, times, lambda chunk: sign.encode() in chunk)

    def take(self) -> int:
        """Return how many round trips there were since the last time."""
        trips, self.trips = self.trips, 0
        return trips

    def reader(self) -> Callable[[bytes], None]:
        """Return what counts the answers of a new connection."""
        pending = bytearray()

        def count(chunk: bytes) -> None:
            pending.extend(chunk)
            self.trips += _whole(pending).count(_READY)

        return count


def _whole(pending: bytearray) -> bytes:
    """Take the whole messages off the front of what came; return the kind of each."""
    kinds = bytearray()
    while len(pending) >= _HEADER and len(pending) >= (end := 1 + int.from_bytes(pending[1:_HEADER], "big")):
        kinds.append(pending[0])
        del pending[:end]
    return bytes(kinds)


def between(url: str) -> AbstractAsyncContextManager[tuple[Wire, str]]:
    """Yield a wire to the server of a URL, and the URL that leads over it."""
    return _between(url, Wire)
