"""What the benchmark prints of a figure; it is measured by `make bench-sandbox` alone."""

from __future__ import annotations

import pytest

from tests.benchmarks.bench_sandbox import line


@pytest.mark.parametrize(
    ("figure", "at_least", "missed"), [(3.1, False, True), (2.9, False, False), (2.9, True, True), (3.1, True, False)]
)
def test_an_aim_stands_beside_its_figure_and_a_missed_one_says_so(
    figure: float,
    at_least: bool,  # noqa: FBT001 - a case
    missed: bool,  # noqa: FBT001 - a case
    capsys: pytest.CaptureFixture[str],
) -> None:
    line("warm run", figure, "ms", 3, at_least=at_least)
    printed = capsys.readouterr().out
    assert f"{figure:.2f} ms" in printed
    assert f"aim: at {'least' if at_least else 'most'} 3" in printed
    assert ("MISSED" in printed) == missed
