"""A row says its ratio, its bar, and why it could not be measured."""

from __future__ import annotations

import pytest

from tests.benchmarks import bars, report
from tests.benchmarks.bars import BARE, DISKCACHE, GUEST, HOST, Bar, Limit
from tests.benchmarks.figures import Row, Sample

MOST = Bar("sqlite", "get", HOST, BARE, "p50", Limit(2))
LEAST = Bar("sqlite", "get", HOST, BARE, "throughput", Limit(2, at_least=True))
BESIDE_PEER = Bar("sqlite", "get", HOST, DISKCACHE, "p50", Limit(5))


def row(*, host: float, **others: float) -> Row:
    """A row in which the bare driver takes a second."""
    figures = {BARE: 1.0, HOST: host, **others}
    return Row("sqlite", "get", "p50", {name: [Sample([each], each)] for name, each in figures.items()})


def said(given: Row, *wanted: Bar) -> list[str]:
    return [report.text(each) for each in report.lines(given, wanted)]


@pytest.mark.parametrize(
    ("bar", "host", "missed"), [(MOST, 2.0, False), (MOST, 2.1, True), (LEAST, 0.5, False), (LEAST, 0.6, True)]
)
def test_a_bar_says_where_it_is_missed(bar: Bar, host: float, missed: bool) -> None:  # noqa: FBT001 - a case
    _, line = said(row(host=host), bar)
    assert f"at {'least' if bar.limit.at_least else 'most'} 2" in line
    assert ("MISSED" in line) == missed


def test_a_row_without_a_bar_has_its_ratio_alone() -> None:
    bare, host = said(row(host=1.5))
    assert "ratio" not in bare
    assert host.endswith("1.50  bare driver p50")


def test_calls_at_once_are_compared_by_throughput() -> None:
    samples = {BARE: [Sample([1.0, 1.0], 1.0)], HOST: [Sample([1.0], 1.0)]}
    _, host = said(Row("sqlite", "32 gets at once", "throughput", samples))
    assert host.endswith("0.50  bare driver ops/s")


def test_a_bar_beside_a_peer_has_a_line_of_its_own() -> None:
    lines = report.lines(row(host=3.0, diskcache=2.0), [MOST, BESIDE_PEER])
    assert [(each.contender, each.reference, each.ratio, each.missed) for each in lines] == [
        (BARE, None, None, False),
        (HOST, BARE, 3.0, True),
        (HOST, DISKCACHE, 1.5, False),
        (DISKCACHE, BARE, 2.0, False),
    ]


def test_a_bar_without_its_peer_is_not_left_out() -> None:
    *_, line = said(row(host=3.0), BESIDE_PEER)
    assert line.endswith("diskcache p50       at most 5  not measured: run `make bench peers=1`")


def test_what_failed_says_why() -> None:
    (line,) = said(Row("sqlite", "get", error="OSError: full"))
    assert line.startswith("sqlite      get  ")
    assert line.endswith("  not measured: OSError: full")


def test_columns_stand_below_their_titles() -> None:
    title, (_, line) = report.title(), said(row(host=2.0), MOST)
    for name, cell in {"operation": "get", "contender": HOST, "of": f"{BARE} p50", "bar": "at most 2"}.items():
        assert line[title.rindex(f" {name}") + 1 :].startswith(cell)
    for name, cell in {"ops/s": "0", "p50": "2.00 s", "p99": "2.00 s", "ratio": "2.00"}.items():
        assert line[: title.rindex(name) + len(name)].endswith(f" {cell}")


def test_every_bar_is_of_a_row_and_contender_that_exist() -> None:
    operations = {"get", "set", bars.GET_MANY, bars.SET_MANY, bars.GETS, bars.SETS, bars.READING, bars.WRITING}
    assert {each.operation for each in bars.BARS} <= operations
    assert {each.contender for each in bars.BARS} == {HOST, GUEST}


@pytest.mark.parametrize(
    ("figure", "at_least", "missed"), [(3.1, False, True), (2.9, False, False), (2.9, True, True), (3.1, True, False)]
)
def test_a_bar_stands_beside_its_figure(
    figure: float,
    at_least: bool,  # noqa: FBT001 - a case
    missed: bool,  # noqa: FBT001 - a case
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.line("warm run", figure, "ms", 3, at_least=at_least)
    printed = capsys.readouterr().out
    assert f"{figure:.2f} ms" in printed
    assert f"bar: at {'least' if at_least else 'most'} 3" in printed
    assert ("MISSED" in printed) == missed


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (8.71e-6, "8.71 us"),
        (223e-6, "223 us"),
        (0.009998, "10.0 ms"),
        (0.0123, "12.3 ms"),
        (0.9, "900 ms"),
        (1.0, "1.00 s"),
        (74.6, "74.6 s"),
    ],
)
def test_a_duration_has_three_digits(seconds: float, shown: str) -> None:
    assert report.duration(seconds) == shown
