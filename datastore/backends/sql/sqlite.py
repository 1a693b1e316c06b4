"""What is SQLite's alone: engines and pragmas, how a transaction begins, how a statement is stopped, error codes.

Theory of operation:

- WAL: readers see the last commit while a writer is at work; one writer at a time, over all processes.
- synchronous=FULL: in WAL, NORMAL syncs only at checkpoints, so a power cut takes back commits that were
  acknowledged. FULL syncs the log at every commit, and fullfsync makes that sync real on macOS.
- The driver is left in autocommit and begins nothing by itself. A lone statement is its own transaction; where several
  belong together the job says BEGIN. A writer says BEGIN IMMEDIATE: a transaction that reads first and asks for the
  lock later can be refused at once, without waiting.
- A locked file is waited for in slices of BUSY_SECONDS inside SQLite, which sleeps in the connection's own thread and
  cannot be interrupted; between slices the runner asks whether the deadline has come.
- In memory there is one connection for everything, because a second one would be another database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    DDL,
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Text,
    bindparam,
    event,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from datastore.backends.sql.dialect import Commands, Lane
from datastore.backends.sql.schema import to_ms
from datastore.backends.sql.visits import Connection
from datastore.ports import Clock

insert: Final = sqlite.insert
BEGIN_WRITE: Final = "BEGIN IMMEDIATE"
BEGIN_READ: Final = "BEGIN"
BEGIN_LONE: Final = BEGIN_WRITE
HOLD_WRITERS: Final = ()
"""The write lock does that."""
COUNT_NOW: Final = ()
"""Triggers have counted already."""
ATOMIC_MANY: Final = False
LOCKS_ROWS: Final = False
CLEAR_ROWS: Final = 250
"""At most 1 GiB of values."""

PARTS: Final = text("SELECT name, NULL AS fault FROM sqlite_schema WHERE type IN ('index', 'trigger')")
INTEGRITY: Final = text("PRAGMA integrity_check(1)")

READERS: Final = 4
BUSY_SECONDS: Final = 0.1
_LOG_BYTES: Final = 64 * 1024 * 1024

_BUSY, _LOCKED, _READONLY, _INTERRUPTED, _BROKEN_IO, _CORRUPT, _FULL = 5, 6, 8, 9, 10, 11, 13
_CANNOT_OPEN, _NOT_A_DATABASE = 14, 26


def lanes(path: str | None, clock: Clock) -> tuple[Lane, Lane]:
    """Return the lane that reads and the one that writes; in memory (None) they are the same."""
    if path is None:
        both = Lane(_engine(None, {}, clock, poolclass=StaticPool), 1)
        return both, both
    writing = {"journal_mode": "WAL", "synchronous": "FULL", "fullfsync": 1, "journal_size_limit": _LOG_BYTES}
    reading = _engine(path, {"query_only": 1}, clock, pool_size=READERS)
    return Lane(reading, READERS), Lane(_engine(path, writing, clock, pool_size=1), 1)


def _engine(path: str | None, pragmas: dict[str, object], clock: Clock, **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=path or ":memory:"),
        connect_args={"timeout": BUSY_SECONDS, "async_creator_fn": Connection},
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        hide_parameters=True,
        pool_reset_on_return=None,
        **({} if path is None else {"max_overflow": 0}),
        **options,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for name, setting in pragmas.items():
            cursor.execute(f"PRAGMA {name}={setting}")
        cursor.close()
        connection.create_function(PRESENT, 0, lambda: to_ms(clock.now()))

    return engine


PRESENT: Final = "store_milliseconds"
"""Our function that tells statements the time; no trigger or index calls it, so that other programs can write too."""


def latest(now: ColumnElement[int]) -> ColumnElement[int]:
    """Return the later of a time and the present: a statement runs when it has the lock that it waited for."""
    return func.max(now, getattr(func, PRESENT)(), type_=BigInteger)


def is_integer(column: Column[str]) -> ColumnElement[bool]:
    """Return whether JSON text is an integer: digits and a sign, and nothing else."""
    return column.op("NOT GLOB", is_comparison=True)(literal_column("'*[^-0-9]*'"))


_ARRAY: Final = func.json_each(bindparam("listed", type_=Text())).table_valued("key", "value")
LISTED: Final = select(_ARRAY.c.value, _ARRAY.c.key.label("position")).subquery("listed")


def listing(items: Sequence[str]) -> object:
    """Return strings as the parameter of `LISTED`."""
    return json.dumps(items)


_NOW: Final = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


def trigger(name: str, event: str, row: str, version: str) -> list[DDL]:
    """Return the statement that makes a trigger; one writer at a time commits in the order of its numbers."""
    columns = "at, owner, namespace, key, version"
    noted = f"{_NOW}, {row}.owner, {row}.namespace, {row}.key, {version}"
    return [
        DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy left its constructor untyped
            f"CREATE TRIGGER IF NOT EXISTS {name} {event} ON entries BEGIN\n"
            f"\tINSERT INTO changes ({columns})\n\tVALUES ({noted});\nEND"
        )
    ]


def counting(name: str, event: str, statements: str) -> list[DDL]:
    """Return the statement that makes a trigger."""
    body = statements.format(counters="counters")
    text = f"CREATE TRIGGER IF NOT EXISTS {name} {event} ON entries BEGIN\n\t{body}\nEND"
    return [DDL(text)]  # type: ignore[no-untyped-call]  # as above


def discounting(name: str) -> list[DDL]:
    """Return the statement that makes a trigger."""
    lost = (
        "UPDATE counters SET held_bytes = held_bytes - old.size_bytes, held_keys = held_keys - 1\n"
        "\tWHERE owner = old.owner AND namespace IN ('', old.namespace);\n"
        "\tDELETE FROM counters WHERE owner = old.owner AND namespace = old.namespace AND held_keys <= 0;"
    )
    return counting(name, "AFTER DELETE", lost)


async def read_header(job: Commands) -> int:
    """Return the field that SQLite keeps for the layout of an application's file."""
    return int((await job.command("PRAGMA user_version")).scalar_one())


