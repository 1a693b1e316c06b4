"""What is PostgreSQL's alone: connections and their session, how a statement is stopped, what its errors mean.

Theory of operation:

- The driver is left in autocommit, so a lone statement is its own transaction and one round trip. One statement with
  many parameters goes as one pipeline, which is one trip too, and all or nothing.
- Where several statements belong together, the transaction is serializable: it ends as if it were alone, or fails and
  is made again by the runner, as one does that met a deadlock.
- Changes are noted when their transaction commits, and one transaction at a time: whoever reads up to a number has
  then missed none below it. So one commit at a time is synced; what comes before it goes side by side.
- The server ends what runs for longer than an operation may, what waits for a lock for longer, and a transaction whose
  host has gone silent; so nothing that this host leaves behind holds others up. An earlier deadline is sent as a
  cancellation. One that comes late would meet the connection's next statement, so such a connection is not used again.
- Every statement is written for an index. Namespaces grow and go faster than statistics of the one table can tell, so
  the planner is not asked whether a scan, a sort or a hash of what it guesses to be few rows might do as well.
- A connection that ended while it lay in the pool, as after a restart, is noticed by looking at its socket, without a
  round trip. One that ended under a statement has left doubt if the statement could commit.
- An unanswered connection is cut off from our side, so that its job ends and gives its turn back.
"""

from __future__ import annotations

import math
import os
import re
import select as polling
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from sqlalchemy import DDL, BigInteger, Column, ColumnElement, Text, bindparam, cast, event, func, literal_column, text
from sqlalchemy import select as selecting
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from datastore.backends.sql.dialect import Commands, Lane, sqlstate
from datastore.settings import Settings

insert: Final = postgresql.insert
BEGIN_WRITE: Final = "BEGIN ISOLATION LEVEL SERIALIZABLE"
BEGIN_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
BEGIN_LONE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
HOLD_WRITERS: Final = ("LOCK TABLE entries IN SHARE MODE",)
COUNT_NOW: Final = ("SET CONSTRAINTS counted_inserted, counted_updated IMMEDIATE",)
ATOMIC_MANY: Final = True
LOCKS_ROWS: Final = True
CLEAR_ROWS: Final = 10_000
CONNECTIONS: Final = 10
SCHEMA: Final = "datastore"
PARTS: Final = text(
    "SELECT relname AS name, CASE WHEN NOT indisvalid OR NOT indisready THEN"
    " 'it is not valid, so no statement uses it; drop it, and the next start makes it again' END AS fault"
    " FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relnamespace = 'datastore'::regnamespace"
    " UNION ALL SELECT tgname, CASE WHEN tgenabled IN ('D', 'R') THEN"
    " 'it is disabled, so changes are not noted; ALTER TABLE datastore.entries ENABLE TRIGGER ' || tgname END"
    " FROM pg_trigger WHERE tgrelid = 'datastore.entries'::regclass"
)
INTEGRITY: Final = None

_NO_DETOURS: Final = ("seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin")
_SERIALIZATION, _DEADLOCK, _LOCK_TIMEOUT, _CANCELED = "40001", "40P01", "55P03", "57014"
_BUSY: Final = frozenset({_SERIALIZATION, _DEADLOCK, _LOCK_TIMEOUT})
_IDLE: Final = frozenset({"25P03", "57P05"})
"""The server ended the session because nothing came, so what came later was not done."""
_BROKEN: Final = _IDLE | {"57P01", "57P02", "57P03"}
"""The server ends the session, too: shut down, crashed, starting."""
_FULL: Final = frozenset({"53100", "53200"})

Connect = Callable[[], Awaitable[Any]]


def session(settings: Settings) -> str:
    """Return the server's settings for our sessions, as a connection's `options`."""
    deadline = math.ceil(settings.operation_timeout_seconds * 1000)
    chosen = {
        "search_path": SCHEMA,
        "statement_timeout": deadline,
        "lock_timeout": deadline * 3 // 4,
        "idle_in_transaction_session_timeout": deadline,
        "client_connection_check_interval": 1000,
        "default_transaction_isolation": r"read\ committed",
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        **{f"enable_{each}": "off" for each in _NO_DETOURS},
    }
    return " ".join(f"-c {name}={value}" for name, value in chosen.items())


