"""How users share one event loop: who has used it for a while leaves as much of it to the others, if there are any.

A frame is handled in one go: nobody can interrupt the decoding of 4 MiB, and a flood of small frames is as long. So it
is the user's next frame that waits, not the neighbour's. While nobody else is there, nobody waits.

What an operation costs shows only while it works, when many more may have begun. So each is paid for when it begins, at
what the user's operations have cost lately; what it then uses is taken from that, and what is left is given back. And
a user has a bounded number of them under way, over all connections, which is what others may find before them at the
engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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

_MOST_UNDER_WAY: Final = 16
"""Operations of one user that may be under way at once; as many as one run's calls by default."""

_LEAST_UNDER_WAY: Final = 2
_UNDER_WAY_SECONDS: Final = 0.02
_ALONE_SECONDS: Final = 0.2
"""What those may cost together, beside other users and alone; more would only wait for the loop."""

_FIRST_COST_SECONDS: Final = 0.001
"""What an operation is taken to cost before any has ended."""

_LATELY: Final = 8
"""How many operations that is, about."""


class Meter:
    """The account of one user's connections in one event loop. Get one with `meter`."""

    def __init__(self, floor: _Floor) -> None:
        self._floor = floor
        self._paid_until = 0.0
        self._cost = _FIRST_COST_SECONDS
        self._under_way = 0
        self._unused = 0.0  # Of what those under way have paid.
        self._used = 0.0  # Since one last ended.
        self._line: dict[Callable[[], None], None] = {}

    def admits(self, proceed: Callable[[], None]) -> bool:
        """Say whether an operation may begin; where none may, `proceed` is called as soon as one may, in turn."""
        if not (room := self._has_room()):
            self._line[proceed] = None
        return room

    def _has_room(self) -> bool:
        if self._under_way < _LEAST_UNDER_WAY:
            return True
        return self._under_way < _MOST_UNDER_WAY and self._affords(self._under_way * self._cost)

    def _affords(self, seconds: float) -> bool:
        if seconds < _UNDER_WAY_SECONDS:
            return True
        return seconds < _ALONE_SECONDS and not self._floor.shared(self, time.perf_counter())

    def leave(self, proceed: Callable[[], None]) -> None:
        """Call it no more."""
        self._line.pop(proceed, None)

    def begin(self) -> None:
        """Pay for an operation, which must `end`."""
        self._under_way += 1
        self._unused += self._cost
        self._paid_until = max(self._paid_until, time.perf_counter())
        self._pay(self._cost)

    def end(self) -> None:
        """Learn what an operation costs, give back what those under way will not use, and let others begin."""
        self._under_way -= 1
        self._cost += (self._used - self._cost) / _LATELY
        self._used = 0.0
        if (excess := self._unused - self._under_way * self._cost) > 0:
            self._unused -= excess
            self._pay(-excess)
        if self._line:
            asyncio.get_running_loop().call_soon(self._admit)  # Not here, within what is counted already.

    def _admit(self) -> None:
        while self._line and self._has_room():
            proceed = next(iter(self._line))
            self.leave(proceed)
            proceed()

    def rest(self) -> float:
        """Return for how many seconds this user's next frame has to wait; to ask counts as being present."""
        now = time.perf_counter()
        if not self._floor.shared(self, now):
            self._paid_until = now
        ahead = self._paid_until - now
        return min(ahead, _LONGEST_REST_SECONDS) if ahead > _BURST_SECONDS else 0.0

    def spend(self, began: float) -> None:
        """Count the time since `began`, by the performance counter, as used by this user."""
        seconds = time.perf_counter() - began
        paid = min(seconds, self._unused)
        self._used += seconds
        self._unused -= paid
        self._paid_until = max(self._paid_until, began)
        self._pay(seconds - paid)

    def _pay(self, seconds: float) -> None:
        self._paid_until += seconds / _SHARE


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
