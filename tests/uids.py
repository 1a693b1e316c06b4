"""The uids that tests give to guests and to their neighbours: each process of a test run has a block of its own.

The kernel counts by uid, and lets processes of one uid signal and trace each other, so tests that run side by side
must never share one.
"""

from __future__ import annotations

import os
from typing import Final

RUN_AS: Final = "nobody" if os.geteuid() == 0 else None
"""The account of guests in tests, as `run_as` takes it; a host that is not root starts them as itself."""

_FIRST: Final = 1_000_000
_BLOCK: Final = 1_000
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def uid(number: int) -> int:
    """Return a uid of this process's block, by a number that no other test uses."""
    assert 0 <= number < _BLOCK
    return _FIRST + _WORKER * _BLOCK + number


def uids(number: int, count: int) -> str:
    """Return a range of uids as `run_as` takes it, which begins with that number."""
    return f"{uid(number)}-{uid(number + count - 1)}"
