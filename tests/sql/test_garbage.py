"""Expired rows go, a while after they expired, by the clock of the store."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from datastore.backends.sql import SqlBackend, garbage
from datastore.layout import LAYOUT
from tests.sql.words import Clock, apply, at, locked, opened, put, read, rows

WAIT_SECONDS = 60


async def gone(path: Path, left: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while rows(path) != left:  # noqa: ASYNC110 - the collector is watched from outside
            await asyncio.sleep(0)


async def test_rows_go_a_minute_after_they_expired_and_not_before(
    file_store: SqlBackend, path: Path, clock: Clock
) -> None:
    await apply(file_store, put("old", expires_at=at(10)), put("later", expires_at=at(11)), put("forever"))

    clock.time = at(70)
    assert await file_store._collector.collect() == 0
    clock.time = at(70.001)
    assert await file_store._collector.collect() == 1
    clock.time = at(10**9)
    assert await file_store._collector.collect() == 1
    assert rows(path) == 1
    assert await read(file_store, "forever", 10**9) is not None


async def test_many_go_in_several_batches(file_store: SqlBackend, path: Path, clock: Clock) -> None:
    many = 2 * garbage.BATCH_ROWS + 1
    for start in range(0, many, 1000):
        names = range(start, min(many, start + 1000))
        await apply(file_store, *(put(f"k{number}", expires_at=at(1)) for number in names))

    clock.time = at(100)
    assert await file_store._collector.collect() == many
    assert rows(path) == 0


async def test_nothing_is_removed_from_a_store_that_this_version_is_too_old_for(
    file_store: SqlBackend, path: Path, clock: Clock
) -> None:
    await apply(file_store, put("old", expires_at=at(1)))
    clock.time = at(100)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(f"PRAGMA user_version = {LAYOUT + 1}")
        await file_store._collector.tidy()
        assert rows(path) == 1
        file.execute(f"PRAGMA user_version = {LAYOUT}")
    await file_store._collector.tidy()
    assert rows(path) == 0


async def test_it_goes_on_in_the_background_even_after_a_failure(
    url: str,
    path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(garbage, "EVERY_SECONDS", 0.0)
    caplog.set_level(logging.WARNING, "datastore")
    store = await opened(url, clock, operation_timeout_seconds=0.2)
    await apply(store, put("old", expires_at=at(1)), put("forever"))
    with locked(path):
        async with asyncio.timeout(WAIT_SECONDS):
            while "will be tried again" not in caplog.text:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)

    clock.time = at(100)
    await gone(path, 1)
    await store.aclose()
