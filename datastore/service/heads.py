"""Where the heads of the audit log go, so that whoever can write to the store cannot rewrite what it says.

Each is a line of JSON: to the log `datastore.audit`, at level INFO, and to a file that is only ever added to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Final

from datastore.chain import Head
from datastore.errors import ConfigurationError

_log = logging.getLogger("datastore.audit")

_FILE_MODE: Final = 0o600


class Heads:
    """The witness of one store's chain.

    Args:
        path: the file; None: the log alone.

    Raises:
        ConfigurationError: the file cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        if path is not None:
            try:
                _add(path, b"")
            except OSError as error:
                raise ConfigurationError(
                    f"DATASTORE_AUDIT_HEADS={path!r} cannot be written: {(error.strerror or 'refused').lower()}. "
                    "Name a file in a folder that this process can write."
                ) from error

    async def tell(self, head: Head) -> None:
        """Write a head down; that the file cannot be written is said in the log, and the next one is tried anew."""
        line = as_line(head)
        _log.info("audit head %s", line)
        if self._path is not None:
            try:
                await asyncio.to_thread(_add, self._path, f"{line}\n".encode())
            except OSError as error:
                _log.error("the audit's head %s could not be written to %r: %s", line, self._path, error.strerror)


def as_line(head: Head) -> str:
    """Return a head as JSON."""
    at = head.at.isoformat(timespec="milliseconds")
    return json.dumps({"chain": head.chain, "seq": head.seq, "at": at, "link": head.link})


def _add(path: str, line: bytes) -> None:
    """Add to the file, opened anew each time, so that it may be moved away."""
    opened = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _FILE_MODE)
    try:
        os.write(opened, line)
    finally:
        os.close(opened)
