"""SQLite's connections: a statement is run and read in one visit to the connection's thread.

aiosqlite visits it four times: for a cursor, to run the statement, to read the rows, and to close the cursor. Most
statements here are answered in less time than one such visit takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite

Rows = list[tuple[Any, ...]]
_Answer = tuple[Any, int, int | None, Rows]


class Connection(aiosqlite.Connection):
    """A connection with cursors of one visit; what it is given besides is as of `sqlite3.connect`."""

    def __init__(self, database: str, **options: Any) -> None:
        super().__init__(partial(sqlite3.connect, database, **options), iter_chunk_size=1)
        self._thread.daemon = True  # A statement that hangs must not hold up the end of the process.

    def cursor(self) -> Cursor:  # type: ignore[override]  # SQLAlchemy enters it by hand, and wants no more
        """Return a cursor; nothing is visited yet."""
        return Cursor(self)

    async def visit(self, act: Callable[[sqlite3.Cursor], object]) -> _Answer:
        """Do something with a cursor, and return its description, rows changed, last row id and rows."""
        answer: _Answer = await self._execute(_answer, self._conn, act)  # type: ignore[no-untyped-call]  # as it is there
        return answer


class Cursor:
    """What SQLAlchemy needs of a driver's cursor: it holds an answer, and nothing of SQLite's."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answer: _Answer = (None, -1, None, [])

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        """The columns of the answer; None where it has none."""
        return self._answer[0]

    @property
    def rowcount(self) -> int:
        """How many rows were changed; -1 where that is not known."""
        return self._answer[1]

    @property
    def lastrowid(self) -> int | None:
        """The number of the row that was inserted last."""
        return self._answer[2]

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement and read all of its rows."""
        self._answer = await self._connection.visit(lambda cursor: cursor.execute(statement, parameters))

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of several parameters."""
        self._answer = await self._connection.visit(lambda cursor: cursor.executemany(statement, parameters))

    async def fetchall(self) -> Rows:
        """Hand on the rows that were read; else the connection's thread would hold them until its next visit."""
        rows = self._answer[3].copy()
        self._answer[3].clear()
        return rows

    async def close(self) -> None:
        """Do nothing: what SQLite held for it was let go when its rows had been read."""


def _answer(connection: sqlite3.Connection, act: Callable[[sqlite3.Cursor], object]) -> _Answer:
    cursor = connection.cursor()
    try:
        act(cursor)
        rows = cursor.fetchall()  # First: what RETURNING changes is counted while it is read.
        return cursor.description, cursor.rowcount, cursor.lastrowid, rows
    finally:
        cursor.close()