def lanes(connect: Connect) -> tuple[Lane, Lane]:
    """Return the one lane for reading and writing, over connections that `connect` makes."""
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        hide_parameters=True,
        pool_reset_on_return=None,
        pool_size=CONNECTIONS,
        max_overflow=0,
        use_native_hstore=False,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_ended)
    both = Lane(engine, CONNECTIONS)
    return both, both


def _refuse_ended(connection: Any, _record: object, _proxy: object) -> None:
    """Have another connection made where this one ended: a server has nothing else to say to an idle one."""
    poll = polling.poll()
    poll.register(connection.driver_connection.fileno(), polling.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


def is_integer(column: Column[str]) -> ColumnElement[bool]:
    """Return whether JSON text is an integer: a sign and digits, and nothing else."""
    return column.op("~", is_comparison=True)(literal_column("'^-?[0-9]+$'"))


_ARRAY: Final = cast(bindparam("listed"), postgresql.ARRAY(Text))
_TABLE: Final = func.unnest(_ARRAY).table_valued("value", with_ordinality="position").render_derived()
LISTED: Final = selecting(_TABLE.c.value, _TABLE.c.position).subquery("listed")


def listing(items: Sequence[str]) -> object:
    """Return strings as the parameter of `LISTED`."""
    return list(items)


_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


def latest(now: ColumnElement[int]) -> ColumnElement[int]:
    """Return the later of a time and the server's own, at the moment when it is asked."""
    return func.greatest(now, literal_column(_NOW, BigInteger), type_=BigInteger)


MARK: Final = re.compile(r"agent-data-store, layout (\d{1,9})")
"""The comment of our table of entries."""
_STARTING: Final = 0x41445331
"""The lock under which the schema is made or changed."""
_COMMITTING: Final = 0x41445332
"""The lock under which numbers are given; it is freed when what they stand for can be seen."""


def trigger(name: str, event: str, row: str, version: str) -> list[DDL]:
    """Return the statements that make a function and its trigger, deferred to the commit."""
    columns = "at, owner, namespace, key, version"
    noted = f"{_NOW}, {row}.owner, {row}.namespace, {row}.key, {version}"
    function = (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
        f"\tPERFORM pg_advisory_xact_lock({_COMMITTING});\n"
        f"\tINSERT INTO {SCHEMA}.changes ({columns})\n\tVALUES ({noted});\n\tRETURN NULL;\nEND $$"
    )
    there = f"SELECT FROM pg_trigger WHERE tgrelid = '{SCHEMA}.entries'::regclass AND tgname = '{name}'"
    made = (
        f"DO $$ BEGIN IF NOT EXISTS ({there}) THEN\n"
        f"\tCREATE CONSTRAINT TRIGGER {name} {event} ON {SCHEMA}.entries DEFERRABLE INITIALLY DEFERRED\n"
        f"\tFOR EACH ROW EXECUTE FUNCTION {SCHEMA}.{name}();\nEND IF; END $$"
    )
    return [DDL(each) for each in (function, made)]  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types


def counting(name: str, event: str, statements: str) -> list[DDL]:
    """Return the statements that make a function and its trigger, deferred to the commit: entries are locked first."""
    made = (
        f"\tCREATE CONSTRAINT TRIGGER {name} {event} ON {SCHEMA}.entries DEFERRABLE INITIALLY DEFERRED\n"
        f"\tFOR EACH ROW EXECUTE FUNCTION {SCHEMA}.{name}();"
    )
    return _counted(name, statements, made)


_LOST: Final = (
    "UPDATE {counters} AS held SET held_bytes = held_bytes - gone.bytes, held_keys = held_keys - gone.keys\n"
    "\tFROM (SELECT owner, sum(size_bytes) AS bytes, count(*) AS keys FROM removed GROUP BY owner) AS gone\n"
    "\tWHERE held.owner = gone.owner AND held.namespace = '';\n"
    "\tUPDATE {counters} AS held SET held_bytes = held_bytes - gone.bytes, held_keys = held_keys - gone.keys\n"
    "\tFROM (SELECT owner, namespace, sum(size_bytes) AS bytes, count(*) AS keys FROM removed GROUP BY 1, 2) AS gone\n"
    "\tWHERE held.owner = gone.owner AND held.namespace = gone.namespace;\n"
    "\tDELETE FROM {counters}\n"
    "\tWHERE owner IN (SELECT owner FROM removed) AND namespace <> '' AND held_keys <= 0;"
)


def discounting(name: str) -> list[DDL]:
    """Return the statements that make a function and its trigger, once for all rows of a statement."""
    made = (
        f"\tCREATE TRIGGER {name} AFTER DELETE ON {SCHEMA}.entries REFERENCING OLD TABLE AS removed\n"
        f"\tFOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.{name}();"
    )
    return _counted(name, _LOST, made)


def _counted(name: str, statements: str, made: str) -> list[DDL]:
    body = statements.format(counters=f"{SCHEMA}.counters")
    function = (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
        f"\t{body}\n\tRETURN NULL;\nEND $$"
    )
    there = f"SELECT FROM pg_trigger WHERE tgrelid = '{SCHEMA}.entries'::regclass AND tgname = '{name}'"
    once = f"DO $$ BEGIN IF NOT EXISTS ({there}) THEN\n{made}\nEND IF; END $$"
    return [DDL(each) for each in (function, once)]  # type: ignore[no-untyped-call]  # as above


async def read_header(job: Commands) -> int:
    """Return the number in the comment of the table of entries; 0 where it is not one of ours."""
    comment = (await job.command("SELECT obj_description(to_regclass('entries'), 'pg_class')")).scalar_one()
    found = MARK.fullmatch(comment or "")
    return int(found[1]) if found else 0


async def write_header(job: Commands, needs: int) -> None:
    """Write another number there, within the open transaction."""
    await job.command(f"COMMENT ON TABLE entries IS 'agent-data-store, layout {needs:d}'")


async def hold_starts(job: Commands, seconds: float) -> None:
    """Wait for other starts; what they made is seen as it is then, not as it was when this transaction began."""
    milliseconds = math.ceil(seconds * 1000)
    await job.command("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    await job.command(f"SET LOCAL statement_timeout = {milliseconds}")
    await job.command(f"SET LOCAL lock_timeout = {milliseconds}")
    await job.command(f"SELECT pg_advisory_xact_lock({_STARTING})")
    await job.command("SET LOCAL lock_timeout TO DEFAULT")


async def is_unique(job: Commands, index: str) -> bool:
    """Say whether an index of the entries is there, and unique."""
    asked = f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{index}') AND indisunique"  # noqa: S608 - our own
    return (await job.command(asked)).first() is not None


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


async def interrupt(connection: AsyncConnection, seconds: float) -> None:
    """Ask the server to stop the statement that the connection is at, if any; it fails and is undone."""
    with suppress(psycopg.Error, DBAPIError, OSError):
        await (await _driver(connection)).cancel_safe(timeout=seconds)


async def abandon(connection: AsyncConnection) -> None:
    """Cut a connection off, so that whoever waits for its answer fails."""
    with suppress(psycopg.Error, DBAPIError, OSError):
        driver = await _driver(connection)
        with socket.socket(fileno=os.dup(driver.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


async def release(connection: AsyncConnection) -> None:
    """Close it: a cancellation may still be on its way."""
    await connection.invalidate()


async def roll_back(connection: AsyncConnection) -> None:
    """Undo the open transaction, if there still is one."""
    await (await _driver(connection)).rollback()


def _is_broken(error: DBAPIError) -> bool:
    state = sqlstate(error)
    return error.connection_invalidated or state is None or state in _BROKEN or state.startswith("08")


def passes(error: DBAPIError) -> bool:
    """Say whether others were in the way, or the connection broke: a restarted server answers again."""
    return _is_broken(error) or sqlstate(error) in (_SERIALIZATION, _DEADLOCK)


def leaves_doubt(error: DBAPIError) -> bool:
    """Say whether the end of the statement was not heard; an error that the server names is the end, undone."""
    return _is_broken(error) and sqlstate(error) not in _IDLE


def trouble(error: DBAPIError) -> str:
    """Return what happened in words of our own, for whoever uses the store."""
    state = sqlstate(error)
    if state in _BUSY:
        return "the store was busy with other writers all the time"
    if state == _CANCELED:
        return "the store did not answer in time"
    if state in _FULL:
        return "the store has no room left"
    return "the store cannot be reached now" if _is_broken(error) else "the store cannot be read or written now"
