"""Short words for the tests of the MongoDB backend: entries to write, and who listens to the driver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from datastore import values
from datastore.backends.mongo import MongoBackend
from datastore.document import Place, moment
from datastore.entry import NEVER
from datastore.ports import Actor, Clock, Increment, Write
from datastore.service.audit import Audit
from datastore.service.store import Store
from tests.world import NEVER_FLUSH

HERE = Place("alice", "notes")
NOW = moment(datetime.now(UTC))
LATER = NOW + timedelta(hours=1)


class StillClock:
    """A clock that stands still at the time at which these tests began."""

    def now(self) -> datetime:
        return NOW


class RealClock:
    """The system's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def at(now: datetime = NOW, agent: str = "writer") -> Actor:
    """Return who writes, and when."""
    return Actor(agent, "run-1", now)


def write(key: str, value: Any = "text", version: str = "v1", **facts: Any) -> Write:
    """Return a put that never expires, unless the facts say so."""
    return Write(key, value, values.size(value), version, **{"expires_at": NEVER, **facts})


def still(backend: MongoBackend, clock: Clock, audit: Audit | None = None) -> Store:
    """Return a store that sends nothing by itself, so that what a call costs can be counted."""
    return Store(
        backend,
        clock=clock,
        flush_seconds=NEVER_FLUSH,
        overrides_seconds=NEVER_FLUSH,
        fresh_seconds=NEVER_FLUSH,
        audit=audit,
    )


def increment(key: str, initial: int = 0) -> Increment:
    """Return an incr by 1 that leaves the expiry."""
    return Increment(key, 1, initial, "v2", None)


class Trips(CommandListener):
    """Every command that the driver sends, with its answer, in order."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.answers.append(dict(event.reply))

    def failed(self, event: CommandFailedEvent) -> None:
        del event

    def take(self) -> list[str]:
        """Return the names of the commands since the last look."""
        names = [next(iter(command)) for command in self.commands]
        self.commands.clear()
        self.answers.clear()
        return names
