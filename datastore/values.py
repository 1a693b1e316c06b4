"""Which values are storable: the same rules in the sandbox, on the wire and in the store.

A value is what JSON can say, or `bytes` as a whole. `plain` gives a private copy in plain JSON types or refuses
with the path of the culprit; nothing is dropped, rounded or cut. Standard library only, because this file enters
the sandbox. One subject, so longer than most files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from datastore import names
from datastore.errors import InvalidArgument, NotANumber, ValueNotStorable, ValueTooLarge

MAX_DEPTH: Final = 64
VALUE_BYTES: Final = 4 * 1024 * 1024
METADATA_BYTES: Final = 16 * 1024
NUMBER_BYTES: Final = 24
"""What a top-level number counts as: an increment in the engine cannot maintain a measured size."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
LEAST_INT: Final = -(2**63)
MOST_INT: Final = 2**63 - 1
_MENDS: Final = {
    "datetime": "store .isoformat()",
    "date": "store .isoformat()",
    "time": "store .isoformat()",
    "timedelta": "store .total_seconds()",
    "set": "store sorted(...) as a list",
    "frozenset": "store sorted(...) as a list",
    "Decimal": "store str(...) or float(...)",
    "Fraction": "store str(...) or float(...)",
    "complex": "store [z.real, z.imag]",
    "UUID": "store str(...)",
    "Path": "store str(...)",
    "PosixPath": "store str(...)",
    "bytearray": "store bytes(...) as the whole value",
    "memoryview": "store bytes(...) as the whole value",
    "bytes": "bytes can only be a whole value; store them under a key of their own, or base64 text here",
    "ndarray": "store .tolist()",
    "DataFrame": 'store .to_dict("records")',
    "generator": "store list(...)",
    "range": "store list(...)",
    "coroutine": 'write "await" before the call',
    "function": "call it and store its result",
    "method": "call it and store its result",
}


