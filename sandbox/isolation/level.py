"""What every isolation level promises to those who start guests: the seam of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket


class Guest(Protocol):
    """One guest, from its start to its end. It belongs to the event loop that was running when it was started."""

    cpu_seconds: float
    """The processor time that it had used when it ended; 0 before."""

    async def started(self) -> int | None:
        """Wait until the guest is there; return its pid on the host, or None where the host does not say it.

        Raises:
            SandboxUnavailable: it never came to be.
        """

    async def wait(self) -> int:
        """Wait until the guest has ended, and nothing of it is left; any number of tasks may, as often as they like.

        Returns:
            Its exit status: negative for a signal, or 128 plus its number where a launcher reports it.
        """

    def kill(self) -> None:
        """Kill every process of the guest, at once; nothing happens if it has ended already."""

    async def stderr(self) -> str:
        """Return the last 8 KiB of what its start wrote to stderr so far, without waiting for more."""


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

    async def close(self) -> None:
        """Release what the level holds beside its guests, which have ended before; idempotent."""
