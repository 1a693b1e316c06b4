"""The time that the store goes by, and how an operation that waited learns it again.

An operation takes the time when it begins. What it then judges by that time, such as whether an entry has expired, it
judges by the past once it has waited for a connection, a lock or another server. So an engine asks again, at the last
moment before a write.
"""

from __future__ import annotations

from datetime import UTC, datetime

from datastore.document import moment
from datastore.ports import Actor, Clock


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the aware time in UTC."""
        return datetime.now(UTC)


def latest(now: datetime, clock: Clock) -> datetime:
    """Return the time, in milliseconds, and none before an operation's own."""
    return max(now, moment(clock.now()))


def retimed(actor: Actor, clock: Clock) -> Actor:
    """Return who writes, at the present."""
    return actor.at(latest(actor.now, clock))
