"""A store on one backend, with a clock of its own and any number of agents: what the contract suite runs on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from datastore import Grant, Limits, Scope, Settings
from datastore.assembly import open_engine
from datastore.document import moment
from datastore.models import operator_scope
from datastore.operations import Answer, Operation
from datastore.ports import Clock, Engine
from datastore.service.layouts import LayoutGuard
from datastore.service.store import Store
from sandbox import ConnectedDataStore, connect
from tests.servers.lending import Databases
from tests.servers.mock_mongo import mock_backend

T = TypeVar("T")

REAL: Final = ("sqlite", "postgresql", "motor", "pymongo")
BACKENDS: Final = (*REAL, "mock")
SEPARATE: Final = ("sqlite", "postgresql", "motor")
"""One of each engine that several processes can open."""
Servers = Callable[[str], Databases]
"""The databases of a real server, by the scheme of its URLs; it is started when it is first asked for."""

NEVER_FLUSH: Final = 3600.0
WAIT_SECONDS: Final = 60


class ManualClock:
    """A clock that starts an hour from now, stands still, and is advanced by hand.

    Engines compare their server's own time too, which must not overtake it within a test.
    """

    def __init__(self) -> None:
        self._now = moment(datetime.now(UTC) + timedelta(hours=1))

    def now(self) -> datetime:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now = moment(self._now + timedelta(seconds=seconds))


class Loop:
    """An event loop in a thread of its own, as a host would have."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test host")
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine there and wait for it."""

        async def wrapped() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result(WAIT_SECONDS)

    def stop(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT_SECONDS)
        self.loop.close()


class World:
    """One open store, and the agents of its users."""

    def __init__(self, loop: Loop, store: Store, clock: ManualClock, backend: str) -> None:
        self.loop = loop
        self.store = store
        self.clock = clock
        self.backend = backend
        self._connections: list[ConnectedDataStore] = []

    def agent(
        self,
        user: str = "alice",
        agent: str = "writer",
        *,
        run: str = "run-1",
        grants: tuple[Grant, ...] = (Grant.own(),),
        limits: Limits | None = None,
    ) -> ConnectedDataStore:
        """Return the data_store of an agent of a user."""
        scope = Scope(user=user, agent=agent, run=run, grants=grants, limits=limits or Limits())
        connection = connect(self.store, scope=scope)
        self._connections.append(connection)
        return connection

    def execute(self, operation: Operation, *, user: str = "alice") -> Answer:
        """Execute an operation as the operator of a user's data."""
        return self.loop.run(self.store.execute(operator_scope(user, "tests"), operation))

    def flush(self) -> None:
        """Write counted reads now."""
        self.loop.run(self.store.flush())

    def close(self) -> None:
        """Close every agent's connection."""
        for connection in self._connections:
            connection.close()


@contextmanager
def world(loop: Loop, backend: str, folder: Path, servers: Servers) -> Iterator[World]:
    """Open a store on an empty database of a backend."""
    clock = ManualClock()
    opening = opened(backend, folder, servers, clock)
    store = loop.run(opening.__aenter__())
    made = World(loop, store, clock, backend)
    try:
        yield made
    finally:
        made.close()
        loop.run(opening.__aexit__(None, None, None))


def opened(backend: str, folder: Path, servers: Servers, clock: Clock) -> AbstractAsyncContextManager[Store]:
    """Return the context in which the store is open; its counts are flushed only by hand."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Store]:
        with address(backend, folder, servers) as url:
            engine = await _engine(backend, url, clock)
            store = Store(engine, clock=clock, flush_seconds=NEVER_FLUSH, timeout_seconds=WAIT_SECONDS)
            try:
                yield store
            finally:
                await store.aclose()

    return opening()


def bare(engine: Engine) -> Any:
    """Return the backend itself, without the guard of the layout, for tests that look inside."""
    return engine._engine if isinstance(engine, LayoutGuard) else engine


async def _engine(backend: str, url: str, clock: Clock) -> Engine:
    if backend == "mock":
        return await mock_backend(clock)
    driver = "pymongo" if backend == "pymongo" else "motor"
    return await open_engine(url, Settings(mongo_driver=driver, operation_timeout_seconds=WAIT_SECONDS), clock)


@contextmanager
def address(backend: str, folder: Path, servers: Servers) -> Iterator[str]:
    """Yield the URL of an empty database of a backend."""
    if backend in ("motor", "pymongo"):
        with servers("mongodb").lent() as url:
            yield url
    elif backend == "postgresql":
        with servers("postgresql").lent() as url:
            yield url
    else:
        yield f"sqlite:///{folder / 'store.db'}"
