"""A fresh database for a test, and the backend over it through either driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pymongo
import pytest
from pymongo.collection import Collection

from datastore.backends.mongo import MongoBackend
from datastore.settings import Settings
from tests.mongo.words import StillClock, Trips
from tests.servers.mongo import fresh_database, own_mongod


@pytest.fixture(scope="session")
def obedient() -> Iterator[str]:
    """A server that fails commands when a test tells it to."""
    with own_mongod(parameters=["enableTestCommands=1"]) as server:
        yield server


@pytest.fixture
def fresh_url(server: str) -> Iterator[str]:
    """A database that nothing was ever done to."""
    with fresh_database(server) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def shared_url(server: str) -> Iterator[str]:
    with fresh_database(server) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def shared(shared_url: str) -> Iterator[Collection[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](shared_url, tz_aware=True) as client:
        yield client.get_default_database()["entries"]


@pytest.fixture
def stored(shared: Collection[dict[str, Any]]) -> Collection[dict[str, Any]]:
    """The emptied collection of a database that tests share, as any MongoDB tool sees it."""
    shared.delete_many({})
    return shared


@pytest.fixture
def url(shared_url: str, stored: Collection[dict[str, Any]]) -> str:
    """The URL of that database; making and dropping one for every test would take most of their time."""
    assert stored.database.name in shared_url
    return shared_url


@pytest.fixture(params=["motor", "pymongo"])
def driver(request: pytest.FixtureRequest) -> Literal["motor", "pymongo"]:
    named: Literal["motor", "pymongo"] = request.param
    return named


@pytest.fixture
def trips() -> Trips:
    return Trips()


@pytest.fixture
async def backend(url: str, driver: Literal["motor", "pymongo"], trips: Trips) -> AsyncIterator[MongoBackend]:
    settings = Settings(mongo_driver=driver)
    opened = await MongoBackend.open(url, settings, StillClock(), event_listeners=[trips])
    trips.take()
    yield opened
    await opened.aclose()
