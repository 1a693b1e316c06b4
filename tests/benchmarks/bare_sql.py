"""The bare drivers of SQL: what code without the store would call for the same work.

Statements have the shape of the store's own: one entry by its id, live ones only, all columns read, an upsert of the
whole row, and values decoded from JSON and encoded as JSON. They know no users' rights, no limits and no triggers, and
check nothing. `docs/performance.md` says what each does.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from datastore.backends.sql.schema import INDEXES, entries, to_ms
from tests.benchmarks.records import COLUMNS, INSERT, NAMES, DataSet, Writer

CONNECTIONS: Final = 16
_SCHEMA: Final = "bare"
_BATCH: Final = 1000
_VALUE: Final = COLUMNS.index("value")
_KEPT: Final = ("id", "owner", "namespace", "key", *(each for each in COLUMNS if each.startswith("created_")))
_SET: Final = ", ".join(f'"{each}" = excluded."{each}"' for each in COLUMNS if each not in _KEPT)
SELECT: Final = f"SELECT {NAMES} FROM entries WHERE id = ? AND expires_at > ?"  # noqa: S608 - our own names
UPSERT: Final = f"{INSERT} ON CONFLICT (id) DO UPDATE SET {_SET}"
_AMONG: Final = f"SELECT {NAMES} FROM entries WHERE id IN ({{}}) AND expires_at > ?"  # noqa: S608


class BareSqlite:
    """The standard library's driver on a file of its own, in this thread: WAL, and each commit synced."""

    def __init__(self, connection: sqlite3.Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        for statement in _creation("sqlite"):
            connection.execute(statement)

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        found = self._connection.execute(SELECT, (self._writer.id(key), to_ms(datetime.now(UTC)))).fetchone()
        return None if found is None else json.loads(found[_VALUE])

    def set(self, key: str, value: Any) -> None:
        """Write a value."""
        self._connection.execute(UPSERT, self._writer.row(key, value))

    def get_many(self, keys: Sequence[str]) -> list[Any]:
        """Return values."""
        given = (json.dumps([self._writer.id(key) for key in keys]), to_ms(datetime.now(UTC)))
        found = self._connection.execute(_AMONG.format("SELECT value FROM json_each(?)"), given)
        return [json.loads(each[_VALUE]) for each in found.fetchall()]

    def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values, all or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(UPSERT, [self._writer.row(*each) for each in values.items()])
        self._connection.execute("COMMIT")


class BarePostgres:
    """Psycopg over open connections: a call takes a free one, or waits for one."""

    def __init__(self, free: asyncio.Queue[psycopg.AsyncConnection[Any]], writer: Writer) -> None:
        self._free = free
        self._writer = writer
        self._select, self._upsert = SELECT.replace("?", "%s"), UPSERT.replace("?", "%s")
        self._among = _AMONG.replace("IN ({})", "= ANY(%s)").replace("?", "%s")

    def of(self, owner: str) -> BarePostgres:
        """Return the driver, over the same connections, for the entries of another owner."""
        return BarePostgres(self._free, Writer(owner))

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[psycopg.AsyncCursor[Any]]:
        connection = await self._free.get()
        try:
            yield connection.cursor()
        finally:
            self._free.put_nowait(connection)

    async def get(self, key: str) -> Any:
        """Return a value, or None."""
        async with self._cursor() as cursor:
            await cursor.execute(self._select, (self._writer.id(key), to_ms(datetime.now(UTC))))
            found = await cursor.fetchone()
        return None if found is None else json.loads(found[_VALUE])

    async def set(self, key: str, value: Any) -> None:
        """Write a value."""
        async with self._cursor() as cursor:
            await cursor.execute(self._upsert, self._writer.row(key, value))

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """Return values."""
        async with self._cursor() as cursor:
            given = ([self._writer.id(key) for key in keys], to_ms(datetime.now(UTC)))
            await cursor.execute(self._among, given)
            return [json.loads(each[_VALUE]) for each in await cursor.fetchall()]

    async def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values as one pipeline, all or none."""
        async with self._cursor() as cursor:
            await cursor.executemany(self._upsert, [self._writer.row(*each) for each in values.items()])


@asynccontextmanager
async def sqlite(folder: Path, data: DataSet) -> AsyncIterator[BareSqlite]:
    """Yield the driver on a new file that holds the data."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        driver = BareSqlite(connection, Writer("alice"))
        for batch in data.batches(_BATCH):
            driver.set_many(batch)
        yield driver


@asynccontextmanager
async def postgres(url: str, data: DataSet) -> AsyncIterator[BarePostgres]:
    """Yield the driver on a table of its own that holds the data, beside the store's."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (f"CREATE SCHEMA {_SCHEMA}", f"SET search_path = {_SCHEMA}", *_creation("postgresql")):
            connection.execute(statement.encode())
    free: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
    async with AsyncExitStack() as opened:
        for _ in range(CONNECTIONS):
            options = f"-c search_path={_SCHEMA}"
            connected = await psycopg.AsyncConnection.connect(url, autocommit=True, options=options)
            free.put_nowait(await opened.enter_async_context(connected))
        driver = BarePostgres(free, Writer("alice"))
        for batch in data.batches(_BATCH):
            await driver.set_many(batch)
        yield driver


def _creation(name: str) -> list[str]:
    """Return the statements that make the store's table and indexes, without its triggers."""
    dialect = registry.load(name)()
    made: list[ExecutableDDLElement] = [CreateTable(entries), *map(CreateIndex, INDEXES)]
    return [str(each.compile(dialect=dialect)) for each in made]
