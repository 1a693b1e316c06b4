"""Databases for benchmarks: real servers as the tests start them, but as durable and as large as in use.

Servers start when they are first asked for, and what they hold goes when they stop.
"""

from __future__ import annotations

import importlib.metadata
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pymongo

from tests.benchmarks.figures import engine_of
from tests.servers.fresh import fresh
from tests.servers.lending import Databases
from tests.servers.mongo import empty_database, fresh_database, mongod
from tests.servers.postgres import empty_postgres, fresh_postgres, postgres
from tests.world import address

MONGO_CACHE_GIGABYTES: Final = 1.0
IN_USE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "deadlock_timeout": "1s",
    "shared_buffers": "256MB",
}
"""Settings of PostgreSQL that tests turn off; with `fsync=off` neither store nor bare driver waits for the disk."""
DRIVERS: Final = {
    "sqlite": ("aiosqlite", "SQLAlchemy"),
    "postgresql": ("psycopg", "SQLAlchemy"),
    "motor": ("motor", "pymongo"),
    "pymongo": ("pymongo",),
}


class Engines:
    """Empty databases of each backend.

    Args:
        closing: ends the servers.
    """

    def __init__(self, closing: ExitStack) -> None:
        self._closing = closing
        self._urls: dict[str, str] = {}
        self._databases: dict[str, Databases] = {}

    def address(self, backend: str, folder: Path) -> AbstractContextManager[str]:
        """Return the context in which an empty database of a backend has a URL."""
        return address(backend, folder, self._lending)

    def fresh(self, backend: str, folder: Path) -> AbstractContextManager[str]:
        """Yield the URL of a database that is dropped afterwards as a whole, however much it holds."""
        return fresh(engine_of(backend), folder, self._url)

    def version(self, backend: str) -> str:
        """Return the name and version of an engine, asked of the server itself."""
        if backend == "sqlite":
            return f"SQLite {sqlite3.sqlite_version}"
        if backend == "postgresql":
            with psycopg.connect(self._url("postgresql")) as connection:
                found = connection.execute("SHOW server_version").fetchone()
                return f"PostgreSQL {found[0] if found else '?'}"
        with pymongo.MongoClient[dict[str, Any]](self._url("mongodb")) as client:
            return f"MongoDB {client.server_info()['version']}"

    def _url(self, scheme: str) -> str:
        if scheme not in self._urls:
            server = mongod(MONGO_CACHE_GIGABYTES) if scheme == "mongodb" else postgres(**IN_USE)
            self._urls[scheme] = self._closing.enter_context(server)
        return self._urls[scheme]

    def _lending(self, scheme: str) -> Databases:
        if scheme not in self._databases:
            made = (fresh_database, empty_database) if scheme == "mongodb" else (fresh_postgres, empty_postgres)
            self._databases[scheme] = Databases(self._url(scheme), *made)
            self._closing.callback(self._databases[scheme].close)
        return self._databases[scheme]


@contextmanager
def engines() -> Iterator[Engines]:
    """Yield the engines; servers that were started end afterwards."""
    with ExitStack() as closing:
        yield Engines(closing)


def drivers(backend: str) -> str:
    """Return the names and versions of a backend's libraries."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in DRIVERS[backend])
