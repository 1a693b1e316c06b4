"""Metrics of every operation through the OpenTelemetry API: how many, how long, how many bytes, what was refused.

Labels are the operation and its outcome, so there are a few hundred series at most. A user is never one: ids would make
a series each, and leave the host. Who uses most is counted here, in bounded memory, and told to the host that asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal

from datastore.entry import Entry
from datastore.errors import (
    AccessDenied,
    ConfigurationError,
    DataStoreError,
    InvalidArgument,
    InvalidName,
    QuotaExceeded,
    ValueNotStorable,
    ValueTooLarge,
)
from datastore.metering import WRITTEN
from datastore.models import Scope
from datastore.operations import Answer, Applied, Found, Operation, Page

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Where the histogram's buckets end."""

_REFUSALS: Final = (AccessDenied, QuotaExceeded, InvalidName, InvalidArgument, ValueNotStorable, ValueTooLarge)
_MOST_USERS: Final = 10_000
"""That are counted; beyond, the half of them that used least is forgotten."""


@dataclass(slots=True)
class Load:
    """What a user has used since the store was opened; `seconds` are those of its operations together."""

    user: str
    operations: int = 0
    seconds: float = 0.0
    bytes: int = 0
    refusals: int = 0


class Metrics:
    """Told of every operation, as an observer.

    Args:
        provider: of meters; default: the one that the process has set.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        try:
            from opentelemetry import metrics  # noqa: PLC0415 - an extra, needed by those who ask for metrics alone
        except ImportError:
            raise ConfigurationError(
                "metrics need OpenTelemetry. Install agent-data-store[metrics], or [prometheus] for an exporter too."
            ) from None
        meter = metrics.get_meter("datastore", meter_provider=provider)
        self._durations = meter.create_histogram(
            "datastore.operation.duration",
            unit="s",
            description="operations: how many, and how long each took",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._bytes = meter.create_counter("datastore.value.bytes", "By", "bytes of values that were read or written")
        self._refusals = meter.create_counter("datastore.refusals", description="operations that a guard refused")
        self._labels: dict[tuple[str, str], dict[str, str]] = {}
        self._loads: dict[str, Load] = {}

    def saw(self, scope: Scope, operation: Operation, outcome: Answer | BaseException, seconds: float) -> None:
        """Count an operation."""
        labels = self._label(operation.op, _outcome(outcome))
        size = _size(outcome)
        refused = isinstance(outcome, _REFUSALS)
        self._durations.record(seconds, labels)
        if size:
            self._bytes.add(size, labels)
        if refused:
            self._refusals.add(1, labels)
        load = self._load(scope.user)
        load.operations += 1
        load.seconds += seconds
        load.bytes += size
        load.refusals += refused

    def top_users(
        self, number: int = 10, by: Literal["operations", "seconds", "bytes", "refusals"] = "operations"
    ) -> list[Load]:
        """Return the users that used most, the greatest first; spaces' data counts for who acted."""
        return sorted(self._loads.values(), key=attrgetter(by), reverse=True)[:number]

    def _label(self, operation: str, outcome: str) -> dict[str, str]:
        return self._labels.setdefault((operation, outcome), {"operation": operation, "outcome": outcome})

    def _load(self, user: str) -> Load:
        if (load := self._loads.get(user)) is None:
            if len(self._loads) >= _MOST_USERS:
                self._loads = {each.user: each for each in self.top_users(_MOST_USERS // 2)}
            load = self._loads[user] = Load(user)
        return load


def _outcome(outcome: Answer | BaseException) -> str:
    if isinstance(outcome, DataStoreError):
        return outcome.code
    if isinstance(outcome, asyncio.CancelledError):
        return "cancelled"
    return "internal" if isinstance(outcome, BaseException) else "ok"


def _size(outcome: Answer | BaseException) -> int:
    if isinstance(outcome, (Found, Page)):
        return _held(outcome.items)
    return WRITTEN.get() if isinstance(outcome, Applied) else 0


def _held(items: Iterable[object]) -> int:
    return sum(each.size_bytes for each in items if isinstance(each, Entry))
