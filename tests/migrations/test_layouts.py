"""Stores that earlier versions wrote are opened, read whole and written on; `recording` has made them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
import pymongo
import pytest

from admin.cli.main import main
from datastore import Grant, Scope, Settings
from datastore.assembly import open_engine
from datastore.layout import LAYOUT, Layout
from datastore.operations import Apply, GetUsage, Incr, Put
from datastore.ports import Engine
from datastore.service.store import Store
from tests.migrations.dumps import ENDINGS, load
from tests.migrations.recording import RECORDED, stored
from tests.servers.fresh import fresh
from tests.world import NEVER_FLUSH

DRIVERS: Final[dict[str, tuple[Literal["motor", "pymongo"], ...]]] = {"mongodb": ("motor", "pymongo")}


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands at the time of recording."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Recorded:
    """A store of an earlier version, put back, and what that version read of it."""

    engine: str
    driver: Literal["motor", "pymongo"]
    url: str
    expected: dict[str, Any]

    @property
    def clock(self) -> FixedClock:
        return FixedClock(datetime.fromisoformat(self.expected["recorded_at"]))

    async def opened(self) -> Engine:
        return await open_engine(self.url, Settings(mongo_driver=self.driver), self.clock)


def engine_of(file: Path) -> str:
    return file.name.removesuffix(".expected.json").rpartition(".")[2]


EXPECTED: Final = sorted(RECORDED.glob("*.expected.json"))
CASES: Final = [(file, driver) for file in EXPECTED for driver in DRIVERS.get(engine_of(file), ("motor",))]


@pytest.fixture(params=CASES, ids=[f"{file.name.removesuffix('.expected.json')}-{driver}" for file, driver in CASES])
def recorded(request: pytest.FixtureRequest, tmp_path: Path, server_of: Callable[[str], str]) -> Iterator[Recorded]:
    """Each store that is kept, where nothing else has it open."""
    file, driver = request.param
    engine = engine_of(file)
    with fresh(engine, tmp_path, server_of) as url:
        load(engine, file.with_name(file.name.replace(f"{engine}.expected.json", ENDINGS[engine])), url)
        yield Recorded(engine, driver, url, json.loads(file.read_text(encoding="utf-8")))


async def test_every_field_of_every_entry_is_what_it_was(recorded: Recorded) -> None:
    engine = await recorded.opened()
    try:
        found = await stored(engine, recorded.clock.now())
        layout = await engine.layout()
    finally:
        await engine.aclose()
    known = recorded.expected["entries"]
    assert [{name: each.get(name) for name in then} for each, then in zip(found, known, strict=True)] == known
    # Fields that came later have nothing to say of what stood before them.
    added = [{name: each[name] for name in each.keys() - then} for each, then in zip(found, known, strict=True)]
    assert {value for each in added for value in each.values()} <= {None}
    assert (layout.number, layout.position) == (LAYOUT, None)


async def test_agents_write_on_and_share_a_space(recorded: Recorded) -> None:
    engine = await recorded.opened()
    store = Store(engine, clock=recorded.clock, flush_seconds=NEVER_FLUSH)
    grants = (Grant.own(), Grant(namespace="*", space="team"))
    alice = Scope(user="alice", agent="later", run="run-9", grants=grants)
    try:
        before: Any = await store.execute(alice, GetUsage())
        changes = (Put(key="text", value="new"), Put(key="another", value=[1, None]))
        applied: Any = await store.execute(alice, Apply(namespace="default", mutations=changes))
        counted: Any = await store.execute(alice, Apply(namespace="default", mutations=(Incr(key="zero", by=5),)))
        await store.execute(alice, Apply(namespace="plans", space="team", mutations=(Put(key="mine", value=1),)))
        after: Any = await store.execute(alice, GetUsage())
        found = {
            (each["owner"], each["namespace"], each["key"]): each for each in await stored(engine, recorded.clock.now())
        }
    finally:
        await store.aclose()
    assert applied.changed == 2
    assert counted.outcomes[0].number == 5
    assert after.keys == before.keys + 1
    text, mine = found["alice", "default", "text"], found["@team", "plans", "mine"]
    assert (text["created_by_agent"], text["updated_by_agent"], text["value"]) == ("writer", "later", "new")
    assert (mine["created_by_user"], mine["updated_by_user"], mine["value"]) == ("alice", "alice", 1)


def test_nothing_is_wrong_with_what_a_migration_leaves(recorded: Recorded, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["admin", "check", "--values", "--url", recorded.url]) == 0, capfd.readouterr().out
    if recorded.expected["entries"][-1]["namespace"] == "receipts":  # A version that kept an audit log, and erased.
        assert main(["admin", "audit", "verify", "--url", recorded.url]) == 0, capfd.readouterr().out


async def test_a_migrated_store_has_the_form_of_a_new_one(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, server_of: Callable[[str], str]
) -> None:
    await (await recorded.opened()).aclose()
    with fresh(recorded.engine, tmp_path_factory.mktemp("new"), server_of) as new:
        engine = await open_engine(new, Settings(mongo_driver=recorded.driver), recorded.clock)
        await engine.aclose()
        assert form(recorded.engine, recorded.url) == form(recorded.engine, new)


def form(engine: str, url: str) -> dict[str, Any]:
    """Return the tables, indexes and triggers of a store, without the order of columns."""
    return {"sqlite": _form_of_sqlite, "postgresql": _form_of_postgres, "mongodb": _form_of_mongo}[engine](url)


def _form_of_sqlite(url: str) -> dict[str, Any]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        made = dict(file.execute("SELECT name, sql FROM sqlite_master WHERE name <> 'entries'"))
        columns = sorted(row[1:] for row in file.execute("PRAGMA table_info(entries)"))
        header = [file.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
        return {**made, "entries": columns, "header": header, "layout": file.execute("SELECT * FROM layout").fetchall()}


def _form_of_postgres(url: str) -> dict[str, Any]:
    asked = {
        "columns": "SELECT table_name, column_name, data_type, collation_name, is_nullable"
        " FROM information_schema.columns WHERE table_schema = 'datastore' ORDER BY 1, 2",
        "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'datastore' ORDER BY 1",
        "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'datastore'::regnamespace ORDER BY 1",
        "header": "SELECT obj_description('datastore.entries'::regclass)",
        "layout": "SELECT number, position FROM datastore.layout",
    }
    with psycopg.connect(url) as connection:
        return {name: connection.execute(each.encode()).fetchall() for name, each in asked.items()}


def _form_of_mongo(url: str) -> dict[str, Any]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        indexed = {name: database[name].index_information() for name in ("entries", "entries.audit")}
        return indexed | {"layout": database["entries_layout"].find_one({})}


OLD_INSERT: Final = (
    "INSERT INTO {entries} (id, owner, namespace, key, expires_at, version, size_bytes, created_at, created_by_agent,"
    " created_by_run, updated_at, updated_by_agent, updated_by_run, access_count, metadata, value)"
    " VALUES ('alice:default:b2xk', 'alice', 'default', 'old', 253402214400000, 'v1', 1, 0, 'w', 'r', 0, 'w', 'r', 0,"
    " '{{}}', '1')"
)
OLD_UPDATE: Final = "UPDATE {entries} SET value = '2', version = 'v2', size_bytes = 1 WHERE id = 'alice:default:b2xk'"


@pytest.mark.parametrize(
    "recorded",
    [case for case in CASES if case[0].name.startswith("1-") and engine_of(case[0]) != "mongodb"],
    ids=lambda case: case[0].name.removesuffix(".expected.json"),
    indirect=True,
)
async def test_statements_of_layout_1_work_after_its_migration(recorded: Recorded) -> None:
    """Hosts of layout 1 may be at work during the migration; their statements name the columns of layout 1."""
    engine = await recorded.opened()
    try:
        for each in (OLD_INSERT, OLD_UPDATE):
            _execute(recorded, each)
        found = await stored(engine, recorded.clock.now())
    finally:
        await engine.aclose()
    (old,) = [each for each in found if each["key"] == "old"]
    assert (old["value"], old["version"], old["created_by_user"]) == (2, "v2", None)


def _execute(recorded: Recorded, statement: str) -> None:
    if recorded.engine == "sqlite":
        with closing(sqlite3.connect(recorded.url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute(statement.format(entries="entries"))
        return
    with psycopg.connect(recorded.url, autocommit=True) as connection:
        connection.execute(statement.format(entries="datastore.entries").encode())


def test_a_store_of_every_layout_is_kept_of_every_engine() -> None:
    kept = {(int(re.split(r"\D", file.name)[0]), engine_of(file)) for file in EXPECTED}
    assert kept == {(number, engine) for number in range(1, LAYOUT + 1) for engine in ENDINGS}


def test_a_store_that_needs_more_names_the_remedy() -> None:
    assert Layout(LAYOUT + 3, LAYOUT).refusal is None
    assert Layout(LAYOUT, LAYOUT + 1).refusal == (
        f"the store has layout {LAYOUT + 1}, and this version of agent-data-store supports layout {LAYOUT}. "
        "Upgrade it on this host, and start the host again"
    )
