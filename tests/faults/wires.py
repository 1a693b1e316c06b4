"""Stores over wires that tests break, and what breaks: the answers to statements of a kind, on any engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from datastore import Scope, Settings, open_store
from datastore.errors import StoreUnavailable
from datastore.service.store import Store
from sandbox import ConnectedDataStore, connect
from tests.mongo import proxy
from tests.servers.wire import Fault, Wire, between

ENGINES: Final = ("postgresql", "motor", "pymongo")
BOUND_SECONDS: Final = 120
DEADLINE_SECONDS: Final = 5.0
MANY: Final = {f"k{number:04}": number for number in range(2500)}
"""More than one page, and more than one frame."""

Breaking = Callable[[Wire], None]
SIGNS: Final = {
    "postgresql": {"reads": ("SELECT",), "writes": ("INSERT", "UPDATE", "DELETE"), "commits": ("COMMIT",)},
    "mongodb": {
        "reads": ("find", "aggregate"),
        "writes": ("update", "delete", "findAndModify"),
        "commits": ("commitTransaction",),
    },
}


def breaking(fault: Fault, what: str) -> Breaking:
    """Break the answers to all statements of a kind."""

    def broken(wire: Wire) -> None:
        mongo = isinstance(wire, proxy.Proxy)
        signs = SIGNS["mongodb" if mongo else "postgresql"][what]
        found = (
            (lambda chunk: proxy.named(chunk, signs))
            if mongo
            else (lambda chunk: any(s.encode() in chunk for s in signs))
        )
        wire.break_when(fault, 10_000, found)

    return broken


def settings(engine: str, seconds: float = DEADLINE_SECONDS, **given: Any) -> Settings:
    """Return settings with a deadline, and an engine's driver."""
    driver = "pymongo" if engine == "pymongo" else "motor"
    return Settings(mongo_driver=driver, connect_timeout_seconds=30, operation_timeout_seconds=seconds, **given)


@asynccontextmanager
async def over_a_wire(
    engine: str, url: str, seconds: float = DEADLINE_SECONDS, **given: Any
) -> AsyncIterator[tuple[Store, Wire]]:
    """Open a store over a wire, which is whole again when the store closes."""
    kind: type[Wire] = Wire if engine == "postgresql" else proxy.Proxy
    async with (
        between(url, kind) as (wire, over),
        open_store(over, settings=settings(engine, seconds, **given)) as store,
    ):
        try:
            yield store, wire
        finally:
            wire.times = 0
            wire.come_back()


async def answering(store: Store) -> None:
    """Wait until the store answers again; a driver may wait a while before it looks."""
    while True:
        with suppress(StoreUnavailable):
            await store.engine.head()
            return
        await asyncio.sleep(0.1)


@asynccontextmanager
async def whole_and_wired(engine: str, url: str) -> AsyncIterator[tuple[Store, Store, Wire]]:
    """Open a store twice: as it is, and over a wire."""
    async with (
        asyncio.timeout(BOUND_SECONDS),
        open_store(url) as whole,
        over_a_wire(engine, url) as (store, wire),
    ):
        yield whole, store, wire


def agent(store: Store, user: str = "alice") -> ConnectedDataStore:
    """Return what an agent of a user sees."""
    return connect(store, scope=Scope(user=user, agent="writer"))
