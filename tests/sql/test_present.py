"""A write that had to wait is judged by the time when it is made, not by the time when it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from datastore.backends.sql import SqlBackend, quotas
from datastore.clock import SystemClock
from datastore.document import moment
from datastore.entry import NEVER
from datastore.errors import QuotaExceeded
from datastore.operations import Applied, Outcome
from datastore.ports import Actor, Increment, Removal, Renewal, Requirement
from datastore.quotas import Ceiling, Quota
from datastore.settings import Settings
from tests.sql.words import HERE, locked, put

CLOCK = SystemClock()
LIFE = timedelta(seconds=1)
ROOMY = Quota(Ceiling(keys=1000))
Lock = Callable[[], AbstractContextManager[Any]]
Call = Callable[[SqlBackend, Actor], Coroutine[Any, Any, Applied | Outcome]]

CONTINUING: dict[str, Call] = {
    "renewal": lambda s, a: s.apply(HERE, [Renewal("k", NEVER)], a),
    "renewal within a quota": lambda s, a: s.apply(HERE, [Renewal("k", NEVER)], replace(a, quota=ROOMY)),
    "renewal at a version": lambda s, a: s.apply(HERE, [Renewal("k", NEVER, if_version="v1")], a),
    "renewals": lambda s, a: s.apply(HERE, [Renewal("k", NEVER), Renewal("l", NEVER)], a),
    "put at a version": lambda s, a: s.apply(HERE, [put("k", 2, "v2", if_version="v1")], a),
    "put at a version within a quota": lambda s, a: s.apply(
        HERE, [put("k", 2, "v2", if_version="v1")], replace(a, quota=ROOMY)
    ),
    "removal at a version": lambda s, a: s.apply(HERE, [Removal("k", if_version="v1")], a),
    "increment at a version": lambda s, a: s.increment(HERE, Increment("k", 1, 0, "v2", None, if_version="v1"), a),
    "atomic": lambda s, a: s.atomic([(HERE, put("k", 2, "v2", if_version="v1")), (HERE, put("other"))], a),
    "atomic that requires": lambda s, a: s.atomic([(HERE, Requirement("k", "v1")), (HERE, put("l"))], a),
}


@pytest.fixture(params=["file", "server"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lock(request: pytest.FixtureRequest, kind: str) -> Lock:
    """Hold up every writer of what stands, and change nothing."""
    if kind == "file":
        path: Path = request.getfixturevalue("path")
        return lambda: locked(path)
    url: str = request.getfixturevalue("postgres_url")

    @contextmanager
    def rows() -> Iterator[None]:
        with psycopg.connect(url) as other:
            other.execute("SELECT FROM datastore.entries FOR UPDATE")
            yield
            other.rollback()

    return rows


@pytest.fixture
async def backend(request: pytest.FixtureRequest, kind: str) -> AsyncIterator[SqlBackend]:
    url = request.getfixturevalue("url" if kind == "file" else "postgres_url")
    opened = await SqlBackend.open(url, Settings(url=url), CLOCK)
    yield opened
    await opened.aclose()


async def past(when: datetime) -> None:
    """Wait until the machine's time is later."""
    while (left := (when - CLOCK.now()).total_seconds()) >= 0:  # noqa: ASYNC110 - time has no event
        await asyncio.sleep(left + 0.001)


async def held_up(backend: SqlBackend, lock: Lock, call: Call) -> Applied | Outcome:
    """Let an entry expire while a write that was asked for before waits."""
    now = moment(CLOCK.now())
    dying = [put(key, 1, expires_at=now + LIFE) for key in ("k", "l")]
    await backend.apply(HERE, dying, Actor("writer", "run", now))
    with lock():
        writing = asyncio.create_task(call(backend, Actor("writer", "run", now)))
        await past(now + LIFE)
    return await writing


@pytest.mark.parametrize("call", CONTINUING.values(), ids=CONTINUING)
async def test_what_expired_meanwhile_is_not_continued(backend: SqlBackend, lock: Lock, call: Call) -> None:
    answer = await held_up(backend, lock, call)

    outcomes = answer.outcomes if isinstance(answer, Applied) else (answer,)
    assert not outcomes[0].applied
    assert (await backend.get(HERE, ["k", "l", "other"], moment(CLOCK.now())))[0] == []


@pytest.mark.parametrize("by", [1, 0.5])
async def test_a_number_that_expired_meanwhile_begins_again(backend: SqlBackend, lock: Lock, by: float) -> None:
    answer = await held_up(backend, lock, lambda s, a: s.increment(HERE, Increment("k", by, 0, "v2", None), a))

    assert answer == Outcome(applied=True, version="v2", number=by)


async def test_no_sum_leaves_out_what_is_being_renewed(backend: SqlBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    now, tight = moment(CLOCK.now()), Quota(Ceiling(keys=1))
    limited = Actor("writer", "run", now, quota=tight)
    await backend.apply(HERE, [put("k", expires_at=now + LIFE)], limited)
    real, is_made, goes_on = quotas._done, asyncio.Event(), asyncio.Event()

    async def held_up(*args: Any) -> Any:
        monkeypatch.undo()
        answer = await real(*args)
        is_made.set()
        await goes_on.wait()
        return answer

    monkeypatch.setattr(quotas, "_done", held_up)
    renewing = asyncio.create_task(backend.apply(HERE, [Renewal("k", NEVER)], limited))
    await is_made.wait()
    await past(now + LIFE)
    writing = asyncio.create_task(backend.apply(HERE, [put("other")], limited))
    await asyncio.wait({writing}, timeout=1)
    goes_on.set()

    renewed, wrote = await asyncio.gather(renewing, writing, return_exceptions=True)
    assert isinstance(renewed, Applied)
    assert renewed.changed + isinstance(wrote, Applied) == 1
    assert isinstance(wrote, (Applied, QuotaExceeded))
