"""What a PostgreSQL URL opens, what is made there, and how a server that cannot be used is refused."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from datastore import Settings
from datastore.assembly import open_engine
from datastore.backends import clocks
from datastore.backends.sql import SqlBackend, postgres, server
from datastore.clock import SystemClock
from datastore.document import Span
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.ports import Removal
from tests.sql.words import HERE, apply, at, opened, put, read
from tests.world import bare

PROCESSES = 6
WAIT_SECONDS = 60
SECRET = "s3cret-word"  # noqa: S105 - that it is never shown is what is tested


@contextmanager
def administrator(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def at_database(url: str, name: str, user: str | None = None) -> str:
    parts = urlsplit(url)
    netloc = parts.netloc if user is None else f"{user}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(path=f"/{name}", netloc=netloc))


@contextmanager
def role(url: str) -> Iterator[str]:
    """Make a user without any right."""
    name = f"user_{uuid.uuid4().hex[:8]}"
    with administrator(url) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(SECRET))
        )
        try:
            yield name
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.slow
def test_processes_that_start_at_once_on_an_empty_database_all_open_it(postgres_url: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.sql.starter", postgres_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    starters = [subprocess.Popen(command, text=True, **pipes) for _ in range(PROCESSES)]  # type: ignore[call-overload]  # the pipes
    for starter in starters:
        assert starter.stdout.readline() == "ready\n"
    answers = [starter.communicate("go\n", timeout=WAIT_SECONDS) for starter in starters]

    assert [(starter.returncode, *answer) for starter, answer in zip(starters, answers, strict=True)] == [
        (0, "", "")
    ] * PROCESSES
    with administrator(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM datastore.entries").fetchone() == (PROCESSES,)


async def test_stores_that_open_at_once_all_open(postgres_url: str) -> None:
    stores = await asyncio.gather(*(opened(postgres_url) for _ in range(8)))
    await asyncio.gather(*(apply(store, put(f"k{number}")) for number, store in enumerate(stores)))

    assert len((await stores[0].keys(HERE, Span(), at(0)))[0]) == 8
    await asyncio.gather(*(store.aclose() for store in stores))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
async def test_a_url_may_be_spelt_as_people_do(postgres_url: str, scheme: str) -> None:
    url = f"{scheme}://{postgres_url.partition('://')[2]}"
    engine = await open_engine(url, Settings(url=url), SystemClock())

    assert isinstance(bare(engine), SqlBackend)
    await engine.aclose()


async def test_what_was_written_is_there_when_it_is_opened_again(postgres_url: str) -> None:
    store = await opened(postgres_url)
    await apply(store, put("k", 1))
    await store.aclose()

    again = await opened(postgres_url)
    entry = await read(again, "k")
    assert entry is not None
    assert entry.value == 1
    await again.aclose()


@pytest.mark.parametrize("lost", ["INDEX entries_by_key", "INDEX entries_by_expiry"])
async def test_a_missing_index_is_made_again(postgres_url: str, lost: str) -> None:
    store = await opened(postgres_url)
    await apply(store, put("k"))
    await store.aclose()
    with administrator(postgres_url) as connection:
        connection.execute(f"SET search_path = {postgres.SCHEMA}".encode())
        connection.execute(f"DROP {lost}".encode())
        again = await opened(postgres_url)
        assert connection.execute("SELECT to_regclass(%s)", [lost.partition(" ")[2]]).fetchone() != (None,)

    assert await read(again, "k") is not None
    await again.aclose()


async def test_a_start_that_finds_everything_needs_no_right_to_make_anything(postgres_url: str) -> None:
    await (await opened(postgres_url)).aclose()
    name = urlsplit(postgres_url).path[1:]
    with role(postgres_url) as user, administrator(postgres_url) as connection:
        for what in ("SCHEMA datastore", "ALL TABLES IN SCHEMA datastore", "ALL SEQUENCES IN SCHEMA datastore"):
            connection.execute(sql.SQL("GRANT ALL ON {} TO {}").format(sql.SQL(what), sql.Identifier(user)))
        connection.execute(sql.SQL("REVOKE CREATE ON SCHEMA datastore FROM {}").format(sql.Identifier(user)))
        store = await opened(at_database(postgres_url, name, f"{user}:{SECRET}"))
        assert (await apply(store, put("k"))).changed == 1
        await store.aclose()


async def test_a_schema_that_was_made_for_the_user_is_used(postgres_url: str) -> None:
    name = urlsplit(postgres_url).path[1:]
    with role(postgres_url) as user, administrator(postgres_url) as connection:
        url = at_database(postgres_url, name, f"{user}:{SECRET}")
        with pytest.raises(ConfigurationError, match="CREATE SCHEMA datastore AUTHORIZATION the_user"):
            await opened(url)
        connection.execute(sql.SQL("CREATE SCHEMA datastore AUTHORIZATION {}").format(sql.Identifier(user)))
        store = await opened(url)
        assert (await apply(store, put("k"), Removal("l"))).changed == 1
        await store.aclose()


async def test_a_user_with_rights_on_rows_alone_opens_what_the_owner_of_the_tables_migrated(postgres_url: str) -> None:
    await (await opened(postgres_url)).aclose()
    name = urlsplit(postgres_url).path[1:]
    with role(postgres_url) as user, administrator(postgres_url) as connection:
        url = at_database(postgres_url, name, f"{user}:{SECRET}")
        granted = sql.SQL(
            "GRANT USAGE ON SCHEMA datastore TO {0};"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA datastore TO {0}"
        ).format(sql.Identifier(user))
        connection.execute("DROP TABLE datastore.layout")  # As an earlier version left it.
        connection.execute(granted)
        with pytest.raises(ConfigurationError, match="opened once as the owner of its tables, then with rights on all"):
            await opened(url)
        await (await opened(postgres_url)).aclose()
        connection.execute(granted)
        await (await opened(url)).aclose()


async def test_another_applications_table_is_refused_untouched(postgres_url: str) -> None:
    with administrator(postgres_url) as connection:
        connection.execute("CREATE SCHEMA datastore; CREATE TABLE datastore.entries (mine int)")
        with pytest.raises(
            ConfigurationError, match="is another application's: its table 'entries' does not have our comment"
        ):
            await opened(postgres_url)
        made = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'datastore'::regnamespace")
        assert made.fetchone() == (1,)


async def test_a_later_layout_is_refused(postgres_url: str) -> None:
    await (await opened(postgres_url)).aclose()
    with administrator(postgres_url) as connection:
        connection.execute("COMMENT ON TABLE datastore.entries IS 'agent-data-store, layout 9'")
        with pytest.raises(
            ConfigurationError, match=r"store at 127.* has layout 9, and this version .* supports layout 2\. Upgrade it"
        ):
            await opened(postgres_url)


async def test_another_encoding_is_refused(postgres_url: str) -> None:
    name = f"test_{uuid.uuid4().hex[:16]}"
    made = "CREATE DATABASE {} ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    with administrator(postgres_url) as connection:
        connection.execute(sql.SQL(made).format(sql.Identifier(name)))
        with pytest.raises(ConfigurationError, match="has the encoding SQL_ASCII"):
            await opened(at_database(postgres_url, name))
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


async def test_a_server_that_takes_no_writes_is_refused(postgres_url: str) -> None:
    name = urlsplit(postgres_url).path[1:]
    with administrator(postgres_url) as connection:
        readonly = "ALTER DATABASE {} SET default_transaction_read_only = on"
        connection.execute(sql.SQL(readonly).format(sql.Identifier(name)))
    with pytest.raises(StoreUnavailable, match="does not answer, or cannot be written"):
        await opened(postgres_url, connect_timeout_seconds=0.5)


@pytest.mark.parametrize(
    ("broken", "error", "said"),
    [
        (lambda url: at_database(url, "none"), ConfigurationError, "has no such database"),
        (lambda url: at_database(url, "postgres", f"nobody:{SECRET}"), ConfigurationError, "refuses the URL's user"),
        (lambda _: f"postgresql://u:{SECRET}@127.0.0.1:1/db", StoreUnavailable, "127.0.0.1:1 does not answer"),
        (lambda _: f"postgresql://u:{SECRET}@[::1/db", ConfigurationError, "URL cannot be used. Write postgresql://"),
        (lambda _: f"postgresql://u:{SECRET}@h:1/db?passwort=1", ConfigurationError, "URL cannot be used"),
        (lambda _: f"postgresql://u:{SECRET}@h:x/db", ConfigurationError, "URL cannot be used"),
    ],
)
async def test_a_refusal_names_the_mend_and_never_the_password(
    postgres_url: str, caplog: pytest.LogCaptureFixture, broken: Any, error: type[Exception], said: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(error) as caught:
        await opened(broken(postgres_url), connect_timeout_seconds=0.5)

    chain: list[BaseException] = [caught.value]
    while cause := chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__):
        chain.append(cause)
    assert said in str(caught.value)
    assert SECRET not in "".join(map(repr, chain)) + caplog.text


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:p@db.example/x", "db.example:5432"),
        ("postgres://u:p@db.example:1234/x?sslmode=require", "db.example:1234"),
        ("postgresql://u:p@a:1,b:2/x", "a:1,b:2"),
        ("postgresql://u:p@a,b:2/x", "a:5432,b:2"),
        ("postgresql:///x", "localhost:5432"),
        ("postgresql://u:p@/x?host=/run/pg", "/run/pg:5432"),
    ],
)
def test_hosts_are_named_without_credentials(url: str, named: str) -> None:
    assert server.hosts(server.parse(url, Settings())) == named


async def test_clocks_far_apart_are_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, _zone: object = None) -> datetime:  # type: ignore[override]  # as it is called here
            return datetime.now(UTC) - timedelta(seconds=clocks.REFUSE_SECONDS + 5)

    monkeypatch.setattr(server, "datetime", Late)
    with pytest.raises(ConfigurationError, match=r"of PostgreSQL at .* differ by 35 seconds"):
        await opened(postgres_url)


async def test_the_options_of_a_url_are_kept_and_ours_come_on_top(postgres_url: str) -> None:
    options = "options=-c%20work_mem%3D5MB%20-c%20search_path%3Dpg_catalog"
    store = await opened(f"{postgres_url}&{options}", operation_timeout_seconds=7)
    async with store._runner._engines[0].connect() as connection:
        shown = {
            name: (await connection.exec_driver_sql(f"SHOW {name}")).scalar_one()
            for name in ("work_mem", "search_path", "statement_timeout", "default_transaction_isolation")
        }
    assert shown == {
        "work_mem": "5MB",
        "search_path": "datastore",
        "statement_timeout": "7s",
        "default_transaction_isolation": "read committed",
    }
    await store.aclose()
