"""What fits into one operation and one frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

from datastore import values
from datastore.errors import ValueTooLarge
from sandbox.guest import wire

T = TypeVar("T")

PAGE: Final = 1000
"""The most that one operation names or returns: the host's own bound."""

_SLACK: Final = 4096
"""Bytes of a frame that are not its changes or keys."""

_ESCAPED: Final = 6
"""The most bytes that JSON takes for one character."""

_QUOTED: Final = 3
"""Bytes around a key."""


def batches(changes: list[T], frame_bytes: int) -> Iterator[list[T]]:
    """Split changes or keys so that each batch fits into one operation and one frame.

    Raises:
        ValueTooLarge: one of them alone holds more values than a frame may.
    """
    if _fit(changes, frame_bytes):
        yield changes
        return
    batch: list[T] = []
    used, nodes = _SLACK, 0
    for change in changes:
        text = values.compact(change).encode()
        size, count = len(text) + 1, wire.nodes(text) + 1
        if count > wire.MOST_NODES - PAGE:
            raise too_many_values()
        if batch and (len(batch) == PAGE or used + size > frame_bytes or nodes + count > wire.MOST_NODES - PAGE):
            yield batch
            batch, used, nodes = [], _SLACK, 0
        batch.append(change)
        used, nodes = used + size, nodes + count
    if batch:
        yield batch


def _fit(changes: list[Any], frame_bytes: int) -> bool:
    """Say at once of keys whether they fit together, however JSON escapes them; False: maybe not."""
    if not 0 < len(changes) <= PAGE or not isinstance(changes[0], str):
        return False
    return _SLACK + sum(map(len, changes)) * _ESCAPED + len(changes) * _QUOTED <= frame_bytes


def too_many_values() -> ValueTooLarge:
    """Return the error for what holds more values than the host takes in one frame."""
    return ValueTooLarge(
        f"one call would send more than {wire.MOST_NODES:,} values (numbers, strings, lists, objects). "
        "Split the value over several keys, or store it as text: json.dumps(value).",
        limit=wire.MOST_NODES,
    )
