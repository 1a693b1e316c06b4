"""A store in memory, one in a file, and one on a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from datastore.backends.sql import SqlBackend
from tests.servers.postgres import fresh_postgres
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


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    with fresh_postgres(postgres_server) as url:
        yield url


@pytest.fixture
async def server_store(postgres_url: str, clock: Clock) -> AsyncIterator[SqlBackend]:
    store = await opened(postgres_url, clock)
    yield store
    await store.aclose()


@pytest.fixture(params=["file", "server"])
def lasting_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store that several processes may open."""
    return str(request.getfixturevalue("url" if request.param == "file" else "postgres_url"))


@pytest.fixture(params=["memory", "file", "server"])
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[SqlBackend]:
    urls = {"file": "url", "server": "postgres_url"}
    store = await opened(
        "sqlite://" if request.param == "memory" else request.getfixturevalue(urls[request.param]), clock
    )
    yield store
    await store.aclose()
