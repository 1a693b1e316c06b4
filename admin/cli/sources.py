"""What operators hand in: files, stdin, JSON; and how a mistake in one of them is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from datastore.errors import InvalidArgument

STDIN: Final = "-"


def interactive() -> bool:
    """Say whether somebody sits at stdin."""
    return sys.stdin is not None and sys.stdin.isatty()  # A closed stdin is None.


def text_of(path: str) -> str:
    """Return the text of a file, or of stdin where the path is `-`.

    Raises:
        InvalidArgument: it cannot be read, or is not UTF-8.
    """
    if path == STDIN and sys.stdin is None:
        raise InvalidArgument("stdin is closed. Name a file.")
    try:
        found = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
        return found.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{_named(path)} cannot be used: {_reason(error)}.") from error


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


def _named(path: str) -> str:
    return "stdin" if path == STDIN else repr(path)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.object[error.start]:#04x} at position {error.start}). Save it as UTF-8"
    return str(error)
