"""What the agent prints, on its way to the host: whole lines, bounded here so that an honest flood costs nothing."""

from __future__ import annotations

import io
from typing import Final

from sandbox.guest.channel import Channel

_PIECE: Final = 8 * 1024


class LogStream(io.TextIOBase):
    """A text stream whose lines become log messages.

    Args:
        channel: where they go.
        name: stdout or stderr.
        budget: one list with the bytes that may still be sent, shared by both streams.
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, channel: Channel, name: str, budget: list[int]) -> None:
        self._channel = channel
        self._name = name
        self._budget = budget
        self._line = ""

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Take text; complete lines go out at once."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._line += text
        if "\n" in text or len(self._line) > _PIECE:
            whole, newline, self._line = self._line.rpartition("\n")
            if not newline:
                whole, self._line = self._line, ""
            self._send(whole + newline)
        return len(text)

    def flush(self) -> None:
        """Send an unfinished line."""
        if self._line:
            line, self._line = self._line, ""
            self._send(line)

    def _send(self, text: str) -> None:
        clean = text.encode("utf-8", "replace").decode()
        for start in range(0, len(clean), _PIECE):
            if self._budget[0] < 0:
                return
            piece = clean[start : start + _PIECE]
            self._budget[0] -= len(piece.encode())
            self._channel.post({"log": piece, "stream": self._name})
