"""How anything that others wrote is shown: nothing in it may move a cursor, hide, or reorder what a person reads.

Names, values, logs and messages all pass `visible`. In JSON text the same escapes are JSON's own, so that what a
program parses stays exact.
"""

from __future__ import annotations

import json
import math
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls: C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what changes the direction of writing
    "\u2028\u2029\ud800-\udfff]"  # what some terminals break lines at, and what no encoding can say
)
_CREDENTIALS: Final = re.compile(r"//[^\s/]*@")
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_KIB: Final = 1024


def visible(text: str, keep: str = "") -> str:
    r"""Return text with every unseen character, save those in `keep`, written as `\uXXXX`."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


def discreet(text: str) -> str:
    """Return text without the credentials of any URL in it; the host stays."""
    return _CREDENTIALS.sub("//***@", text)


def as_json(value: Any, indent: int | None = None) -> str:
    """Return JSON text, of one line unless indented, that is safe to show and exact to parse."""
    return visible(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent), keep="\n")


def when(moment: datetime | None, never: str = "-") -> str:
    """Return a time to the second, in UTC."""
    return never if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def size(used: int) -> str:
    """Return bytes in the unit that a person would use: `120 bytes`, `3.1 MiB`."""
    if used < _KIB:
        return "1 byte" if used == 1 else f"{used} bytes"
    power = min(int(math.log(used, _KIB)), len(_UNITS))
    return f"{used / _KIB**power:,.1f} {_UNITS[power - 1]}"


def number_of(keys: int) -> str:
    """Return `1 key`, `1,412 keys`."""
    return "1 key" if keys == 1 else f"{keys:,} keys"


def say(line: str) -> None:
    """Print a line that was asked for, on stdout."""
    sys.stdout.write(f"{line}\n")


def note(line: str) -> None:
    """Print a line about the work, on stderr; it is one line whatever is in it, and names no credentials."""
    sys.stderr.write(f"datastore: {visible(discreet(line))}\n")
