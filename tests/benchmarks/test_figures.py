"""Percentiles, ratios, and how rounds follow each other."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.figures import Sample, percentile, ratio
from tests.benchmarks.rounds import Contender, awaiting, blocking, order, side_by_side, take_turns


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0, 1), (0.01, 1), (0.5, 50), (0.505, 51), (0.99, 99), (0.999, 100), (1, 100)]
)
def test_a_percentile_is_a_value_that_occurred(fraction: float, expected: int) -> None:
    assert percentile([*range(51, 101), *range(1, 51)], fraction) == expected


def test_a_single_value_is_every_percentile() -> None:
    assert {percentile([7], fraction) for fraction in (0, 0.5, 0.99, 1)} == {7}


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)


def test_a_sample_knows_its_throughput_and_percentiles() -> None:
    sample = Sample([0.1, 0.3, 0.2, 0.9], 2.0)
    assert (sample.throughput, sample.p50, sample.p99) == (2.0, 0.2, 0.9)
    assert sample.longer(2.0).throughput == 1.0


def test_samples_add_up_in_a_row_and_side_by_side() -> None:
    samples = [Sample([0.1], 1.0), Sample([0.2, 0.3], 3.0)]
    assert Sample.in_a_row(samples) == Sample([0.1, 0.2, 0.3], 4.0)
    assert Sample.together(samples) == Sample([0.1, 0.2, 0.3], 3.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    ours = [Sample([seconds], seconds) for seconds in (2.0, 30.0, 8.0)]  # The machine slows down for the third round,
    theirs = [Sample([seconds], seconds) for seconds in (1.0, 2.0, 4.0)]  # and something disturbs us in the second.
    assert ratio("p50", ours, theirs) == 2.0
    assert ratio("throughput", ours, theirs) == 0.5


def test_a_ratio_needs_a_partner_for_each_round() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio("p50", [Sample([1.0], 1.0)], [])


def test_each_contender_begins_in_turn_and_both_ways() -> None:
    rounds = ["".join(order("ABC", number)) for number in range(7)]
    assert rounds == ["ABC", "BCA", "CAB", "CBA", "ACB", "BAC", "ABC"]


async def test_contenders_take_turns_after_one_round_each() -> None:
    played: list[str] = []

    def contender(name: str) -> Contender:
        async def play(seconds: float) -> Sample:
            played.append(name)
            return Sample([seconds], seconds)

        return Contender(name, play)

    samples = await take_turns([contender("A"), contender("B")], 4, 0.5)
    assert "".join(played) == "AB" + "AB" + "BA" + "BA" + "AB"
    assert samples == {name: [Sample([0.5], 0.5)] * 4 for name in "AB"}


async def test_what_ends_a_round_belongs_to_it() -> None:
    settled: list[str] = []

    async def settle() -> None:
        settled.append("settled")
        await asyncio.sleep(0)

    async def play(seconds: float) -> Sample:
        return Sample([seconds], seconds)

    sample = await Contender("A", play, settle).round(0.5)
    assert settled == ["settled"]
    assert sample.durations == [0.5]
    assert sample.seconds > 0.5


async def test_calls_take_their_arguments_in_turn() -> None:
    given: list[int] = []

    async def call(number: int) -> None:
        given.append(number)

    for play in (awaiting(call, [(1,), (2,), (3,)]), blocking(given.append, [(1,), (2,), (3,)])):
        given.clear()
        sample = await play(0.001)
        assert len(sample.durations) == len(given) > 0
        assert given[:4] == [1, 2, 3, 1][: len(given)]


async def test_a_wave_is_as_many_calls_at_once() -> None:
    under_way, most = 0, 0

    async def call() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    assert len((await awaiting(call, [()], 8)(0.001)).durations) % 8 == 0
    assert most == 8
    most = 0
    await side_by_side([call, call, call], [(), ()])(0.001)
    assert most == 3
