"""Peers: other libraries that keep values under keys, doing the same work in the same rounds.

They are optional, and installed apart from the tests' environment: `make bench peers=1`. Each is used as its own
documentation shows, with its defaults.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.bars import DISKCACHE, LANGGRAPH, PY_KEY_VALUE
from tests.benchmarks.loops import Arguments
from tests.benchmarks.records import DataSet
from tests.benchmarks.rounds import Play, awaiting, blocking

PACKAGES: Final = {
    "sqlite": {DISKCACHE: "diskcache", LANGGRAPH: "langgraph-checkpoint-sqlite"},
    "mongodb": {PY_KEY_VALUE: "py-key-value-aio", LANGGRAPH: "langgraph-store-mongodb"},
}
"""The peers of each engine, with the package that each needs."""
_NAMESPACE: Final = ("alice", "default")
_COLLECTION: Final = "alice"


def installed(engine: str) -> list[str]:
    """Return the names of an engine's peers that are installed."""
    return [name for name, package in PACKAGES.get(engine, {}).items() if _version(package) is not None]


def versions() -> list[str]:
    """Return the names and versions of all peers that are installed."""
    packages = sorted({each for named in PACKAGES.values() for each in named.values()})
    return [f"{each} {version}" for each in packages if (version := _version(each)) is not None]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class Peer:
    """A peer that holds the data: its two verbs, which are called with a key, and with a key and a value."""

    def __init__(self, get: Any, put: Any, *, awaited: bool) -> None:
        self.get = get
        self.set = put
        self.awaited = awaited

    def play(self, verb: str, arguments: Sequence[Arguments]) -> Play:
        """Return what calls a verb again and again."""
        call = getattr(self, verb)
        return awaiting(call, arguments) if self.awaited else blocking(call, arguments)

    async def fill(self, data: DataSet) -> None:
        """Write the data."""
        for pair in zip(data.keys, data.values, strict=True):
            written = self.set(*pair)
            if self.awaited:
                await written


@asynccontextmanager
async def opened(engine: str, url: str, folder: Path, data: DataSet) -> AsyncIterator[dict[str, Peer]]:
    """Yield the installed peers of an engine by name, each holding the data."""
    async with AsyncExitStack() as opening:
        found: dict[str, Peer] = {}
        for name in installed(engine):
            made = _OPENERS[engine, name](url, folder)
            found[name] = await opening.enter_async_context(made)
            await found[name].fill(data)
        yield found


@asynccontextmanager
async def _diskcache(_url: str, folder: Path) -> AsyncIterator[Peer]:
    from diskcache import Cache  # noqa: PLC0415 - optional

    with Cache(str(folder / "diskcache")) as cache:
        yield Peer(cache.get, cache.set, awaited=False)


@asynccontextmanager
async def _langgraph_sqlite(_url: str, folder: Path) -> AsyncIterator[Peer]:
    from langgraph.store.sqlite import SqliteStore  # noqa: PLC0415 - optional

    with SqliteStore.from_conn_string(str(folder / "langgraph.db")) as store:
        store.setup()
        yield _langgraph(store)


@asynccontextmanager
async def _langgraph_mongo(url: str, _folder: Path) -> AsyncIterator[Peer]:
    from langgraph.store.mongodb import MongoDBStore  # noqa: PLC0415 - optional
    from pymongo import MongoClient  # noqa: PLC0415 - beside its user

    with MongoClient[dict[str, Any]](url) as client:
        yield _langgraph(MongoDBStore(client.get_default_database()["langgraph"]))


def _langgraph(store: Any) -> Peer:
    def get(key: str) -> Any:
        return store.get(_NAMESPACE, key)

    def put(key: str, value: Any) -> None:
        store.put(_NAMESPACE, key, value)

    return Peer(get, put, awaited=False)


@asynccontextmanager
async def _py_key_value(url: str, _folder: Path) -> AsyncIterator[Peer]:
    from key_value.aio.stores.mongodb import MongoDBStore  # noqa: PLC0415 - optional
    from pymongo import AsyncMongoClient  # noqa: PLC0415 - beside its user

    async with AsyncMongoClient[dict[str, Any]](url) as client:
        name = client.get_default_database().name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # It warns that its stored form may change.
            store = MongoDBStore(client=client, db_name=name, default_collection=_COLLECTION)
        async with store:
            yield Peer(store.get, store.put, awaited=True)


_OPENERS: Final[dict[tuple[str, str], Any]] = {
    ("sqlite", DISKCACHE): _diskcache,
    ("sqlite", LANGGRAPH): _langgraph_sqlite,
    ("mongodb", LANGGRAPH): _langgraph_mongo,
    ("mongodb", PY_KEY_VALUE): _py_key_value,
}