async def write_header(job: Commands, needs: int) -> None:
    """Write another number there, within the open transaction."""
    await job.command(f"PRAGMA user_version={needs:d}")


async def hold_starts(_job: Commands, _seconds: float) -> None:
    """Do nothing: the open transaction has the lock of the one writer."""


async def is_unique(job: Commands, index: str) -> bool:
    """Say whether an index of the entries is there, and unique."""
    return any(row.name == index and row.unique for row in await job.command("PRAGMA index_list(entries)"))


async def interrupt(connection: AsyncConnection, _seconds: float) -> None:
    """Stop the statement that the connection is at, if any; it fails and is undone. Waits for nothing."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.interrupt()


async def abandon(_connection: AsyncConnection) -> None:
    """Do nothing: a disk that hangs cannot be told."""


async def release(_connection: AsyncConnection) -> None:
    """Do nothing: an interruption meets the statement at work, or none."""


async def roll_back(connection: AsyncConnection) -> None:
    """Undo the open transaction, if there still is one: SQLite ends it by itself on some errors."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.rollback()


def _code(error: DBAPIError) -> int:
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF


def passes(error: DBAPIError) -> bool:
    """Say whether another connection held the lock."""
    return _code(error) in (_BUSY, _LOCKED)


def leaves_doubt(error: DBAPIError) -> bool:
    """Say whether a write that failed so may come back: a commit can be in the log although its sync failed."""
    return _code(error) == _BROKEN_IO


def trouble(error: DBAPIError) -> str:
    """Return what happened in words of our own, for whoever uses the store."""
    return {
        _BUSY: "the store was busy with other writers all the time",
        _LOCKED: "the store was busy with other writers all the time",
        _INTERRUPTED: "the store did not answer in time",
        _FULL: "the store has no room left",
    }.get(_code(error), "the store cannot be read or written now")


def misconfiguration(error: DBAPIError) -> str | None:
    """Return what is wrong with the file and the remedy, where waiting would not help; else None."""
    return {
        _NOT_A_DATABASE: "it is no SQLite database. Name another file, or move this one away",
        _CORRUPT: "the database is damaged. Restore it from a backup, or move it away to begin anew",
        _CANNOT_OPEN: "it cannot be opened. Let this process write to the file and to its folder",
        _READONLY: "it cannot be written. Let this process write to the file and to its folder",
    }.get(_code(error))
