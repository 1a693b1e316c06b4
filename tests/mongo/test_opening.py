"""A start leaves a collection that keeps every promise, or says in one sentence what to mend."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pymongo
import pytest

from datastore.backends.clocks import check_clock
from datastore.backends.mongo import MongoBackend, opening
from datastore.clock import SystemClock
from datastore.document import Span
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.ports import Engine
from datastore.settings import Settings
from tests.mongo.words import HERE, NOW, RealClock, at, write
from tests.servers.mongo import free_port

pytestmark = pytest.mark.usefixtures("forgetful_driver")

Driver = Literal["motor", "pymongo"]
IMPLEMENTS: type[Engine] = MongoBackend
INDEXES = {"_id_", "userId_namespace_key_expiresAt", "expiresAt_garbage", "createdByUser", "updatedByUser"}
BOUND_SECONDS = 30


async def start(url: str, driver: Driver = "motor", **settings: Any) -> MongoBackend:
    async with asyncio.timeout(BOUND_SECONDS):
        return await MongoBackend.open(url, Settings(mongo_driver=driver, **settings), RealClock())


async def test_a_name_that_nobody_knows_is_a_store_that_is_away_and_no_mistake_of_configuration() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await MongoBackend.open("mongodb+srv://user:passw0rd@no-such-host.invalid/x", Settings(), RealClock())
    assert str(caught.value) == (
        "The name service has no MongoDB at no-such-host.invalid, or does not answer. "
        "Nothing was written. Correct the URL's host, or try again."
    )


async def test_a_start_makes_the_indexes_and_the_next_one_mends_what_is_missing(fresh_url: str, driver: Driver) -> None:
    await (await start(fresh_url, driver)).aclose()
    with pymongo.MongoClient[dict[str, Any]](fresh_url) as client:
        entries = client.get_default_database()["entries"]
        made = entries.index_information()
        assert set(made) == INDEXES
        entries.drop_index("userId_namespace_key_expiresAt")
        entries.drop_index("expiresAt_garbage")
        await (await start(fresh_url, driver)).aclose()
        await (await start(fresh_url, driver)).aclose()
        assert entries.index_information() == made


async def test_entries_that_never_expire_are_not_in_the_garbage_index(fresh_url: str) -> None:
    backend = await start(fresh_url)
    await backend.apply(HERE, [write("stays"), write("goes", expires_at=NOW)], at())
    await backend.aclose()
    with pymongo.MongoClient[dict[str, Any]](fresh_url) as client:
        entries = client.get_default_database()["entries"]
        made = entries.index_information()["expiresAt_garbage"]
        assert made["expireAfterSeconds"] == 60
        assert made["partialFilterExpression"]["expiresAt"]["$lt"].year == 9999
        soon = {"expiresAt": {"$lt": datetime(9998, 1, 1, tzinfo=UTC)}}
        assert [each["key"] for each in entries.find(soon).hint("expiresAt_garbage")] == ["goes"]


async def test_an_index_with_other_options_is_refused_with_the_remedy(fresh_url: str, driver: Driver) -> None:
    with pymongo.MongoClient[dict[str, Any]](fresh_url) as client:
        client.get_default_database()["entries"].create_index("expiresAt", name="expiresAt_garbage")
    with pytest.raises(ConfigurationError, match="expiresAt_garbage with other options"):
        await start(fresh_url, driver)


@pytest.mark.parametrize(
    "wrong",
    [
        pymongo.IndexModel([("expiresAt", 1)], name="expiresAt_garbage", expireAfterSeconds=60),
        pymongo.IndexModel(
            [(each, 1) for each in ("userId", "namespace", "key", "expiresAt")],
            name="userId_namespace_key_expiresAt",
            collation={"locale": "en"},
        ),
    ],
    ids=["without its filter", "with a collation"],
)
async def test_an_index_that_would_find_others_is_refused(fresh_url: str, wrong: pymongo.IndexModel) -> None:
    with pymongo.MongoClient[dict[str, Any]](fresh_url) as client:
        client.get_default_database()["entries"].create_indexes([wrong])
    with pytest.raises(ConfigurationError, match="Drop it; the next start makes it again"):
        await start(fresh_url)


async def test_a_collection_with_a_collation_is_refused(fresh_url: str, driver: Driver) -> None:
    with pymongo.MongoClient[dict[str, Any]](fresh_url) as client:
        client.get_default_database().create_collection("entries", collation={"locale": "en", "strength": 2})
    with pytest.raises(ConfigurationError, match="has a collation"):
        await start(fresh_url, driver)


async def test_a_dead_server_is_an_error_in_time_that_names_its_address_only(driver: Driver) -> None:
    port = free_port()
    url = f"mongodb://someone:pass%2Fword@127.0.0.1:{port}/memory?authSource=admin"
    with pytest.raises(StoreUnavailable) as caught:
        async with asyncio.timeout(5):
            await start(url, driver, connect_timeout_seconds=0.5)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("someone", "pass", "word"))


async def test_a_refused_user_is_an_error_that_names_the_address_only(fresh_url: str, driver: Driver) -> None:
    url = fresh_url.replace("mongodb://", "mongodb://someone:passw0rd@")
    with pytest.raises(ConfigurationError, match="refuses the URL's user") as caught:
        await start(url, driver)
    assert not any(secret in str(caught.value) for secret in ("someone", "passw0rd"))


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        "mongodb://user:p@ss@host/x",
        "mongodb://user:p/ss@host/x",
        "mongodb://user:p?ss@host/x",
        "mongodb://host:secret/x",
        "mongodb://host:99999/x",
        "mongodb://host/my db",
        "mongodb+srv://user:pass@a.b.c:27017/",
    ],
)
async def test_a_url_that_cannot_be_used_is_refused_without_being_quoted(url: str, driver: Driver) -> None:
    with pytest.raises(ConfigurationError, match="The MongoDB URL cannot be used") as caught:
        await start(url, driver)
    assert not any(word in str(caught.value) for word in ("p@ss", "p/ss", "p?ss", "secret", "user:"))


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mongodb://h/x", "h"),
        ("mongodb://u:p@h1:1,h2:2/x?a=b@c", "h1:1,h2:2"),
        ("mongodb://u:p%40@[::1]:3", "[::1]:3"),
        ("mongodb+srv://u:p@cluster.example.org?a=b/c@d", "cluster.example.org"),
    ],
)
def test_hosts_are_named_without_credentials(url: str, named: str) -> None:
    assert opening.hosts(url) == named


@pytest.mark.parametrize("direction", [-1, 1])
def test_clocks_that_differ_warn_and_then_refuse(caplog: pytest.LogCaptureFixture, direction: int) -> None:
    def compare(seconds: float) -> None:
        check_clock(NOW + direction * timedelta(seconds=seconds), NOW, NOW, "MongoDB at host:1")

    with caplog.at_level(logging.WARNING, "datastore.clocks"):
        compare(1.9)
        assert caplog.messages == []
        compare(2.5)
        assert caplog.messages == ["the clocks of this host and of MongoDB at host:1 differ by 2.5 seconds"]
        compare(29)
    with pytest.raises(ConfigurationError, match="differ by 31 seconds; 30 is the most"):
        compare(31)


def test_a_slow_answer_is_no_difference_of_clocks(caplog: pytest.LogCaptureFixture) -> None:
    check_clock(NOW + timedelta(seconds=50), NOW, NOW + timedelta(seconds=100), "host:1")
    assert caplog.messages == []


async def test_the_url_names_the_database_and_the_settings_the_collection(fresh_url: str, driver: Driver) -> None:
    backend = await start(fresh_url, driver, mongo_collection="memory")
    await backend.apply(HERE, [write("k")], at())
    await backend.aclose()
    with pymongo.MongoClient[dict[str, Any]](fresh_url) as client:
        assert client.get_default_database()["memory"].count_documents({}) == 1


async def test_a_handle_that_was_given_stays_open_when_the_backend_closes(fresh_url: str) -> None:
    async with pymongo.AsyncMongoClient[dict[str, Any]](fresh_url) as client:
        backend = MongoBackend(client.get_default_database(), Settings(), SystemClock())  # type: ignore[arg-type]  # a narrower shape
        await backend.prepare()
        await backend.apply(HERE, [write("k")], at())
        await backend.aclose()
        await backend.aclose()
        assert await backend.keys(HERE, Span(), NOW) == (["k"], None)
