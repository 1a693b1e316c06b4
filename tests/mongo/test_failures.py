"""A connection that breaks: what the error says of the write is true, and it says nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from motor.frameworks.asyncio import _EXECUTOR
from pymongo.collection import Collection

from datastore import Scope, deadlines, open_store
from datastore.backends.mongo import MongoBackend
from datastore.deadlines import TOO_LATE
from datastore.document import Span
from datastore.errors import MAYBE_WRITTEN, NOTHING_WRITTEN, StoreUnavailable
from datastore.operations import Get
from datastore.ports import Removal
from datastore.settings import Settings
from tests.mongo.proxy import Proxy, between
from tests.mongo.words import HERE, NOW, RealClock, at, write

pytestmark = pytest.mark.usefixtures("forgetful_driver")

UNCHANGED = f"{TOO_LATE}. {NOTHING_WRITTEN}"
UNKNOWN = f"{TOO_LATE}. {MAYBE_WRITTEN}"
BOUND_SECONDS = 30


@pytest.fixture
async def wire(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    async with between(url) as (proxy, over):
        yield proxy, over


@pytest.fixture
async def backend(wire: tuple[Proxy, str], driver: Literal["motor", "pymongo"]) -> AsyncIterator[MongoBackend]:
    settings = Settings(mongo_driver=driver, connect_timeout_seconds=10, operation_timeout_seconds=2)
    async with asyncio.timeout(BOUND_SECONDS):
        opened = await MongoBackend.open(wire[1], settings, RealClock())
        yield opened
        await opened.aclose()


async def test_a_write_whose_answer_was_lost_is_made_once_and_answered(
    backend: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]]
) -> None:
    await backend.apply(HERE, [write("k")], at())
    wire[0].break_answers("cut", 1, "update")
    answer = await backend.apply(HERE, [write("k", version="v2", if_version="v1")], at())
    assert (wire[0].times, answer.outcomes[0].applied, stored.count_documents({"version": "v2"})) == (0, True, 1)
    wire[0].break_answers("cut", 1, "delete")
    answer = await backend.apply(HERE, [Removal("k", if_version="v2")], at())
    assert (wire[0].times, answer.outcomes[0].applied, stored.count_documents({})) == (0, True, 0)


async def test_a_write_that_is_never_answered_says_that_it_may_have_happened(
    backend: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]]
) -> None:
    wire[0].break_answers("hold", 100, "update")
    with pytest.raises(StoreUnavailable) as caught:
        await backend.apply(HERE, [write("k", "secret")], at())
    assert str(caught.value) == UNKNOWN
    assert stored.count_documents({"value": "secret"}) == 1


async def test_a_write_whose_every_answer_was_lost_says_that_it_may_have_happened(
    backend: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]]
) -> None:
    wire[0].break_answers("cut", 1000, "update")
    with pytest.raises(StoreUnavailable) as caught:
        await backend.apply(HERE, [write("k")], at())
    assert str(caught.value) == UNKNOWN
    assert stored.count_documents({}) == 1


async def test_a_batch_that_fails_after_its_first_statement_says_that_it_may_have_happened(
    backend: MongoBackend, wire: tuple[Proxy, str]
) -> None:
    wire[0].break_answers("hold", 100, "find")
    with pytest.raises(StoreUnavailable) as caught:
        await backend.apply(HERE, [write("k"), write("other", if_version="v0")], at())
    assert str(caught.value) == UNKNOWN


@pytest.mark.slow
async def test_a_read_that_is_never_answered_says_that_nothing_was_changed(
    backend: MongoBackend, wire: tuple[Proxy, str]
) -> None:
    wire[0].break_answers("hold", 100, "find", "aggregate")
    for read in (backend.get(HERE, ["k"], NOW), backend.scan(HERE, Span(), NOW), backend.count(HERE, "", NOW)):
        with pytest.raises(StoreUnavailable) as caught:
            await read
        assert str(caught.value) == UNCHANGED


async def test_a_clear_whose_answer_was_lost_is_repeated_and_counts_what_is_left(
    backend: MongoBackend, wire: tuple[Proxy, str], stored: Collection[dict[str, Any]]
) -> None:
    await backend.apply(HERE, [write("a"), write("b")], at())
    wire[0].break_answers("cut", 1, "delete")
    assert await backend.clear(HERE, "", NOW) <= 2
    assert (wire[0].times, stored.count_documents({})) == (0, 0)


async def test_a_clear_that_is_never_answered_is_not_repeated_beyond_its_deadline(
    backend: MongoBackend, wire: tuple[Proxy, str]
) -> None:
    wire[0].break_answers("hold", 100, "delete")
    with pytest.raises(StoreUnavailable) as caught:
        await backend.clear(HERE, "", NOW)
    assert (str(caught.value), wire[0].times) == (UNKNOWN, 99)


async def test_of_more_operations_than_threads_none_begins_after_its_deadline(wire: tuple[Proxy, str]) -> None:
    """Motor's threads are as many as the driver makes; an operation that finds none free in time ends too."""
    threads = _EXECUTOR._max_workers
    scopes = [Scope(user=f"user{number}", agent="reader") for number in range(4 * threads)]
    settings = Settings(mongo_driver="motor", connect_timeout_seconds=10, operation_timeout_seconds=2)
    async with asyncio.timeout(BOUND_SECONDS), open_store(wire[1], settings=settings) as store:
        reading = Get(namespace="n", keys=("k",))
        await asyncio.gather(*(store.execute(each, reading) for each in scopes))
        wire[0].break_answers("hold", 1000, "find")
        with deadlines.within(settings.operation_timeout_seconds):
            ended = await asyncio.gather(*(store.execute(each, reading) for each in scopes), return_exceptions=True)
        sent = 1000 - wire[0].times
        wire[0].leave()
    assert {str(each) for each in ended} == {UNCHANGED}
    assert 0 < sent < 2 * threads  # The store's own background work sends a few.


@pytest.mark.slow
async def test_a_server_that_is_gone_is_named_in_no_message_and_nothing_was_changed(
    driver: Literal["motor", "pymongo"], url: str
) -> None:
    settings = Settings(mongo_driver=driver, connect_timeout_seconds=10, operation_timeout_seconds=2)
    async with asyncio.timeout(BOUND_SECONDS):
        async with between(url) as (proxy, over):
            backend = await MongoBackend.open(over, settings, RealClock())
        with pytest.raises(StoreUnavailable) as first:
            await backend.get(HERE, ["k"], NOW)
        with pytest.raises(StoreUnavailable) as second:
            await backend.apply(HERE, [write("k", "secret")], at())
        with pytest.raises(StoreUnavailable) as batch:
            await backend.apply(HERE, [write("k", "secret"), Removal("l")], at())
        await backend.aclose()
    assert [str(each.value) for each in (first, second, batch)] == [UNCHANGED, UNCHANGED, UNKNOWN]
    assert str(proxy.listening) not in str(first.value) + str(second.value)
