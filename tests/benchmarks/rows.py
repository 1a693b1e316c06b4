"""Rows of `make bench`: the contenders that take turns at each operation.

In the host means through `connect(store, ...).aio`, in the event loop of the store; a bare driver and the peers work in
the same process and loop. From a guest means agent code in a strict sandbox, timed there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from datastore import Scope, Store, open_store
from datastore.settings import Settings
from sandbox import Sandbox, connect
from sandbox.guest.verbs import AsyncDataStore
from tests.benchmarks import bare_mongo, bare_sql, bars, peers, records
from tests.benchmarks.bare_sql import BarePostgres, BareSqlite
from tests.benchmarks.figures import MONGO, Measure, Row, engine_of
from tests.benchmarks.guests import Guest, Guests
from tests.benchmarks.operations import Operation, Options, operations
from tests.benchmarks.peers import Peer
from tests.benchmarks.records import DataSet
from tests.benchmarks.rounds import Contender, Play, awaiting, blocking, side_by_side, take_turns
from tests.uids import RUN_AS

_BATCH: Final = 500


class Bench:
    """One backend: its store, a sandbox, the bare driver and the peers, all open and holding the same data."""

    def __init__(self, backend: str, options: Options) -> None:
        self._backend = backend
        self._options = options
        self._opened = AsyncExitStack()
        self.data = DataSet.of(options.entries)
        self.store: Store
        self._sandbox: Sandbox
        self._bare: Any
        self._peers: dict[str, Peer] = {}

    @asynccontextmanager
    async def open(self, url: str, folder: Path) -> AsyncIterator[Bench]:
        """Yield this, open."""
        settings = Settings(url=url, mongo_driver="pymongo" if self._backend == "pymongo" else "motor")
        async with self._opened as opened:
            self.store = await opened.enter_async_context(open_store(settings=settings))
            await self._fill(self.scope("alice"), self.data)
            self._sandbox = await opened.enter_async_context(Sandbox(self.store, run_as=RUN_AS))
            self._bare = await opened.enter_async_context(self._driver(url, folder))
            engine = engine_of(self._backend)
            self._peers = await opened.enter_async_context(peers.opened(engine, url, folder, self.data))
            yield self

    def scope(self, user: str) -> Scope:
        """Return who acts for a user."""
        return Scope(user=user, agent=records.AGENT, run=records.RUN)

    def host(self, user: str) -> AsyncDataStore:
        """Return a user's data_store in this process; it ends with the bench. All rows of the host go through it."""
        return self._opened.enter_context(connect(self.store, scope=self.scope(user))).aio

    def rows(self) -> dict[str, Callable[[], Awaitable[Row]]]:
        """Return what measures each row, by name."""
        found: dict[str, Callable[[], Awaitable[Row]]] = {
            each.name: partial(self.measure, each) for each in operations(self.data)
        }
        if self._backend in MONGO:
            found[bars.READING] = self.reading
        elif self._backend == "postgresql":
            found[bars.WRITING] = self.writing
        return found

    async def measure(self, operation: Operation) -> Row:
        """Return the row of an operation."""
        call = getattr(self.host("alice"), operation.verb)
        host = Contender(bars.HOST, awaiting(call, operation.arguments, operation.width), self.store.flush)
        bare = Contender(bars.BARE, self._play_bare(operation))
        asked = (operation.verb, operation.arguments, operation.width)
        async with Guest().running(self._sandbox, self.scope("alice"), *asked) as running:
            guest = Contender(bars.GUEST, running.play, self.store.flush)
            contenders = [bare, host, guest, *self._beside(operation)]
            return await self._row(operation.name, contenders, operation.measure)

    async def reading(self) -> Row:
        """Return the row of many guests that read at once, each of a user of its own, beside as many tasks."""
        users, data = await self._users(self._options.users)
        arguments = [(key,) for key in data.keys]
        gets = {bars.BARE: self._bare.get}
        gets |= {name: each.get for name, each in self._peers.items() if name == bars.PY_KEY_VALUE}
        others = [Contender(name, side_by_side([get] * len(users), arguments)) for name, get in gets.items()]
        async with Guests.running(self._sandbox, [self.scope(each) for each in users], "get", arguments) as guests:
            return await self._row(bars.READING, [*others, Contender(bars.GUEST, guests.play, self.store.flush)])

    async def writing(self) -> Row:
        """Return the row of several users who write at once, beside as many tasks."""
        assert isinstance(self._bare, BarePostgres)
        users, data = await self._users(min(bars.WRITERS, self._options.users))
        drivers = [self._bare.of(each) for each in users]
        for each in drivers:
            await each.set_many(dict(zip(data.keys, data.values, strict=True)))
        arguments = list(zip(data.keys, data.values, strict=True))
        bare = Contender(bars.BARE, side_by_side([each.set for each in drivers], arguments))
        sets = [self.host(each).set for each in users]
        return await self._row(bars.WRITING, [bare, Contender(bars.HOST, side_by_side(sets, arguments))])

    async def _users(self, many: int) -> tuple[list[str], DataSet]:
        """Return the names of users, and the data that each of them has then."""
        users, data = [f"user-{number}" for number in range(many)], DataSet.of(bars.MANY)
        for each in users:
            await self._fill(self.scope(each), data)
        return users, data

    def _beside(self, operation: Operation) -> list[Contender]:
        """Return the peers that can do an operation."""
        if operation.width > 1 or operation.verb not in {"get", "set"}:
            return []
        return [Contender(name, each.play(operation.verb, operation.arguments)) for name, each in self._peers.items()]

    async def _row(self, name: str, contenders: Sequence[Contender], measure: Measure = "throughput") -> Row:
        options = self._options
        samples = await take_turns(contenders, options.rounds, options.seconds)
        return Row(self._backend, name, measure, samples)

    def _play_bare(self, operation: Operation) -> Play:
        call = getattr(self._bare, operation.verb)
        if isinstance(self._bare, BareSqlite):  # It has one writer at a time, and blocks: one after another.
            return blocking(call, operation.arguments)
        return awaiting(call, operation.arguments, operation.width)

    def _driver(self, url: str, folder: Path) -> Any:
        match self._backend:
            case "sqlite":
                return bare_sql.sqlite(folder, self.data)
            case "postgresql":
                return bare_sql.postgres(url, self.data)
        return bare_mongo.mongo(self._backend, url, self.data)

    async def _fill(self, scope: Scope, data: DataSet) -> None:
        with connect(self.store, scope=scope) as data_store:
            for batch in data.batches(_BATCH):
                await data_store.aio.set_many(batch)


async def measure(backend: str, url: str, folder: Path, options: Options) -> AsyncIterator[Row]:
    """Give the rows of a backend as they are measured; where one fails, it says why, and the next one follows."""
    try:
        async with Bench(backend, options).open(url, folder) as bench:
            for name, call in bench.rows().items():
                try:
                    yield await call()
                except Exception as error:  # noqa: BLE001 - whatever it is, the other rows are still wanted
                    yield Row(backend, name, error=_shown(error))
    except Exception as error:  # noqa: BLE001 - as above, of the other backends
        yield Row(backend, "all", error=_shown(error))


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
