"""What every isolation level promises to those who start guests: the seam of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket

    from sandbox.isolation.process import Guest


class Level(Protocol):
    """One way to start a guest. A level never turns into another one by itself: it works or it refuses."""

    name: str

    async def prepare(self) -> None:
        """Find what a guest needs on this machine and prove that the isolation holds.

        Call it once, before the first `spawn`.

        Raises:
            SandboxUnavailable: This machine cannot give what the level promises; no agent code has run.
        """

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        """Start one guest, without waiting for it. Call it on a running event loop's thread that lives on.

        Args:
            bootstrap: A stored zip archive with a `__main__.py`, which gets the socket's descriptor as argv[1].
            peer: The guest's end of a socketpair. The guest inherits it; the caller closes its own copy.

        Raises:
            SandboxUnavailable: The operating system refused to start a process.
        """
