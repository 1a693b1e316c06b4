"""Indexes that a start finds missing: it waits for the one that lists need, says so, and is not held up by others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pymongo
import pytest

from datastore.backends.mongo import MongoBackend, indexing
from datastore.document import Span
from datastore.settings import Settings
from tests.mongo.failpoint import failing
from tests.mongo.words import HERE, NOW, RealClock, at, write
from tests.servers.mongo import database, fresh_database
from tests.servers.replicas import MEMBERS, replicas

pytestmark = pytest.mark.usefixtures("forgetful_driver")

Driver = Literal["motor", "pymongo"]
BOUND_SECONDS = 60
LISTING = "userId_namespace_key_expiresAt"
BLOCKED = {"blockConnection": True, "blockTimeMS": 2000}


@pytest.fixture
def url(obedient: str) -> Iterator[str]:
    with fresh_database(obedient) as fresh:
        yield fresh


async def start(url: str, driver: Driver, **settings: Any) -> MongoBackend:
    async with asyncio.timeout(BOUND_SECONDS):
        return await MongoBackend.open(url, Settings(mongo_driver=driver, **settings), RealClock())


def standing(url: str) -> set[str]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        return set(client.get_default_database()["entries"].index_information())


@pytest.mark.slow
async def test_a_start_makes_indexes_while_one_member_is_down(driver: Driver) -> None:
    with replicas() as members:
        url = database(members.url, "started")
        backend = await start(url, driver)
        await backend.apply(HERE, [write("k")], at())  # The index of an empty collection is made at once.
        await backend.aclose()
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            client.get_default_database()["entries"].drop_indexes()
        members.kill((members.primary() + 1) % MEMBERS)
        backend = await start(url, driver)
        assert LISTING in standing(url)
        await backend.aclose()


async def test_a_start_waits_little_for_an_index_that_no_read_needs(
    url: str, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "datastore.mongo"), failing(url, {"skip": 1}, "createIndexes", **BLOCKED):
        backend = await start(url, driver, connect_timeout_seconds=0.5)
        await backend.apply(HERE, [write("k")], at())
        assert await backend.keys(HERE, Span(), NOW) == (["k"], None)
        assert standing(url) == {"_id_", LISTING}
    assert "is still making indexes (createdByUser, updatedByUser, expiresAt_garbage" in caplog.text
    async with asyncio.timeout(BOUND_SECONDS):
        assert backend._indexing._making is not None
        await backend._indexing._making
    assert len(standing(url)) == 5
    await backend.aclose()


async def test_a_start_says_that_it_waits_for_the_index_that_lists_need(
    url: str, driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_TELLING_SECONDS", 0.2)
    with caplog.at_level(logging.WARNING, "datastore.mongo"), failing(url, {"times": 1}, "createIndexes", **BLOCKED):
        await (await start(url, driver)).aclose()
    assert f"waits for MongoDB at {url.split('/')[2]} to make an index that every list needs ({LISTING})" in caplog.text
    assert LISTING in standing(url)


async def test_closing_ends_the_wait_for_indexes(url: str, driver: Driver) -> None:
    with failing(url, {"skip": 1}, "createIndexes", **BLOCKED):
        backend = await start(url, driver, connect_timeout_seconds=0.5)
        await backend.aclose()
        assert standing(url) == {"_id_", LISTING}


async def test_a_start_that_finds_every_index_makes_none(url: str, driver: Driver) -> None:
    await (await start(url, driver)).aclose()
    with failing(url, "alwaysOn", "createIndexes", errorCode=8000) as failures:
        await (await start(url, driver)).aclose()
    assert failures.made == 0
