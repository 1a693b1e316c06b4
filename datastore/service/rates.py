"""How fast a scope may act: operations per second, decided in memory before anything else is.

One number for each scope that was lately active, the time at which its operations would be done at its rate. A scope
may be a second's worth ahead of that, or one operation where that is less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from datastore.errors import RateExceeded
from datastore.models import Scope

_SWEPT: Final = 1000
"""Scopes that are remembered at least before those that are idle are looked for."""

_ROUNDING_SECONDS: Final = 1e-6


class Rates:
    """The rates of one store's scopes.

    Args:
        seconds: the time; it never goes back.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._done_at: dict[tuple[str, str, str | None], float] = {}
        self._most = _SWEPT

    def __len__(self) -> int:
        """Return how many scopes are remembered."""
        return len(self._done_at)

    def spend(self, scope: Scope) -> None:
        """Count one operation of a scope, which is a user, an agent and a run.

        Raises:
            RateExceeded: the scope is too fast; the operation does not count then.
        """
        rate = scope.limits.operations_per_second
        if rate is None:
            return
        now, who = self._seconds(), (scope.user, scope.agent, scope.run)
        done_at = max(self._done_at.get(who, now), now) + 1 / rate
        if (early := done_at - now - max(1.0, 1 / rate)) > _ROUNDING_SECONDS:
            raise RateExceeded(
                f"this agent may do {rate:g} operations a second, and has done so",
                "do more with each: get_many, set_many, get_all",
                limit="operations_per_second",
                value=rate,
                retry_after_seconds=early,
            )
        self._done_at[who] = done_at
        if len(self._done_at) > self._most:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget who would start anew all the same."""
        self._done_at = {who: done_at for who, done_at in self._done_at.items() if done_at > now}
        self._most = max(_SWEPT, 2 * len(self._done_at))
