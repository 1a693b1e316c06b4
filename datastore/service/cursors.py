"""Cursors of changes: positions of the engine, sealed so that an agent can keep one, but neither read nor make one.

A cursor is bound to owner, namespace and what was watched there; any other use is refused. It is encrypted too, and
no two are alike: a position would tell how much all users of the store together are writing.

The seal is a synthetic initialisation vector over HMAC-SHA256: the tag authenticates the position and everything that
it is bound to, and the tag makes the key stream. All hosts of a store share one key. It is made by whoever needs it
first, and kept in the store under an owner that nobody from outside can name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
from datetime import datetime
from typing import Final

from datastore.document import Interest, Place
from datastore.entry import NEVER
from datastore.errors import InvalidArgument
from datastore.ports import Actor, Backend, Position, Write

KEYS: Final = Place("@@datastore", "keys")
"""Where the store keeps what only its hosts may know."""
_NAME: Final = "cursors"
_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_NONCE_BYTES: Final = 8
_POSITION: Final = struct.Struct(">QQ")


class Seal:
    """Makes and opens cursors.

    Args:
        key: secret, and the same on every host of the store.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, interest: Interest, position: Position) -> str:
        """Return a cursor for the watchers of an interest."""
        content = secrets.token_bytes(_NONCE_BYTES) + _POSITION.pack(*position)
        tag = self._tag(interest, content)
        return base64.urlsafe_b64encode(tag + self._blend(tag, content)).decode().rstrip("=")

    def open(self, interest: Interest, cursor: str) -> Position:
        """Return the position of a cursor.

        Raises:
            InvalidArgument: it was not made for this interest, or not by this store.
        """
        sealed = _decoded(cursor)
        tag, hidden = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        content = self._blend(tag, hidden)
        if len(content) != _NONCE_BYTES + _POSITION.size or not hmac.compare_digest(tag, self._tag(interest, content)):
            raise InvalidArgument(
                "this cursor was not given for this namespace and prefix. "
                "Pass the cursor of a change, unchanged, to a watch of the same namespace and prefix."
            )
        major, minor = _POSITION.unpack(content[_NONCE_BYTES:])
        return major, minor

    def _tag(self, interest: Interest, content: bytes) -> bytes:
        parts = (interest.place.owner, interest.place.namespace, interest.prefix, "=" if interest.exact else "")
        bound = b"".join(struct.pack(">I", len(part.encode())) + part.encode() for part in parts)
        return hmac.digest(self._key, b"tag" + bound + content, hashlib.sha256)[:_TAG_BYTES]

    def _blend(self, tag: bytes, content: bytes) -> bytes:
        """Encrypt or decrypt; a content is shorter than one digest."""
        stream = hmac.digest(self._key, b"key" + tag, hashlib.sha256)
        return bytes(one ^ other for one, other in zip(content, stream, strict=False))


def _decoded(cursor: str) -> bytes:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    except ValueError:
        return b""


async def load(backend: Backend, now: datetime) -> Seal:
    """Return the store's seal; the first host to need one makes its key.

    Raises:
        StoreUnavailable: the engine does not answer.
    """
    found, _ = await backend.get(KEYS, [_NAME], now)
    if not found:
        made = secrets.token_hex(_KEY_BYTES)
        key = Write(_NAME, made, len(made) + 2, secrets.token_hex(12), NEVER, {}, if_absent=True)
        await backend.apply(KEYS, [key], Actor("@datastore", "-", now))
        found, _ = await backend.get(KEYS, [_NAME], now)
    return Seal(bytes.fromhex(found[0].value))
