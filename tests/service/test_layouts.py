"""A host that is too old for its store does nothing there, whatever part of it asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from datastore.backends.mongo.backend import MongoBackend
from datastore.backends.sql.backend import SqlBackend
from datastore.deadlines import TIMEOUT_SECONDS
from datastore.errors import StoreUnavailable
from datastore.layout import LAYOUT, Layout
from datastore.ports import FRESH_SECONDS, Engine
from datastore.service.layouts import LayoutGuard

REFUSED = r"has layout 3, .* supports layout 2\. Upgrade it .* Nothing was written"


class Moving:
    """An engine whose store changes its layout, and a host's seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.needs = LAYOUT
        self.readings = 0
        self.flushed = 0
        self.slow = 0.0
        self.away = False

    async def layout(self) -> Layout:
        self.readings += 1
        await asyncio.sleep(0)
        self.seconds += self.slow
        if self.away:
            raise StoreUnavailable("the store did not answer in time")
        return Layout(LAYOUT, self.needs)

    async def record(self, _accesses: object) -> None:
        self.flushed += 1

    async def aclose(self) -> None:
        pass


@pytest.fixture
def moving() -> Moving:
    return Moving()


@pytest.fixture
async def engine(moving: Moving) -> AsyncIterator[Engine]:
    guard = LayoutGuard(cast("Engine", moving), TIMEOUT_SECONDS, lambda: moving.seconds)
    yield cast("Engine", guard)
    await guard.aclose()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_who_begin_together_share_one_reading(moving: Moving, engine: Engine) -> None:
    await asyncio.gather(*(engine.record([]) for _ in range(100)))
    assert (moving.readings, moving.flushed) == (1, 100)


async def test_an_engine_in_use_is_read_in_the_background(moving: Moving, engine: Engine) -> None:
    await engine.record([])
    moving.seconds = FRESH_SECONDS / 3
    await engine.record([])
    assert moving.readings == 1
    moving.seconds = FRESH_SECONDS
    await engine.record([])
    assert moving.readings == 1  # It is on its way, and is not waited for.
    await settled()
    moving.seconds = 2 * FRESH_SECONDS
    await engine.record([])
    assert (moving.readings, moving.flushed) == (2, 4)


async def test_a_host_that_is_too_old_does_nothing(
    moving: Moving, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    await engine.record([])
    moving.needs, moving.seconds = LAYOUT + 1, FRESH_SECONDS + 0.1
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            with pytest.raises(StoreUnavailable, match=REFUSED):
                await engine.record([])
    assert (moving.flushed, moving.readings) == (1, 2)
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == ["every operation is refused"]


async def test_a_layout_that_no_one_can_read_refuses(moving: Moving, engine: Engine) -> None:
    moving.away = True
    with pytest.raises(StoreUnavailable, match="Nothing was written"):
        await engine.record([])
    assert moving.flushed == 0


async def test_an_answer_that_is_too_old_when_it_comes_refuses(moving: Moving, engine: Engine) -> None:
    moving.slow = FRESH_SECONDS + 0.1
    with pytest.raises(StoreUnavailable, match="answers too slowly"):
        await engine.record([])
    assert moving.flushed == 0


async def test_a_caller_that_is_cancelled_leaves_the_reading_to_the_others(moving: Moving, engine: Engine) -> None:
    first, second = (asyncio.create_task(engine.record([])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (moving.readings, moving.flushed, first.cancelled()) == (1, 1, True)


@pytest.mark.parametrize("backend", [MongoBackend, SqlBackend])
def test_every_statement_of_an_engine_is_guarded(backend: type) -> None:
    """A method that an engine gets later is guarded too, unless it is named here."""
    guard: Any = LayoutGuard(cast("Engine", backend), TIMEOUT_SECONDS)
    names = {each for each in dir(Engine) if not each.startswith("_")}
    bare = {each for each in names if not hasattr(getattr(guard, each), "__wrapped__")}
    assert bare == {"aclose", "follow", "layout", "vet"}
