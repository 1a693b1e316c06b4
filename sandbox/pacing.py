"""How users share one event loop: who has used it for a while leaves as much of it to the others, if there are any.

A frame is handled in one go: nobody can interrupt the decoding of 4 MiB, and a flood of small frames is as long. So it
is the user's next frame that waits, not the neighbour's. While nobody else is there, nobody waits.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

_SHARE: Final = 1 / 3
"""What one user may have of the loop's time while others use it too."""

_BURST_SECONDS: Final = 0.001
"""What a user may be ahead of that share before it rests."""

_PRESENT_SECONDS: Final = 1.0
"""How long after its last frame a user counts as one of the others."""


_LONGEST_REST_SECONDS: Final = 0.1
"""After which it is asked again who is there."""


class Meter:
    """The account of one user's connections in one event loop. Get one with `meter`."""

    def __init__(self, floor: _Floor) -> None:
        self._floor = floor
        self._paid_until = 0.0

    def rest(self) -> float:
        """Return for how many seconds this user's next frame has to wait; to ask counts as being present."""
        now = time.perf_counter()
        if not self._floor.shared(self, now):
            self._paid_until = now
        ahead = self._paid_until - now
        return min(ahead, _LONGEST_REST_SECONDS) if ahead > _BURST_SECONDS else 0.0

    def spend(self, began: float) -> None:
        """Count the time since `began`, by the performance counter, as used by this user."""
        self._paid_until = max(self._paid_until, began) + (time.perf_counter() - began) / _SHARE


class _Floor:
    """Who has been present lately in one event loop."""

    def __init__(self) -> None:
        self.meters: WeakValueDictionary[str, Meter] = WeakValueDictionary()
        self._latest: Meter | None = None
        self._latest_at = self._other_at = -_PRESENT_SECONDS

    def shared(self, meter: Meter, now: float) -> bool:
        """Note that a user is present, and say whether another one is, too."""
        if meter is not self._latest:
            self._latest, self._other_at = meter, self._latest_at
        self._latest_at = now
        return now - self._other_at < _PRESENT_SECONDS


_floors: WeakKeyDictionary[asyncio.AbstractEventLoop, _Floor] = WeakKeyDictionary()


def meter(user: str) -> Meter:
    """Return the account of a user in the running event loop, one for all of the user's connections."""
    floor = _floors.setdefault(asyncio.get_running_loop(), _Floor())
    return floor.meters.setdefault(user, Meter(floor))
