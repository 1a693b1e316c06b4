"""Which names and durations are usable: the same rules in the sandbox, on the wire and in the store.

Comparison is by code point and case-sensitive, and nothing is normalised; any character is allowed save NUL and lone
surrogates. Standard library only, because this file enters the sandbox.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from datastore.errors import InvalidArgument, InvalidName

LONGEST_SECONDS: Final = 10 * 366 * 24 * 3600.0
LEAST_CLAIM_SECONDS: Final = 1.0
"""The shortest time for which a lock, or an entry that one of several callers creates, may be held."""
NAME_BYTES: Final = {"key": 1024, "prefix": 1024, "stored namespace": 2048}
DEFAULT_NAME_BYTES: Final = 256
RESERVED: Final = "@"
LOCKS: Final = "@locks/"
"""Before the name of a namespace: where its locks are kept, apart from its entries."""
LEASE: Final = "lease:"
TOKEN: Final = "token:"  # noqa: S105 - counts holders, and keeps nobody out
"""Before the name of a lock: the keys of its lease, and of the last token that was given out."""


def name(kind: str, value: object) -> str:
    """Return a user, agent, run, namespace or key as a plain string.

    Args:
        kind: what it is, in the words of the caller.
        value: what was given.

    Raises:
        InvalidName: it is no string, empty, too long, or holds NUL or a lone surrogate; names other than keys also
            when they begin with `@`, which marks what the host makes.
    """
    found = text(kind, value)
    if not found:
        raise InvalidName(f"{kind} must not be empty. Write a name such as 'report:1'.")
    if kind != "key" and found.startswith(RESERVED):
        raise InvalidName(f"{kind} {found!r} begins with '@', which marks what the host makes. Write another name.")
    return found


def is_reserved(value: str) -> bool:
    """Say whether a name is of the kind that only the host makes."""
    return value.startswith(RESERVED)


def named(value: str) -> str:
    """Return what may stand for a namespace in an operation: its name, or where its locks are kept.

    Raises:
        InvalidName: as `text`.
    """
    locked = LOCKS if value.startswith(LOCKS) else ""
    return locked + text("namespace", value.removeprefix(locked))


def prefix(value: object) -> str:
    """Return a prefix as a plain string; None is the empty prefix, which every name has.

    Raises:
        InvalidName: as `name`, save that a prefix may be empty and may begin with anything.
    """
    return "" if value is None else text("prefix", value)


def text(kind: str, value: object) -> str:
    """Return text that may stand in a name: at most the kind's bytes, no NUL, no lone surrogate; possibly empty.

    Raises:
        InvalidName: it is not.
    """
    if not isinstance(value, str):
        raise InvalidName(f"{kind} must be a string, got {_seen(value)}")
    found = str.__str__(value)
    try:
        used = len(found) if found.isascii() else len(found.encode())
    except UnicodeEncodeError as error:
        raise InvalidName(
            f"{kind} holds a lone surrogate at position {error.start}. Decode the source with errors='replace'."
        ) from None
    if "\0" in found:
        raise InvalidName(f"{kind} holds a NUL character at position {found.index(chr(0))}. Remove it.")
    limit = NAME_BYTES.get(kind, DEFAULT_NAME_BYTES)
    if used > limit:
        raise InvalidName(f"{kind} is {used:,} bytes of UTF-8; the limit is {limit:,}. Shorten it, or hash its tail.")
    return found


def _seen(value: object) -> str:
    if isinstance(value, (int, float)):
        return f'{type(value).__name__} {value!r:.40}. Write str({value!r:.40}) or f"user:{{{value!r:.40}}}".'
    if isinstance(value, bytes):
        return "bytes. Write value.decode()."
    return f"{type(value).__name__}. Write a string such as 'report:1'."


def keys(values: object, verb: str = "get_many") -> list[str]:
    """Return the distinct keys of any iterable but a string, in the order given.

    Raises:
        InvalidName: one is not a usable key.
        InvalidArgument: a string or something that is not iterable was given.
    """
    if isinstance(values, (str, bytes)):
        raise InvalidArgument(
            f"{verb} needs a list of keys, got the string {values!r:.60}. Write {verb}([{values!r:.60}])."
        )
    try:
        found = iter(values)  # type: ignore[call-overload]  # whether it can be iterated is the question
    except TypeError:
        raise InvalidArgument(
            f"{verb} needs a list of keys, got {type(values).__name__}. Write {verb}(['a', 'b'])."
        ) from None
    return list(dict.fromkeys(usable_keys(tuple(found))))


def usable_keys(found: tuple[Any, ...]) -> tuple[str, ...]:
    """Return keys as plain strings; a thousand in not much more time than one, where all are short ASCII.

    Raises:
        InvalidName: one is not a usable key.
    """
    if not set(map(type, found)) - {str}:
        joined, longest = "".join(found), max(map(len, found), default=0)
        if joined.isascii() and "\0" not in joined and all(found) and longest <= NAME_BYTES["key"]:
            return found
    return tuple(name("key", each) for each in found)


def seconds(kind: str, value: object) -> float:
    """Return a duration as a float.

    Raises:
        InvalidArgument: it is no finite number above 0 and at most ten years.
    """
    if isinstance(value, dt.timedelta):
        raise InvalidArgument(f"{kind} is a number of seconds, got timedelta. Write {kind}=delta.total_seconds().")
    if isinstance(value, dt.date):
        raise InvalidArgument(
            f"{kind} is a number of seconds from now, got {type(value).__name__}. "
            f"Write {kind}=(when - datetime.now(UTC)).total_seconds()."
        )
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidArgument(f"{kind} is a number of seconds, got {type(value).__name__}. Write {kind}=3600.")
    if not 0 < value <= LONGEST_SECONDS:  # False for NaN too
        raise InvalidArgument(f"{kind}={value!r} must be above 0 and at most ten years. Write {kind}=3600 (seconds).")
    return float(value)


def claim_seconds(seconds: float) -> float:
    """Return how long a claim lasts: a lock, or an entry that only one of several callers creates.

    Raises:
        InvalidArgument: it is below `LEAST_CLAIM_SECONDS`, and two hosts might both hold it.
    """
    if seconds < LEAST_CLAIM_SECONDS:
        raise InvalidArgument(
            f"ttl_seconds={seconds:g} is too short for a claim: it lasts {LEAST_CLAIM_SECONDS:g} second at least, "
            f"since the clocks of two hosts are never quite equal. Write ttl_seconds={LEAST_CLAIM_SECONDS:g} or more."
        )
    return seconds
