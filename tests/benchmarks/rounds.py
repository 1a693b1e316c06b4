"""Rounds: how contenders take turns, and how one of them works for a while.

Contenders alternate in short rounds, so that all of them meet the same drift of the machine: another process that
begins or ends, a processor that changes its frequency, a server that writes a checkpoint.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks import loops
from tests.benchmarks.figures import Sample
from tests.benchmarks.loops import Arguments

Call = Callable[..., Awaitable[object]]
Play = Callable[[float], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is measured beside others.

    Args:
        name: whose figures these are.
        play: works for so many seconds, and returns what it measured.
        settle: ends a round, which takes as much longer; nothing of a round is left to the next contender.
    """

    name: str
    play: Play
    settle: Callable[[], Awaitable[None]] | None = None

    async def round(self, seconds: float) -> Sample:
        """Work for so many seconds."""
        sample = await self.play(seconds)
        if self.settle is None:
            return sample
        began = time.perf_counter()
        await self.settle()
        return sample.longer(time.perf_counter() - began)


def order(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round: each begins in turn, and every other cycle runs backwards."""
    cycle, start = divmod(number, len(names))
    turned = [*names[start:], *names[:start]]
    return turned[::-1] if cycle % 2 else turned


async def take_turns(contenders: Sequence[Contender], rounds: int, seconds: float) -> dict[str, list[Sample]]:
    """Return the samples of each contender, one a round, after a first round each that does not count."""
    named = {each.name: each for each in contenders}
    for each in contenders:
        await each.round(seconds)
    samples: dict[str, list[Sample]] = {name: [] for name in named}
    for number in range(rounds):
        for name in order(list(named), number):
            samples[name].append(await named[name].round(seconds))
    return samples


def blocking(call: Callable[..., object], arguments: Sequence[Arguments]) -> Play:
    """Return what calls a plain function again and again."""
    given = itertools.cycle(arguments)

    async def play(seconds: float) -> Sample:
        return Sample(*loops.blocking(call, given, seconds))

    return play


def awaiting(call: Call, arguments: Sequence[Arguments], width: int = 1) -> Play:
    """Return what awaits a call again and again, or waves of so many at once."""
    given = itertools.cycle(arguments)

    async def play(seconds: float) -> Sample:
        if width == 1:
            return Sample(*await loops.one_by_one(call, given, seconds))
        return Sample(*await loops.waves(call, given, width, seconds))

    return play


def side_by_side(calls: Sequence[Call], arguments: Sequence[Arguments]) -> Play:
    """Return what awaits each of the calls again and again, all of them in tasks of their own."""
    plays = [awaiting(call, [*arguments[number:], *arguments[:number]]) for number, call in enumerate(calls)]

    async def play(seconds: float) -> Sample:
        return Sample.together(await asyncio.gather(*(each(seconds) for each in plays)))

    return play
