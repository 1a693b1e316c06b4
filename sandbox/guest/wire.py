"""Frames without I/O: a length of four bytes, big-endian, then one JSON object in UTF-8.

Both ends use this module; neither trusts the other's length. A frame is refused on its announced length, before its
bytes are buffered, and on its number of containers, before it is decoded. What is refused here is a broken peer, not
a refused request: the connection ends.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from datastore.values import compact

PROTOCOL: Final = 1
MOST_NODES: Final = 200_000
FRAME_SLACK: Final = 64 * 1024
"""What a frame holds besides one value: names, metadata and the envelope."""

_QUOTES_A_NODE: Final = 4
_LENGTH: Final = struct.Struct(">I")


class ProtocolError(Exception):
    """The peer broke the protocol; `reason` is one line for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def frame_limit(value_bytes: int) -> int:
    """Return the frame that holds one value of the limit's size, also as base64, which takes four bytes for three."""
    return (value_bytes + 2) // 3 * 4 + FRAME_SLACK


def pack(message: dict[str, Any]) -> bytes:
    """Return a message, already plain JSON, as a frame."""
    payload = compact(message).encode()
    return _LENGTH.pack(len(payload)) + payload


class Decoder:
    """Bytes in, payloads out.

    Args:
        limit: the longest payload, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Add bytes and give each payload that is complete.

        Raises:
            ProtocolError: a frame announces more than the limit.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self.limit:
                raise ProtocolError(f"a frame of {length:,} bytes was announced; the limit is {self.limit:,}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield payload


def unpack(payload: bytes) -> dict[str, Any]:
    """Return the message of a payload.

    Raises:
        ProtocolError: it is not one JSON object, or it has more containers and commas than `MOST_NODES`.
    """
    if nodes(payload) > MOST_NODES:
        raise ProtocolError(f"a frame holds more than {MOST_NODES:,} values")
    return decode(payload)


def decode(payload: bytes) -> dict[str, Any]:
    """Return the message of a payload from a peer that bounds what it sends.

    Raises:
        ProtocolError: it is not one JSON object.
    """
    try:
        message = _DECODER.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame is not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise ProtocolError("a frame is not a JSON object")
    return message


def nodes(payload: bytes, enough: int = MOST_NODES) -> int:
    """Return the containers and commas of a payload; those in strings count too while all are no more than `enough`.

    Linear in its length, whatever it holds: what is no JSON is counted somehow, and refused when it is decoded.
    """
    counted = _count(payload)
    if counted <= enough:
        return counted
    unescaped = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = unescaped.count(b'"')
    if quotes > _QUOTES_A_NODE * (enough + 1):  # Two for a key and two for a value: there are as many nodes besides.
        return quotes
    return _count(b"".join(unescaped.split(b'"')[::2]))


def _count(payload: bytes) -> int:
    return payload.count(b",") + payload.count(b"[") + payload.count(b"{")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
