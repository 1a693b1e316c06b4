"""The fast tier answers as a real server does, as far as it can; its own page lists what it cannot show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import astuple
from typing import Any

import pytest

from datastore.backends.mongo import MongoBackend
from datastore.document import Place, Span
from datastore.entry import NEVER
from datastore.ports import Access, Change, Removal, Renewal
from tests.mongo.words import HERE, LATER, NOW, StillClock, at, write
from tests.servers.mock_mongo import mock_backend


@pytest.fixture
async def mock() -> AsyncIterator[MongoBackend]:
    backend = await mock_backend(StillClock())
    yield backend
    await backend.aclose()


async def story(backend: MongoBackend) -> AsyncIterator[Any]:
    """Do a little of everything; yield every answer."""
    batch: list[Change] = [
        *(write("a", {"$set": {"a.b": 1}}), write("b", b"\0"), write("c", 2**40, metadata={"a.b": 1, "$": 2})),
        *(write("left", expires_at=NOW), Removal("none"), Renewal("none2", NEVER), write("d", if_version="v0")),
    ]
    yield await backend.apply(HERE, batch, at())
    changes: list[Change] = [
        write("a", 2, "v2"),
        write("left", 3, "v2"),
        write("left", 4, "v3", if_absent=True),
        write("b", 5, "v2", if_version="v1", metadata={}),
        write("b", 6, "v3", if_version="v1"),
        Removal("c", if_version="v0"),
        Removal("c", if_version="v1"),
        Renewal("b", LATER),
    ]
    for change in changes:
        yield await backend.apply(HERE, [change], at(agent="second"))
    await backend.record([Access(HERE, "a", NOW, "reader", 2, LATER), Access(HERE, "b", LATER, "reader", 2, LATER)])
    await backend.apply(Place("alice", "other"), [write("x"), write("y")], at())
    for now in (NOW, LATER):
        yield [astuple(each) for each in (await backend.get(HERE, ["a", "b", "c", "left"], now))[0]]
        yield await backend.peek(HERE, ["b", "c", "left"], now)
        yield await backend.scan(HERE, Span(limit=1), now)
        yield await backend.keys(HERE, Span(limit=2, reverse=True), now)
        yield await backend.outline(HERE, Span("a"), now)
        yield await backend.namespaces("alice", "", now), await backend.namespaces("alice", "o", now)
        yield await backend.count(HERE, "", now), await backend.count(HERE, "b", now)
        yield await backend.usage("alice", now), await backend.owners(None, 10, now)
    yield await backend.clear(HERE, "l", NOW), await backend.clear(HERE, "", NOW), await backend.clear(HERE, "", NOW)


async def test_the_mock_answers_as_a_real_server_does(mock: MongoBackend, backend: MongoBackend) -> None:
    answers = [answer async for answer in story(mock)]
    assert answers == [answer async for answer in story(backend)]
    assert answers[-1] == (1, 2, 0)
