"""Commands that a server fails because a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pymongo

_POINT: Final = "failCommand"
Mode = dict[str, int] | str


@dataclass
class Failures:
    """The number of commands that were failed; known at the end."""

    made: int = 0


@contextmanager
def failing(url: str, mode: Mode, *commands: str, **how: Any) -> Iterator[Failures]:
    """Have a server fail commands, as its fail point of that name says.

    Args:
        url: the server, started with `enableTestCommands=1`.
        mode: which of them: "alwaysOn", {"times": n}, {"skip": n}.
        commands: by name.
        how: the fail point's own options.
    """
    failures = Failures()
    with pymongo.MongoClient[dict[str, Any]](url) as client:

        def set_to(mode: Mode, **data: Any) -> int:
            """Set the fail point; return how often it was met since the server started."""
            return int(client.admin.command({"configureFailPoint": _POINT, "mode": mode, "data": data})["count"])

        before = set_to(mode, failCommands=list(commands), **how)
        try:
            yield failures
        finally:
            failures.made = set_to("off") - before
