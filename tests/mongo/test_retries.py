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
from datastore.document import Span
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


READS: Final[dict[str, tuple[str, Work, Any]]] = {
    "get": ("find", lambda it: it.get(HERE, ["a"], NOW), ["a"]),
    "peek": ("find", lambda it: it.peek(HERE, ["a"], NOW), ["a"]),
    "scan": ("find", lambda it: it.scan(HERE, Span(limit=1), NOW), ["a"]),
    "keys": ("find", lambda it: it.keys(HERE, Span(), NOW), ["a", "b"]),
    "count": ("aggregate", lambda it: it.count(HERE, "", NOW), 2),
    "namespaces": ("aggregate", lambda it: it.namespaces(HERE.owner, "", NOW), [HERE.namespace]),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_is_repeated_while_its_server_is_lost(backend: MongoBackend, url: str, name: str) -> None:
    command, work, expected = READS[name]
    with failing(url, {"times": 3}, command, closeConnection=True) as failures:
        answer = await work(backend)
    found = answer[0] if isinstance(answer, tuple) else answer
    assert (failures.made, _keys(found)) == (3, expected)


def _keys(found: Any) -> Any:
    """Return the keys of entries, and anything else as it is."""
    return [getattr(each, "key", each) for each in found] if isinstance(found, list) else found
