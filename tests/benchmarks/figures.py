"""Figures of a benchmark: samples, percentiles and ratios. Nothing is measured here.

A ratio compares two contenders round by round: each round of one is set against the round of the other that ran beside
it, and the median of these is the ratio. A machine that slows down for some rounds slows both, and an outlier is one
round of many.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self

Measure = Literal["p50", "throughput"]
TAIL: Final = 0.99


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the smallest value that at least the fraction of all values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    return sorted(values)[max(math.ceil(fraction * len(values)), 1) - 1]


@dataclass(frozen=True, slots=True)
class Sample:
    """The operations of one contender in one round: seconds of each, and of the whole round."""

    durations: Sequence[float]
    seconds: float

    @classmethod
    def together(cls, samples: Sequence[Self]) -> Self:
        """Return rounds that ran at the same time as one; it lasts as long as the longest."""
        return cls([each for sample in samples for each in sample.durations], max(each.seconds for each in samples))

    @classmethod
    def in_a_row(cls, samples: Sequence[Self]) -> Self:
        """Return rounds that ran one after another as one."""
        return cls([each for sample in samples for each in sample.durations], sum(each.seconds for each in samples))

    @property
    def throughput(self) -> float:
        """Operations per second."""
        return len(self.durations) / self.seconds

    @property
    def p50(self) -> float:
        """The median in seconds."""
        return percentile(self.durations, 0.5)

    @property
    def p99(self) -> float:
        """The time in seconds that one operation in a hundred exceeds."""
        return percentile(self.durations, TAIL)

    def figure(self, measure: Measure) -> float:
        """Return the figure that is compared."""
        return self.p50 if measure == "p50" else self.throughput

    def longer(self, seconds: float) -> Self:
        """Return the same operations in a round that took longer."""
        return replace(self, seconds=self.seconds + seconds)


def ratio(measure: Measure, ours: Sequence[Sample], theirs: Sequence[Sample]) -> float:
    """Return the median over rounds of our figure divided by theirs; rounds of one number ran beside each other."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(one.figure(measure) / other.figure(measure) for one, other in pairs)


MONGO: Final = frozenset({"motor", "pymongo"})


def engine_of(backend: str) -> str:
    """Return the engine of a backend: both drivers of MongoDB have one."""
    return "mongodb" if backend in MONGO else backend


@dataclass(frozen=True, slots=True)
class Row:
    """The samples of one operation on one backend; `error` says why there are none.

    `measure` is the figure that is compared: the median of calls that come one after another, the throughput of others.
    """

    backend: str
    operation: str
    measure: Measure = "p50"
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    error: str | None = None

    @property
    def engine(self) -> str:
        """The engine of its backend."""
        return engine_of(self.backend)
