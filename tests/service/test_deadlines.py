"""One deadline for an operation, counted from its start, whatever steps it takes."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

import pytest

from datastore import Limits, Scope, Settings, deadlines
from datastore.assembly import open_engine
from datastore.clock import SystemClock
from datastore.errors import StoreUnavailable
from datastore.operations import Apply, Clear, Copy, Count, Get, GetUsage, Incr, Namespaces, Operation, Put, Scan, Watch
from datastore.ports import Engine
from datastore.service.audit import Audit
from datastore.service.store import Store

BOUND_SECONDS: Final = 30
LIMITED: Final = Scope(user="alice", agent="writer", limits=Limits(user_keys=100))
PUT: Final = Put(key="k", value=1, metadata={"source": "crm"})
OPERATIONS: Final[list[Operation]] = [
    Apply(namespace="n", mutations=(PUT,)),
    Apply(namespace="n", mutations=(PUT, Put(key="l", value=1, metadata={"a": 1}))),
    Apply(namespace="n", mutations=(Incr(key="n", by=1),)),
    Apply(namespace="n", mutations=(Put(key="k", value=1), Put(key="l", value=1)), atomic=True),
    Get(namespace="n", keys=("k",)),
    Scan(namespace="n"),
    Namespaces(),
    Count(namespace="n"),
    GetUsage(),
    Copy(namespace="n", target="m"),
    Watch(namespace="n"),
    Clear(namespace="n"),
]


class Noting:
    """An engine that notes the deadline of each call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.noted: list[tuple[str, float]] = []
        self.appended = asyncio.Event()
        """Set when the audit log was written."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if not asyncio.iscoroutinefunction(found) or name == "aclose":
            return found

        @functools.wraps(found)
        async def noting(*given: Any, **named: Any) -> Any:
            self.noted.append((name, deadlines._until.get()))
            answer = await found(*given, **named)
            if name == "append":
                self.appended.set()
            return answer

        return noting


@pytest.fixture
async def engine(tmp_path: Path) -> Engine:
    return await open_engine(f"sqlite:///{tmp_path / 'store.db'}", Settings(), SystemClock())


@pytest.fixture
async def noting(engine: Engine) -> Noting:
    return Noting(engine)


@pytest.fixture
async def store(noting: Noting) -> AsyncIterator[Store]:
    engine = cast("Engine", noting)
    clock = SystemClock()
    opened = Store(
        engine, clock=clock, limits=Limits(user_bytes=1000), audit=Audit(engine, clock, "all", flush_seconds=0.01)
    )
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: type(each).__name__)
async def test_all_steps_of_an_operation_have_the_deadline_of_its_start(
    store: Store, noting: Noting, operation: Operation
) -> None:
    await store.execute(LIMITED, Apply(namespace="n", mutations=(Put(key="k", value=0),)))
    noting.noted.clear()

    await store.execute(LIMITED, operation)

    own = [
        each for _, each in noting.noted if each != math.inf
    ]  # What works for all users has no operation's deadline.
    assert own
    assert len(set(own)) == 1


async def test_shared_work_outlives_the_operation_that_began_it(store: Store, noting: Noting) -> None:
    with deadlines.within(0.001), pytest.raises(StoreUnavailable):
        await store.execute(LIMITED, Get(namespace="n", keys=("k",)))

    await store.execute(LIMITED, Get(namespace="n", keys=("k",)))
    async with asyncio.timeout(BOUND_SECONDS):
        await noting.appended.wait()

    assert dict(noting.noted)["append"] == math.inf


async def test_an_earlier_deadline_stays() -> None:
    with deadlines.within(10):
        outer = deadlines._until.get()
        with deadlines.within(20):
            assert deadlines._until.get() == outer
        with deadlines.within(5):
            assert deadlines._until.get() < outer
        assert deadlines._until.get() == outer
    assert deadlines.left() == math.inf


async def test_a_deadline_ends_the_wait_but_not_the_shared_work() -> None:
    done = asyncio.Event()
    task = asyncio.create_task(done.wait())
    with deadlines.within(0.01), pytest.raises(StoreUnavailable, match="did not answer in time"):
        await deadlines.wait_for(task)
    assert not task.done()
    done.set()
    assert await task
