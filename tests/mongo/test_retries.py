"""Answers of a server whose primary changes: the driver can read them, nothing is made twice, and reads go on.

A server that is told to says that a write was made but that a majority may not have it, as a primary that steps down
does. The driver sends such a write again, and the server answers with what it did the first time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, Literal

import pymongo
import pytest

from datastore import Settings
from datastore.backends.mongo import MongoBackend
from datastore.document import Place
from datastore.ports import Actor, Removal, Renewal
from datastore.quotas import Ceiling, Quota
from tests.mongo.failpoint import failing
from tests.mongo.words import HERE, LATER, NOW, RealClock, at, increment, write
from tests.servers.mongo import fresh_database

STEPPING_DOWN: Final = {
    "writeConcernError": {"code": 91, "errmsg": "Replication is being shut down"},
    "errorLabels": ["RetryableWriteError"],
}
Work = Callable[[MongoBackend], Awaitable[Any]]

LIMITED: Final = Actor("writer", "run-1", NOW, quota=Quota(each=Ceiling(keys=100)))
BOTH: Final = {"a": 1, "b": 1}
MANY: Final = [f"k{number}" for number in range(20)]
WORK: Final[dict[str, tuple[str, Work, dict[str, Any]]]] = {
    "set": ("update", lambda it: it.apply(HERE, [write("new")], at()), BOTH | {"new": "text"}),
    "set_many": (
        "update",
        lambda it: it.apply(HERE, [write(k) for k in MANY], at()),
        BOTH | dict.fromkeys(MANY, "text"),
    ),
    "add": ("update", lambda it: it.apply(HERE, [write("new", if_absent=True)], at()), BOTH | {"new": "text"}),
    "if_version": ("update", lambda it: it.apply(HERE, [write("a", 2, "v2", if_version="v1")], at()), {"a": 2, "b": 1}),
    "delete": ("delete", lambda it: it.apply(HERE, [Removal("a")], at()), {"b": 1}),
    "touch": ("update", lambda it: it.apply(HERE, [Renewal("a", LATER)], at()), BOTH),
    "incr": ("findAndModify", lambda it: it.increment(HERE, increment("a"), at()), {"a": 2, "b": 1}),
    "incr of a new key": ("findAndModify", lambda it: it.increment(HERE, increment("new", 5), at()), BOTH | {"new": 6}),
    "set within a quota": ("update", lambda it: it.apply(HERE, [write("new")], LIMITED), BOTH | {"new": "text"}),
    "clear": ("delete", lambda it: it.clear(HERE, "", NOW), {}),
    "atomic": (
        "commitTransaction",
        lambda it: it.atomic([(HERE, increment("a")), (HERE, increment("b"))], at()),
        {"a": 2, "b": 2},
    ),
    "expunge": ("delete", lambda it: it.expunge(HERE.owner), {}),
}


@pytest.fixture
def url(obedient: str) -> Iterator[str]:
    with fresh_database(obedient) as fresh:
        yield f"{fresh}&heartbeatFrequencyMS=500"  # The driver looks for the primary that soon after such an answer.


@pytest.fixture
async def backend(url: str, driver: Literal["motor", "pymongo"], forgetful_driver: None) -> AsyncIterator[MongoBackend]:
    assert forgetful_driver is None
    opened = await MongoBackend.open(url, Settings(mongo_driver=driver), RealClock())
    await opened.apply(HERE, [write("a", 1), write("b", 1)], at())
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("name", WORK)
async def test_a_write_answered_by_a_stepping_down_primary_is_made_once(
    backend: MongoBackend, url: str, name: str
) -> None:
    command, work, expected = WORK[name]
    with failing(url, {"times": 1}, command, **STEPPING_DOWN) as failures:
        await work(backend)
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        stored = {each["key"]: each["value"] for each in client.get_default_database()["entries"].find()}
    assert (failures.made, stored) == (1, expected)


async def _many_namespaces(backend: MongoBackend) -> Any:
    """Ask for more names than an answer's first part has."""
    for number in range(150):
        await backend.apply(Place(HERE.owner, f"many{number:03}"), [write("k")], at())
    return lambda: backend.namespaces(HERE.owner, "many", NOW)


async def _much_metadata(backend: MongoBackend) -> list[str]:
    """Write more bytes than an answer's first part has, which is 16 MiB."""
    keys = [f"k{number:04}" for number in range(1100)]
    for start in range(0, len(keys), 100):
        await backend.apply(HERE, [write(k, metadata={"note": "x" * 16_000}) for k in keys[start : start + 100]], at())
    return keys


async def _peeked(backend: MongoBackend) -> Any:
    keys = await _much_metadata(backend)
    return lambda: backend.peek(HERE, keys, NOW)


async def _surveyed(backend: MongoBackend) -> Any:
    keys = await _much_metadata(backend)
    return lambda: backend.survey(HERE.id(""), None, len(keys))


@pytest.mark.parametrize(("prepare", "number"), [(_many_namespaces, 150), (_peeked, 1100), (_surveyed, 1100)])
async def test_a_read_that_loses_the_rest_of_its_answer_is_made_again(
    backend: MongoBackend, url: str, prepare: Callable[[MongoBackend], Awaitable[Any]], number: int
) -> None:
    read = await prepare(backend)
    with failing(url, {"times": 1}, "getMore", closeConnection=True) as failures:
        answer = await read()
    assert (failures.made, len(answer)) == (1, number)
