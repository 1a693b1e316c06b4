"""Seconds that pass, also while the machine is suspended, if the system has a clock that counts them."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

elapsed: Final = partial(time.clock_gettime, _CLOCK)
"""Return seconds since a point in the past that stays the same while the process lives."""