class _Culprit(Exception):  # noqa: N818 - never leaves this module
    """What is wrong, and the path to it, collected while the walk unwinds."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []


def plain(value: object, path: str = "value") -> Any:
    """Return a private copy of `value` in plain JSON types; `bytes` pass as a whole.

    Args:
        value: anything.
        path: how the message calls the value itself.

    Raises:
        ValueNotStorable: with the path of the first part that JSON cannot say.
    """
    if isinstance(value, bytes):
        return bytes(value)
    try:
        return _plain(value, MAX_DEPTH)
    except _Culprit as culprit:
        where = path + "".join(reversed(culprit.path))
        raise ValueNotStorable(f"{where}: {culprit.problem}", path=where) from None


def _plain(value: object, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    if depth == 0:
        raise _Culprit(f"nested deeper than {MAX_DEPTH} levels (or it contains itself); store the parts under keys")
    if isinstance(value, dict):
        return _object(value, depth - 1)
    if isinstance(value, (list, tuple)):
        return _array(value, depth - 1)
    raise _Culprit(_not_json(value))


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _Culprit(
                f"a lone surrogate at position {error.start} is not text; decode the source with errors='replace'"
            ) from None
    return value if type(value) is str else str.__str__(value)


def _integer(value: int) -> int:
    number = int.__int__(value)
    if not LEAST_INT <= number <= MOST_INT:
        raise _Culprit(f"an integer of {number.bit_length()} bits; 64 with the sign is the most, so store str(...)")
    return number


def _float(value: float) -> float:
    number = float.__float__(value)
    if not math.isfinite(number):
        raise _Culprit(f"{number!r} is not JSON; store None or a string")
    return number


def _array(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    items = []
    for index, item in enumerate(value):
        try:
            items.append(_plain(item, depth))
        except _Culprit as culprit:
            culprit.path.append(f"[{index}]")
            raise
    return items


def _object(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in value.items():
        name = _object_key(key)
        if name in copy:
            raise _Culprit(f"two keys become the same string {name!r}; rename one")
        try:
            copy[name] = _plain(item, depth)
        except _Culprit as culprit:
            culprit.path.append(f".{name}" if name.isidentifier() else f"[{name!r}]")
            raise
    return copy


def _object_key(key: object) -> str:
    if isinstance(key, str):
        name = _text(key)
        if "\0" in name:
            raise _Culprit(f"the key {name!r} holds a NUL character; remove it")
        return name
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(_plain(key, 0))
    raise _Culprit(f"a key of type {type(key).__name__} is not JSON; write str(...) for it")


def _not_json(value: object) -> str:
    kind = type(value)
    if own := getattr(kind, "_not_data_", None):
        return str(own)
    mend = next((_MENDS[base.__name__] for base in kind.__mro__ if base.__name__ in _MENDS), None)
    if mend is None and hasattr(kind, "model_dump"):
        mend = "store .model_dump()"
    if mend is None and hasattr(kind, "__dataclass_fields__"):
        mend = "store dataclasses.asdict(...)"
    return f"{kind.__name__} is not JSON; {mend or 'store a dict, list, string, number, bool or None'}"


def compact(value: object) -> str:
    """Return `value`, already plain, as compact JSON text: how both ends of the wire write."""
    return _ENCODER.encode(value)


def size(value: object) -> int:
    """Return the bytes that a plain value counts as: its compact UTF-8 JSON, or its own length for `bytes`."""
    if isinstance(value, bytes):
        return len(value)
    if _is_number(value):
        return NUMBER_BYTES
    return len(compact(value).encode())


def check_size(used: int, limit: int, path: str = "value") -> None:
    """Refuse a value or metadata of more than `limit` bytes.

    Raises:
        ValueTooLarge: with both numbers and a way out.
    """
    if used > limit:
        raise ValueTooLarge(
            f"{path} is {used:,} bytes; the limit is {limit:,}. Split it over keys such as 'report:0001' "
            "and read it back with items(prefix='report:').",
            bytes=used,
            limit_bytes=limit,
        )


def number(name: str, value: object) -> int | float:
    """Return an argument as a plain integer of 64 bits or a finite float.

    Raises:
        NotANumber: it is none; a bool is none either.
    """
    if not _is_number(value):
        raise NotANumber(f"{name} must be a number, got {type(value).__name__} {value!r:.40}. Write {name}=1.")
    try:
        plain_number: int | float = _plain(value, 0)
    except _Culprit:
        raise NotANumber(f"{name} must be finite and of 64 bits at most, got {value!r:.40}. Write {name}=1.") from None
    return plain_number


def added(key: str, standing: object, by: float) -> int | float:
    """Return what an increment makes of the value that stands; two integers give an integer, else it is a float.

    Raises:
        NotANumber: what stands is no number. Fields: key, found (the type's name).
        ValueNotStorable: the sum is beyond 64 bits, or infinite.
    """
    if not _is_number(standing):
        found = type(standing).__name__
        raise NotANumber(
            f"incr({key!r:.60}) needs a number; the entry holds a {found} ({standing!r:.40}). "
            "Set it to a number first.",
            key=key,
            found=found,
        )
    total: int | float = standing + by
    if not (math.isfinite(total) if isinstance(total, float) else LEAST_INT <= total <= MOST_INT):
        raise ValueNotStorable(
            f"incr({key!r:.60}): {standing!r} + {by!r} is beyond what a number can hold. "
            f"Begin anew with set({key!r:.60}, 0)."
        )
    return total


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def metadata(value: object, limit: int = METADATA_BYTES) -> dict[str, Any]:
    """Return metadata as a plain dict; None is empty.

    Raises:
        ValueNotStorable: it is no mapping, or holds what JSON cannot say.
        ValueTooLarge: it is over `limit` bytes of compact JSON.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueNotStorable(f"metadata must be a dict, got {type(value).__name__}. Write metadata={{'note': ...}}.")
    copy: dict[str, Any] = plain(dict(value), "metadata")
    check_size(size(copy), limit, "metadata")
    return copy


def items(values: object) -> dict[str, Any]:
    """Return key -> plain value of a mapping or of an iterable of pairs, every one checked.

    Raises:
        InvalidName, ValueNotStorable: one key or value is unusable.
        InvalidArgument: it is neither a mapping nor pairs, or it names a key twice.
    """
    pairs = values.items() if isinstance(values, Mapping) else values
    wanted = "set_many needs a dict of key to value"
    if isinstance(pairs, (str, bytes)) or not hasattr(pairs, "__iter__"):
        raise InvalidArgument(f"{wanted}, got {type(values).__name__}. Write set_many({{'a': 1, 'b': 2}}).")
    copy: dict[str, Any] = {}
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # noqa: PLR2004 - a pair is two
            raise InvalidArgument(f"{wanted}; item {index} is {type(pair).__name__}, not a pair (key, value).")
        key = names.name("key", pair[0])
        if key in copy:
            raise InvalidArgument(f"{wanted}; {key!r} is named twice. Leave one out.")
        copy[key] = plain(pair[1], f"value of {key!r}")
    return copy
