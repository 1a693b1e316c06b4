"""Opening a database of a PostgreSQL server: the URL, the server's set-up and clock, and the schema made where missing.

Theory of operation: the URL goes to PostgreSQL's own client library as it is, which knows every option that its manual
names; ours come on top. The tables stand in a schema of their own, so a database may be shared with other
applications. The table is marked as ours by its comment. Messages name hosts and ports, and never credentials: the
driver's own texts are not quoted, nor chained where they may hold the URL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.exc import DBAPIError

from datastore.backends.clocks import check_clock
from datastore.backends.sql import postgres, schema
from datastore.backends.sql.completing import Completion
from datastore.backends.sql.dialect import sqlstate
from datastore.backends.sql.errors import Refused
from datastore.backends.sql.runner import Job, Runner
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.ports import Clock
from datastore.settings import Settings

SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_USER_REFUSED: Final = ("authentication failed", "no password supplied", "pg_hba.conf", 'role "')


async def open_runner(url: str, settings: Settings, clock: Clock) -> Runner:
    """Return the runner of the store that the URL names.

    Raises:
        ConfigurationError: the URL, the user or the database cannot be used.
        StoreUnavailable: the server does not answer.
    """
    parameters = parse(url, settings)
    at = hosts(parameters)

    async def connect() -> psycopg.AsyncConnection[Any]:
        try:
            return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
        except psycopg.OperationalError as error:
            if remedy := _remedy(at, str(error)):
                raise Refused(remedy) from error
            raise

    runner = Runner(postgres, postgres.lanes(connect), settings.operation_timeout_seconds, clock)
    try:
        await Completion(runner, Schema(at), settings.connect_timeout_seconds).complete()
    except BaseException as error:
        await runner.aclose()
        if (explained := _explained(at, error)) is not None:
            raise explained from error
        raise
    return runner


def parse(url: str, settings: Settings) -> dict[str, Any]:
    """Return the parameters of a connection.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    _scheme, _, rest = url.partition("://")
    try:
        given: Mapping[str, Any] = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.Error:
        raise _unusable() from None
    if not all(port == "" or port.isdecimal() for port in str(given.get("port") or "").split(",")):
        raise _unusable()
    defaults = {
        "application_name": "agent-data-store",
        "connect_timeout": math.ceil(settings.connect_timeout_seconds),
        "target_session_attrs": "read-write",
        "tcp_user_timeout": math.ceil(settings.operation_timeout_seconds * 1000),
        "client_encoding": "UTF8",
    }
    options = f"{given.get('options') or ''} {postgres.session(settings)}".strip()
    return {**defaults, **given, "options": options}


def _unusable() -> ConfigurationError:
    return ConfigurationError(
        "The PostgreSQL URL cannot be used. Write postgresql://HOST:PORT/DATABASE; credentials go before the host "
        "as USER:PASSWORD and an at sign, with special characters percent-encoded."
    )


def hosts(parameters: Mapping[str, Any]) -> str:
    """Return the hosts and ports of a connection, without its credentials."""
    names = str(parameters.get("host") or "localhost").split(",")
    ports = [port or "5432" for port in str(parameters.get("port") or "").split(",")]
    return ",".join(f"{name}:{ports[index % len(ports)]}" for index, name in enumerate(names))


_FACTS: Final = "SELECT current_setting('server_encoding') AS encoding, clock_timestamp() AS now"
_RELATIONS: Final = (
    "SELECT relname AS name, obj_description(oid, 'pg_class') AS mark FROM pg_class "
    "WHERE relnamespace = current_schema()::regnamespace "
    "UNION ALL SELECT tgname, NULL FROM pg_trigger WHERE tgrelid = to_regclass('entries') AND NOT tgisinternal"
)
"""What is in our schema, the only one on the search path; nothing where it is missing."""
_OUR_SCHEMA: Final = f"SELECT 1 FROM pg_namespace WHERE nspname = '{postgres.SCHEMA}'"  # noqa: S608 - our own name


class Schema:
    """Our schema in a database; see `completing.Database`.

    Args:
        at: the server's hosts and ports.
    """

    def __init__(self, at: str) -> None:
        self._at = at

    @property
    def store_name(self) -> str:
        """The store's name in messages."""
        return f"the PostgreSQL store at {self._at}"

    async def inspect(self, job: Job) -> set[str]:
        """Return the names of what is in the schema; raise if it, or the server, would break a promise."""
        before = datetime.now(UTC)
        facts = (await job.command(_FACTS)).one()
        check_clock(facts.now, before, datetime.now(UTC), f"PostgreSQL at {self._at}")
        if facts.encoding != "UTF8":
            raise ConfigurationError(
                f"The PostgreSQL database at {self._at} has the encoding {facts.encoding}, which cannot hold every "
                "name. Name a database made WITH (ENCODING 'UTF8', TEMPLATE template0)."
            )
        marks = {str(row.name): row.mark for row in await job.command(_RELATIONS)}
        entries = schema.entries.name
        if entries in marks and not postgres.MARK.fullmatch(marks[entries] or ""):
            raise ConfigurationError(
                f"The schema {postgres.SCHEMA!r} of the database at {self._at} is another application's: its table "
                f"{entries!r} does not have our comment. Name another database."
            )
        return set(marks)

    async def mark(self, job: Job) -> None:
        """Make the schema where it is missing: with rights on the database alone, its table could not be made."""
        if (await job.command(_OUR_SCHEMA)).first() is None:
            await job.command(f"CREATE SCHEMA {postgres.SCHEMA}")


def _explained(at: str, error: BaseException) -> Exception | None:
    """Return the error in words for an operator; what no waiting mends becomes a matter of configuration."""
    if isinstance(error.__cause__, Refused):
        return ConfigurationError(str(error.__cause__))
    if isinstance(error, DBAPIError) and sqlstate(error) == _INSUFFICIENT_PRIVILEGE:
        return ConfigurationError(
            f"PostgreSQL at {at} does not let the URL's user make or use the schema {postgres.SCHEMA!r}. For a new "
            f"store, as an administrator, in that database: CREATE SCHEMA {postgres.SCHEMA} AUTHORIZATION the_user. A "
            "store of an earlier version is opened once as the owner of its tables, then with rights on all of them."
        )
    if not isinstance(error, StoreUnavailable):
        return None
    return StoreUnavailable(
        f"PostgreSQL at {at} does not answer, or cannot be written",
        advice="Start it, or correct the URL's host and port.",
    )


def _remedy(at: str, text: str) -> str | None:
    """Return what mends a refused connection; the client library gives no code for it, only the server's text."""
    if any(sign in text for sign in _USER_REFUSED):
        return f"PostgreSQL at {at} refuses the URL's user. Correct user, password or sslmode."
    if 'database "' in text and "does not exist" in text:
        return f"PostgreSQL at {at} has no such database. Correct the URL, or make it with CREATE DATABASE."
    return None
