"""Loops that call something for a while, and time each call.

The host imports this file and guests run its text, so that both are timed alike; it uses the standard library alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

Arguments = tuple[Any, ...]
Timings = tuple[list[float], float]
"""The seconds of each call, and of the whole loop."""


def blocking(call: Callable[..., object], given: Iterator[Arguments], seconds: float) -> Timings:
    """Call a plain function again and again."""
    durations: list[float] = []
    began = now = time.perf_counter()
    while now < began + seconds:
        call(*next(given))
        after = time.perf_counter()
        durations.append(after - now)
        now = after
    return durations, now - began


async def one_by_one(call: Callable[..., Awaitable[object]], given: Iterator[Arguments], seconds: float) -> Timings:
    """Await a call again and again."""
    durations: list[float] = []
    began = now = time.perf_counter()
    while now < began + seconds:
        await call(*next(given))
        after = time.perf_counter()
        durations.append(after - now)
        now = after
    return durations, now - began


async def waves(
    call: Callable[..., Awaitable[object]], given: Iterator[Arguments], width: int, seconds: float
) -> Timings:
    """Await so many calls at once, again and again."""
    durations: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        await call(*next(given))
        durations.append(time.perf_counter() - began)

    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        await asyncio.gather(*(one() for _ in range(width)))
    return durations, time.perf_counter() - began
