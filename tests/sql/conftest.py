"""A store in memory and one in a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datastore.backends.sql import SqlBackend
from tests.sql.words import Clock, opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def file_store(url: str, clock: Clock) -> AsyncIterator[SqlBackend]:
    store = await opened(url, clock)
    yield store
    await store.aclose()


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, url: str, clock: Clock) -> AsyncIterator[SqlBackend]:
    store = await opened("sqlite://" if request.param == "memory" else url, clock)
    yield store
    await store.aclose()
