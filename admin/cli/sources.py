"""What operators hand in: files, stdin, JSON; and how a mistake in one of them is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from datastore import values
from datastore.errors import InvalidArgument, ValueTooLarge

STDIN: Final = "-"
_MANY: Final = values.VALUE_BYTES + 1


def interactive() -> bool:
    """Say whether somebody sits at stdin."""
    return sys.stdin is not None and sys.stdin.isatty()  # A closed stdin is None.


def text_of(path: str) -> str:
    """Return the text of a file, or of stdin where the path is `-`.

    Raises:
        InvalidArgument: it cannot be read, or is not UTF-8.
    """
    try:
        with opened(path) as source:
            return source.read().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error


def bytes_of(path: str) -> bytes:
    """Return the bytes of a file, or of stdin where the path is `-`, no more of them than a value may have.

    Raises:
        InvalidArgument: it cannot be read.
        ValueTooLarge: there are more.
    """
    try:
        with opened(path) as source:
            found = source.read(_MANY)
    except OSError as error:
        raise _unusable(path, error) from error
    if len(found) == _MANY:
        raise ValueTooLarge(
            f"{named(path)} is more than the {values.VALUE_BYTES:,} bytes that a value may have. "
            "Split it over keys such as 'video:0001'."
        )
    return found


def opened(path: str) -> AbstractContextManager[BinaryIO]:
    """Open a file to read it, or stdin, which stays open, where the path is `-`.

    Raises:
        InvalidArgument: stdin is closed.
        OSError: it cannot be opened.
    """
    if path != STDIN:
        return Path(path).open("rb")
    if sys.stdin is None:
        raise InvalidArgument("stdin is closed. Name a file.")
    return nullcontext(sys.stdin.buffer)


@contextmanager
def usable(path: str) -> Iterator[BinaryIO]:
    """Open a file to read it, or stdin where the path is `-`.

    Raises:
        InvalidArgument: it cannot be read.
    """
    try:
        source = opened(path)
    except OSError as error:
        raise _unusable(path, error) from error
    with source as file:
        yield file


def json_of(text: str, source: str, otherwise: str = "") -> Any:
    """Return the value that JSON text says.

    Args:
        text: what was given.
        source: how the message calls it.
        otherwise: what else could have been meant.

    Raises:
        InvalidArgument: it is no JSON.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise InvalidArgument(f"{source} is nested too deep. The store takes 64 levels.") from error
    except ValueError as error:
        raise InvalidArgument(f"{source} is not JSON: {error}.{otherwise}") from error


def object_of(text: str, source: str) -> dict[str, Any]:
    """Return the object that JSON text says.

    Raises:
        InvalidArgument: it is no object of JSON.
    """
    found = json_of(text, source)
    if not isinstance(found, dict):
        raise InvalidArgument(f"""{source} must be a JSON object, such as '{{"source": "crm"}}'.""")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def named(path: str) -> str:
    """Return what a message calls a file, or stdin."""
    return "stdin" if path == STDIN else repr(path)


def _unusable(path: str, error: OSError | ValueError) -> InvalidArgument:
    return InvalidArgument(f"{named(path)} cannot be used: {_reason(error)}.")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.object[error.start]:#04x} at position {error.start}). Save it as UTF-8"
    return str(error)
