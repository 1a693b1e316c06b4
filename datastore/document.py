"""How an entry is addressed and bounded in a store: its id, the range of a prefix, and the stored moment."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from datastore.entry import NEVER

_LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xE000)


def ids_of(owner: str) -> str:
    """Return what the ids of all entries of an owner begin with, and those of nobody else."""
    return owner.replace("%", "%25").replace(":", "%3A") + ":"


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of one owner, by its stored name: where an entry's key is looked up."""

    owner: str
    namespace: str

    def id(self, key: str) -> str:
        """Return the document id `owner:namespace:b64key`.

        `%` and `:` in the owner are percent-encoded and base64 has no colon, so the first colon ends the owner and
        the last one starts the key: two different (owner, namespace, key) never meet.
        """
        return f"{ids_of(self.owner)}{self.namespace}:{base64.urlsafe_b64encode(key.encode()).decode('ascii')}"

    @classmethod
    def of_id(cls, identity: str) -> tuple[Self, str] | None:
        """Return the place and the key of a document id, or None where it is none."""
        owner, _, rest = identity.partition(":")
        namespace, separator, encoded = rest.rpartition(":")
        try:
            key = base64.b64decode(encoded, b"-_", validate=True).decode()
        except ValueError:
            return None
        return (cls(owner.replace("%3A", ":").replace("%25", "%"), namespace), key) if separator else None


@dataclass(frozen=True, slots=True)
class Interest:
    """What a watcher wants to hear of: the keys of a place that have a prefix, or where `exact` that one key."""

    place: Place
    prefix: str = ""
    exact: bool = False

    def holds(self, key: str) -> bool:
        """Say whether a key of the place is meant."""
        return key == self.prefix if self.exact else key.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of keys in code point order: those with a prefix, after a key (exclusive), at most `limit`."""

    prefix: str = ""
    after: str | None = None
    limit: int = 1000
    reverse: bool = False

    @property
    def end(self) -> str | None:
        """The first string beyond every one with the prefix, or None where there is none."""
        return prefix_end(self.prefix)


def prefix_end(prefix: str) -> str | None:
    """Return the least string greater than every string that begins with `prefix`; None: there is no such string.

    The last character that can be raised is raised, over the surrogates, which are no characters; what follows it
    is dropped. Appending a "high" character instead would miss strings that go on with that very character.
    """
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < _LAST:
            raised = _SURROGATES[1] if code + 1 == _SURROGATES[0] else code + 1
            return prefix[:index] + chr(raised)
    return None


def moment(when: datetime) -> datetime:
    """Return a time as it is stored: aware UTC, cut to milliseconds."""
    if when.tzinfo is not UTC:
        when = when.astimezone(UTC)
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def expiry(now: datetime, ttl_seconds: float | None) -> datetime:
    """Return when an entry written now expires; None never does."""
    return NEVER if ttl_seconds is None else moment(now + timedelta(seconds=ttl_seconds))
