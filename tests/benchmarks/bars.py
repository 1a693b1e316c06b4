"""The bars of `make bench`: ratios that the store is to keep, and the names that they and the rows share.

A bar is printed beside its row, and says where it is missed; it fails nothing. The bars of large amounts
are in `questions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.benchmarks.figures import Measure

BARE: Final = "bare driver"
HOST: Final = "host"
GUEST: Final = "guest"
PY_KEY_VALUE: Final = "py-key-value"
LANGGRAPH: Final = "LangGraph"
DISKCACHE: Final = "diskcache"

AT_ONCE: Final = 32
WRITERS: Final = 16
MANY: Final = 100
GET_MANY: Final = f"get_many({MANY})"
SET_MANY: Final = f"set_many({MANY})"
GETS: Final = f"{AT_ONCE} gets at once"
SETS: Final = f"{AT_ONCE} sets at once"
READING: Final = f"{AT_ONCE} guests reading"
WRITING: Final = f"{WRITERS} users writing"


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure that another is to stay below or above."""

    limit: float
    unit: str = ""
    at_least: bool = False

    def missed(self, found: float) -> bool:
        """Say whether a figure is on the wrong side of the limit."""
        return found < self.limit if self.at_least else found > self.limit

    def beside(self, found: float) -> str:
        """Return the words that stand beside a figure."""
        return f"{self}{'  MISSED' if self.missed(found) else ''}"

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:g}{self.unit}"


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio that a contender is to keep; `docs/performance.md` lists them all."""

    engine: str
    operation: str
    contender: str
    reference: str
    measure: Measure
    limit: Limit


BARS: Final = (
    Bar("mongodb", "get", HOST, BARE, "p50", Limit(1.25)),
    Bar("mongodb", "get", GUEST, BARE, "p50", Limit(1.6)),
    Bar("mongodb", GET_MANY, HOST, BARE, "p50", Limit(1.5)),
    Bar("mongodb", SET_MANY, HOST, BARE, "p50", Limit(1.5)),
    Bar("mongodb", READING, GUEST, PY_KEY_VALUE, "throughput", Limit(3, at_least=True)),
    Bar("sqlite", "get", HOST, DISKCACHE, "p50", Limit(5)),
    Bar("sqlite", "set", HOST, BARE, "p50", Limit(1.6)),
    Bar("sqlite", SETS, HOST, BARE, "throughput", Limit(2, at_least=True)),
    Bar("sqlite", GET_MANY, HOST, BARE, "p50", Limit(3)),
    Bar("sqlite", SET_MANY, HOST, BARE, "p50", Limit(3)),
    Bar("postgresql", "get", HOST, BARE, "p50", Limit(2)),
    Bar("postgresql", "set", HOST, BARE, "p50", Limit(2)),
    Bar("postgresql", WRITING, HOST, BARE, "throughput", Limit(0.5, at_least=True)),
)
