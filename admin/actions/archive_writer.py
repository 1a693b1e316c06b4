"""Writes an archive, line by line, as entries come; what was written before is not kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import BinaryIO

from admin.actions import archive_form
from datastore.entry import Entry
from datastore.service.overrides import Override
from datastore.values import compact


class Writer:
    """An archive on its way into a binary file, or a pipe.

    Args:
        sink: where it goes.
        owner: whose data it is; a space with its `@`.
        namespace: the one namespace that it holds; None: all.
        now: when.
    """

    def __init__(self, sink: BinaryIO, owner: str, namespace: str | None, now: datetime) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.entries = 0
        self.bytes = 0
        header = {
            "format": archive_form.FORMAT,
            "version": archive_form.VERSION,
            "owner": owner,
            "namespace": namespace,
            "exported_at": now.isoformat(timespec="milliseconds"),
        }
        self.write(compact(header).encode() + b"\n")

    def limit(self, limits: Override) -> None:
        """Write what an operator had set for the owner; before the first entry."""
        self.write(compact({"limits": limits.model_dump(exclude_defaults=True)}).encode() + b"\n")

    def add(self, entry: Entry) -> None:
        """Write an entry."""
        if isinstance(entry.value, bytes):
            self._add_bytes(entry, entry.value)
        else:
            self.write(compact(entry.as_dict()).encode() + b"\n")
        self.entries += 1
        self.bytes += entry.size_bytes

    def _add_bytes(self, entry: Entry, value: bytes) -> None:
        facts = replace(entry, value=None).as_dict()  # The value is not turned into text as a whole.
        del facts["value"]
        self.write(compact(facts)[:-1].encode() + b',"value_base64":"')
        archive_form.encode(value, self)
        self.write(b'"}\n')

    def end(self) -> None:
        """Write the footer, without which nobody takes the archive for whole."""
        footer = {"entries": self.entries, "bytes": self.bytes, "sha256": self._hash.hexdigest()}
        self._sink.write(compact(footer).encode() + b"\n")
        self._sink.flush()

    def write(self, data: bytes) -> int:
        """Write bytes of a line."""
        self._hash.update(data)
        return self._sink.write(data)

    # What base64io wants of a file besides.
    closed = False

    def writable(self) -> bool:
        """Say yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Give nothing: this file is written."""
        del size
        return b""

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._sink.flush()

    def close(self) -> None:
        """Do nothing: the file is its opener's."""
