"""Reports of benchmarks: facts of the machine, aligned lines, bars, and the same figures as JSON."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.bars import BARE, BARS, Bar, Limit
from tests.benchmarks.figures import Measure, Row, Sample, ratio

NOT_INSTALLED: Final = "not measured: run `make bench peers=1`"
FIGURE: Final = {"p50": "p50", "throughput": "ops/s"}
_UNITS: Final = ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (math.inf, 1.0, "s"))
_TITLES: Final = ("backend", "operation", "contender", "ops/s", "p50", "p99", "ratio", "of", "bar")
_WIDTHS: Final = (10, 17, 12, 9, 9, 9, 6, 18, 0)
_RIGHT: Final = frozenset({"ops/s", "p50", "p99", "ratio"})


def machine() -> str:
    """Return the facts of a machine that explain its figures."""
    return f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"


def facts() -> str:
    """Return more of them, for figures that others read."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([machine(), *names[:1], f"{platform.system()} {platform.release()}", python])


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


def line(name: str, figure: float, unit: str, bar: float | None = None, *, at_least: bool = False) -> None:
    """Print a figure, with its bar if it has one."""
    shown = "" if bar is None else f"bar: {Limit(bar, at_least=at_least).beside(figure)}"
    say(f"{name:<52}{figure:>9.2f} {unit:<7}{shown}")


@dataclass(frozen=True, slots=True)
class Line:
    """A contender's figures, what they are set against, and the bar for that."""

    backend: str
    operation: str
    contender: str
    sample: Sample | None = None
    reference: str | None = None
    measure: Measure = "p50"
    ratio: float | None = None
    bar: Bar | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether it has a bar and is on the wrong side of it."""
        return self.bar is not None and self.ratio is not None and self.bar.limit.missed(self.ratio)

    def cells(self) -> tuple[str, ...]:
        """Return what stands in the columns."""
        figures = ("", "", "")
        if self.sample is not None:
            figures = (f"{self.sample.throughput:,.0f}", duration(self.sample.p50), duration(self.sample.p99))
        against = "" if self.reference is None else f"{self.reference} {FIGURE[self.measure]}"
        bar = "" if self.bar is None else str(self.bar.limit)
        notes = "  ".join(each for each in (bar, "MISSED" if self.missed else "", self.note) if each)
        shown = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.backend, self.operation, self.contender, *figures, shown, against, notes)

    def json(self) -> dict[str, Any]:
        """Return the comparison, if it is one."""
        limit = None if self.bar is None else self.bar.limit
        return {
            "contender": self.contender,
            "reference": self.reference,
            "measure": self.measure,
            "ratio": self.ratio,
            "bar": None if limit is None else {"limit": limit.limit, "at_least": limit.at_least},
            "missed": self.missed,
            "note": self.note,
        }


def duration(seconds: float) -> str:
    """Return a time with three digits that count, in microseconds, milliseconds or seconds."""
    number, unit = next((seconds * scale, unit) for below, scale, unit in _UNITS if seconds < below)
    number = float(f"{number:.3g}")
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f} {unit}"


def lines(row: Row, bars: Iterable[Bar] = BARS) -> list[Line]:
    """Return the lines of a row: each contender beside the bare driver, then beside what its bars name."""
    mine = [each for each in bars if (each.engine, each.operation) == (row.engine, row.operation)]
    found: list[Line] = []
    for name in row.samples:
        named = {each.reference: each for each in mine if each.contender == name}
        beside = [] if name == BARE else [BARE]
        if name == BARE:
            found.append(_line(row, name, None))
        found += [_line(row, name, each, named.get(each)) for each in dict.fromkeys([*beside, *named])]
    if row.error is not None:
        found.append(Line(row.backend, row.operation, "", note=f"not measured: {row.error}"))
    return found


def _line(row: Row, name: str, reference: str | None, bar: Bar | None = None) -> Line:
    measure = row.measure if bar is None else bar.measure
    sample = Sample.in_a_row(row.samples[name])
    note = "" if reference is None or reference in row.samples else NOT_INSTALLED
    found = None if reference is None or note else ratio(measure, row.samples[name], row.samples[reference])
    return Line(row.backend, row.operation, name, sample, reference, measure, found, bar, note)


def title() -> str:
    """Return the line above all others."""
    return _aligned(_TITLES)


def text(shown: Line) -> str:
    """Return a line with its columns aligned."""
    return _aligned(shown.cells())


def _aligned(cells: Iterable[str]) -> str:
    columns = zip(cells, _TITLES, _WIDTHS, strict=True)
    return "  ".join(f"{cell:{'>' if name in _RIGHT else '<'}{width}}" for cell, name, width in columns).rstrip()


def as_json(row: Row) -> dict[str, Any]:
    """Return a row with every figure of every round."""
    return {
        "backend": row.backend,
        "operation": row.operation,
        "error": row.error,
        "contenders": {name: _figures(samples) for name, samples in row.samples.items()},
        "ratios": [each.json() for each in lines(row) if each.reference is not None],
    }


def _figures(samples: list[Sample]) -> dict[str, Any]:
    whole = _numbers(Sample.in_a_row(samples))
    return {**whole, "rounds": [_numbers(each) for each in samples]}


def _numbers(sample: Sample) -> dict[str, float]:
    return {
        "operations": len(sample.durations),
        "seconds": sample.seconds,
        "throughput": sample.throughput,
        "p50_seconds": sample.p50,
        "p99_seconds": sample.p99,
    }
