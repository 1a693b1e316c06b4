"""A write that reaches the server late is judged by the server's time, not by the time when it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest

from datastore.backends.mongo import MongoBackend
from datastore.clock import SystemClock
from datastore.document import moment
from datastore.entry import NEVER
from datastore.operations import Applied, Outcome
from datastore.ports import Increment, Removal, Renewal
from datastore.settings import Settings
from tests.mongo.failpoint import failing
from tests.mongo.words import HERE, at, write
from tests.servers.mongo import fresh_database

CLOCK = SystemClock()
LIFE = timedelta(seconds=0.5)
LATE_MILLISECONDS = 700
Call = Callable[[MongoBackend, datetime], Coroutine[Any, Any, Applied | Outcome]]

CONTINUING: dict[str, Call] = {
    "renewal": lambda s, now: s.apply(HERE, [Renewal("k", NEVER)], at(now)),
    "renewal at a version": lambda s, now: s.apply(HERE, [Renewal("k", NEVER, if_version="v1")], at(now)),
    "renewals": lambda s, now: s.apply(HERE, [Renewal("k", NEVER), Renewal("l", NEVER)], at(now)),
    "put at a version": lambda s, now: s.apply(HERE, [write("k", 2, "v2", if_version="v1")], at(now)),
    "removal at a version": lambda s, now: s.apply(HERE, [Removal("k", if_version="v1")], at(now)),
    "increment at a version": lambda s, now: s.increment(
        HERE, Increment("k", 1, 0, "v2", None, if_version="v1"), at(now)
    ),
}


@pytest.fixture
async def backend(obedient: str, driver: Literal["motor", "pymongo"]) -> AsyncIterator[MongoBackend]:
    with fresh_database(obedient) as url:
        opened = await MongoBackend.open(url, Settings(mongo_driver=driver), CLOCK)
        yield opened
        await opened.aclose()


async def late(backend: MongoBackend, server: str, call: Call) -> Applied | Outcome:
    """Let entries expire while a write that was asked for before is on its way."""
    now = moment(CLOCK.now())
    await backend.apply(HERE, [write(key, 1, expires_at=now + LIFE) for key in ("k", "l")], at(now))
    commands = ("update", "delete", "findAndModify")
    with failing(server, "alwaysOn", *commands, blockConnection=True, blockTimeMS=LATE_MILLISECONDS) as delays:
        answer = await call(backend, now)
    assert delays.made
    return answer


@pytest.mark.parametrize("call", CONTINUING.values(), ids=CONTINUING)
async def test_what_expired_meanwhile_is_not_continued(backend: MongoBackend, obedient: str, call: Call) -> None:
    answer = await late(backend, obedient, call)

    outcomes = answer.outcomes if isinstance(answer, Applied) else (answer,)
    assert [each.applied for each in outcomes] == [False] * len(outcomes)
    assert (await backend.get(HERE, ["k", "l"], moment(CLOCK.now())))[0] == []


async def test_a_number_that_expired_meanwhile_begins_again(backend: MongoBackend, obedient: str) -> None:
    answer = await late(backend, obedient, lambda s, now: s.increment(HERE, Increment("k", 1, 5, "v2", None), at(now)))

    assert answer == Outcome(applied=True, version="v2", number=6)


async def test_what_waited_in_the_host_is_judged_by_the_present(backend: MongoBackend) -> None:
    now = moment(CLOCK.now())
    await backend.apply(HERE, [write(key, 1, expires_at=now + LIFE) for key in ("k", "l")], at(now))
    while CLOCK.now() <= now + LIFE:  # noqa: ASYNC110 - time has no event
        await asyncio.sleep(LIFE.total_seconds() / 10)

    changes = [write("k", 2, "v2", if_version="v1"), write("l", 2, "v2", if_version="v1")]
    assert [each.applied for each in (await backend.apply(HERE, changes, at(now))).outcomes] == [False, False]
    number = await backend.increment(HERE, Increment("k", 1, 0, "v3", None), at(now))
    assert number == Outcome(applied=True, version="v3", number=1)
