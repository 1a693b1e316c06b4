"""What differs between the engines, and nothing else: `sqlite` and `postgres` are the two modules of this shape.

Everything above it, statements included, is written once. Whoever adds a statement keeps to what both engines
understand, and to these rules, without which PostgreSQL would deadlock or lose a race that SQLite cannot have:

- Rows of one statement are locked in the order of their keys.
- What is removed by a sub-select is locked by it (`with_for_update`, which SQLite needs not and leaves out).
- Entries are locked before the counters of their owner, and the whole before a namespace.
- Where a statement was sent that may be committed, `Job` notes it; nothing is sent around the job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import DDL, Column, ColumnElement, CursorResult, Subquery, Table, Text, TextClause
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

NAME = Text(collation="BINARY").with_variant(Text(collation="C"), "postgresql")
"""Text that compares as bytes."""


Inserting = Callable[[Table], lite.Insert | pg.Insert]
IsInteger = Callable[[Column[str]], ColumnElement[bool]]
Latest = Callable[[ColumnElement[int]], ColumnElement[int]]
"""Returns the later of a time in milliseconds and the present."""


@dataclass(frozen=True, eq=False)
class Lane:
    """Connections for one kind of work, and how many jobs use them at the same time."""

    engine: AsyncEngine
    width: int


class Commands(Protocol):
    """Runs statements of the engine's own: a `Job`."""

    async def command(self, text: str) -> CursorResult[Any]:
        """Run a statement without data in it."""


class Dialect(Protocol):
    """What a piece of work, the runner and the errors ask of an engine."""

    @property
    def BEGIN_WRITE(self) -> str:  # noqa: N802 - a module's constant
        """How a transaction begins that writes, and whose outcome is as if it were alone."""

    @property
    def BEGIN_READ(self) -> str:  # noqa: N802 - as above
        """How one begins that reads, at one moment in time."""

    @property
    def BEGIN_LONE(self) -> str:  # noqa: N802 - as above
        """How one begins around statements of which each would do alone."""

    @property
    def HOLD_WRITERS(self) -> tuple[str, ...]:  # noqa: N802 - as above
        """What lets writers of entries end, and others wait for the end of the open transaction."""

    @property
    def COUNT_NOW(self) -> tuple[str, ...]:  # noqa: N802 - as above
        """What makes counters tell of the open transaction's own writes."""

    @property
    def ATOMIC_MANY(self) -> bool:  # noqa: N802 - as above
        """Whether one statement with many parameters is all or nothing without a transaction around it."""

    @property
    def CLEAR_ROWS(self) -> int:  # noqa: N802 - as above
        """How many rows are removed before other writers have their turn."""

    @property
    def PARTS(self) -> TextClause:  # noqa: N802 - as above
        """What gives the `name` of every index and trigger that stands, and its `fault`, NULL for none."""

    @property
    def INTEGRITY(self) -> TextClause | None:  # noqa: N802 - as above
        """What reads everything and gives `ok`, or what is damaged; None: the engine has no such statement."""

    @property
    def LOCKS_ROWS(self) -> bool:  # noqa: N802 - as above
        """Whether a writer waits for rows within its statement, not for a lock before it."""

    @property
    def latest(self) -> Latest:
        """What asks for the time of the server, or of the store's clock, at the moment of a comparison."""

    @property
    def insert(self) -> Inserting:
        """What makes an insertion that knows ON CONFLICT."""

    @property
    def is_integer(self) -> IsInteger:
        """What says whether JSON text is an integer."""

    @property
    def LISTED(self) -> Subquery:  # noqa: N802 - as above
        """The strings of the parameter `listed`, one however many they are, as a table of `value` and `position`."""

    def listing(self, items: Sequence[str]) -> object:
        """Return strings as that parameter."""

    def trigger(self, name: str, event: str, row: str, version: str) -> list[DDL]:
        """Return the statements that make a trigger which notes a row of `entries` in `changes`, where it is missing.

        Numbers must rise in the order in which transactions commit.
        """

    def counting(self, name: str, event: str, statements: str) -> list[DDL]:
        """Return the statements that make a trigger which counts, at the commit or before `COUNT_NOW`.

        Args:
            name: the trigger's.
            event: of a row of `entries`.
            statements: with `{counters}` for that table's name.
        """

    def discounting(self, name: str) -> list[DDL]:
        """Return the statements that make the trigger which counts what is removed."""

    async def read_header(self, job: Commands) -> int:
        """Return the lowest layout that a host must support, from a header beside the tables."""

    async def write_header(self, job: Commands, needs: int) -> None:
        """Write another number there."""

    async def hold_starts(self, job: Commands, seconds: float) -> None:
        """Let no other start change the schema before the open transaction ends, which may take so long.

        It waits for a table no longer than an operation does, because later operations would wait behind it.
        """

    async def is_unique(self, job: Commands, index: str) -> bool:
        """Say whether an index of the entries is there, and unique."""

    async def interrupt(self, connection: AsyncConnection, seconds: float) -> None:
        """Stop the statement that the connection is at, if any; it fails and is undone. Never raises."""

    async def abandon(self, connection: AsyncConnection) -> None:
        """Let go of a connection that does not answer, where that is possible, so that its user fails."""

    async def release(self, connection: AsyncConnection) -> None:
        """Take back a connection whose job was stopped."""

    async def roll_back(self, connection: AsyncConnection) -> None:
        """Undo the open transaction, if there still is one."""

    def passes(self, error: DBAPIError) -> bool:
        """Say whether the same work, done anew, may succeed soon."""

    def leaves_doubt(self, error: DBAPIError) -> bool:
        """Say whether what failed so may be committed all the same."""

    def trouble(self, error: DBAPIError) -> str:
        """Return what happened in words of our own, for whoever uses the store."""


def sqlstate(error: DBAPIError) -> str | None:
    """Return the five characters by which the SQL standard names an error; None: the server did not say."""
    found = getattr(error.orig, "sqlstate", None)
    return None if found is None else str(found)
