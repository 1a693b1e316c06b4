"""The store beside bare drivers and peers: `make bench`. Takes some minutes; a missed bar says so.

Ends with 1 where something could not be measured, and with 0 otherwise: a bar is a row, not a condition.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import peers, report
from tests.benchmarks.engines import Engines, drivers, engines
from tests.benchmarks.figures import Row
from tests.benchmarks.operations import QUICK, Options
from tests.benchmarks.rows import measure

BACKENDS: Final = ("sqlite", "postgresql", "motor", "pymongo")
_GROUPS: Final = {"mongodb": ("motor", "pymongo")}


def chosen(only: Sequence[str]) -> list[str]:
    """Return the backends that are meant, in order; none named means all.

    Raises:
        argparse.ArgumentTypeError: there is no such backend.
    """
    names = {each for name in only for each in _GROUPS.get(name, (name,))}
    if unknown := sorted(names - set(BACKENDS)):
        raise argparse.ArgumentTypeError(f"no backend {unknown[0]!r}: {', '.join((*BACKENDS, *_GROUPS))}")
    return [each for each in BACKENDS if each in names or not names]


def heading(running: Engines, backends: Sequence[str], options: Options) -> list[str]:
    """Return what explains the figures: the machine, versions, and how they were measured."""
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {report.facts()}",
        *(f"{each}: {running.version(each)} through {drivers(each)}" for each in backends),
        f"peers: {', '.join(peers.versions()) or 'none, ' + report.NOT_INSTALLED.partition(': ')[2]}",
        f"{options.rounds} rounds of {options.seconds:g} s each, in turns; {options.entries:,} entries of 20 fields",
    ]


async def bench(running: Engines, backends: Sequence[str], options: Options) -> list[Row]:
    """Measure and print, and return all rows."""
    rows: list[Row] = []
    for backend in backends:
        with tempfile.TemporaryDirectory() as name, running.address(backend, Path(name)) as url:
            async for row in measure(backend, url, Path(name), options):
                rows.append(row)
                for each in report.lines(row):
                    report.say(report.text(each))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every row, and write them to a file where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="BACKEND", help=f"{', '.join(BACKENDS)}, mongodb"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--quick", action="store_true", help="do everything, too briefly for figures")
    given = parser.parse_args(arguments)
    try:
        backends = chosen(given.only)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    options = QUICK if given.quick else Options()
    with engines() as running:
        head = heading(running, backends, options)
        for each in (*head, "", report.title()):
            report.say(each)
        rows = asyncio.run(bench(running, backends, options))
    if given.json is not None:
        _write(given.json, head, rows)
    return outcome(rows)


def outcome(rows: Sequence[Row]) -> int:
    """Return the exit code: 1 where a row could not be measured."""
    return 1 if any(each.error for each in rows) else 0


def _write(file: Path, head: list[str], rows: list[Row]) -> None:
    content: dict[str, Any] = {"facts": head, "rows": [report.as_json(each) for each in rows]}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
