"""Operations of `make bench`: the verbs, the keys and values that they are called with, and the length of rounds."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.benchmarks import bars, records
from tests.benchmarks.figures import Measure
from tests.benchmarks.loops import Arguments
from tests.benchmarks.records import DataSet

_DRAWS: Final = 2000
_DRAWS_OF_MANY: Final = 20


@dataclass(frozen=True, slots=True)
class Options:
    """The length and number of rounds, and the size of the data."""

    rounds: int = 9
    seconds: float = 0.2
    entries: int = 4000
    users: int = bars.AT_ONCE


QUICK: Final = Options(rounds=2, seconds=0.02, entries=200, users=2)
"""For tests: everything is done once or twice, and no figure means anything."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A verb, what it is called with, and how many calls are under way at once."""

    name: str
    verb: str
    arguments: tuple[Arguments, ...]
    width: int = 1

    @property
    def measure(self) -> Measure:
        """The figure that is compared."""
        return "p50" if self.width == 1 else "throughput"


def operations(data: DataSet) -> list[Operation]:
    """Return the operations on a data set, with keys drawn from the seed."""
    random = Random(records.SEED)  # noqa: S311 - reproducible, not secret
    pairs = list(zip(data.keys, data.values, strict=True))
    drawn = [random.choice(pairs) for _ in range(_DRAWS)]
    many = [dict(random.sample(pairs, bars.MANY)) for _ in range(_DRAWS_OF_MANY)]
    gets, sets = tuple((key,) for key, _ in drawn), tuple(drawn)
    return [
        Operation("get", "get", gets),
        Operation("set", "set", sets),
        Operation(bars.GET_MANY, "get_many", tuple((list(each),) for each in many)),
        Operation(bars.SET_MANY, "set_many", tuple((each,) for each in many)),
        Operation(bars.GETS, "get", gets, bars.AT_ONCE),
        Operation(bars.SETS, "set", sets, bars.AT_ONCE),
    ]
