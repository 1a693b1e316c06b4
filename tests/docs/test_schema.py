"""What schema.md shows is what the engines hold."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any, Final

import psycopg
import pymongo
import pytest
from bson import json_util
from sqlalchemy.dialects import postgresql

from datastore.backends.sql import postgres
from datastore.backends.sql.schema import creation
from sandbox import connect
from tests.docs.pages import ROOT, Block, blocks
from tests.servers.mongo import fresh_database
from tests.servers.postgres import fresh_postgres

PAGE: Final = ROOT / "docs" / "schema.md"


def only(language: str) -> Block:
    [block] = [block for block in blocks(PAGE) if block.language == language]
    return block


def stored_by(url: str) -> None:
    with connect(url, user="alice", agent="writer") as data_store:
        data_store.set("report", {"total": 3}, {"source": "crm"})


def test_a_document_of_mongodb_has_the_fields_that_the_page_shows(server: str) -> None:
    shown = json_util.loads(only("json").text, json_options=json_util.JSONOptions(tz_aware=True))
    with fresh_database(server) as url, pymongo.MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        stored_by(url)
        stored = client.get_default_database()["entries"].find_one({})
    assert stored is not None
    assert {name: type(each) for name, each in stored.items()} == {name: type(each) for name, each in shown.items()}
    own = {name for name in shown if name.endswith(("At", "Run")) or name == "version"} - {"expiresAt"}
    assert {name: stored[name] for name in shown.keys() - own} == {name: shown[name] for name in shown.keys() - own}


@pytest.mark.parametrize(("head", "name"), [("index", "entries"), ("index of the collection", "entries.audit")])
def test_a_collection_of_mongodb_has_the_indexes_that_the_page_lists(server: str, head: str, name: str) -> None:
    table = PAGE.read_text(encoding="utf-8").partition(f"| {head} |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)
    shown = {name: re.findall(r"`(\w+)`", fields) for name, fields in listed}
    with fresh_database(server) as url, pymongo.MongoClient[dict[str, Any]](url) as client:
        stored_by(url)
        made = client.get_default_database()[name].index_information()
    assert {name: [field for field, _ in each["key"]] for name, each in made.items()} == shown


def test_a_file_of_sqlite_has_the_table_that_the_page_shows(tmp_path: Path) -> None:
    stored_by(f"sqlite:///{tmp_path / 'store.db'}")
    with sqlite3.connect(tmp_path / "store.db") as connection:
        made = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    connection.close()
    assert [re.sub(r" +\n", "\n", each) for each in made] == _statements(only("sql").text)


def test_a_database_of_postgresql_has_the_table_that_the_page_shows(postgres_server: str) -> None:
    shown = only("postgresql").text
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types
    made = [str(each.compile(dialect=dialect)) for each in creation(postgres)]
    assert [re.sub(r" *\n+", "\n", each).strip() for each in made] == _statements(shown)
    with fresh_postgres(postgres_server) as url:
        stored_by(url)
        with psycopg.connect(url) as connection:
            indexes = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'datastore'").fetchall()
            collations = connection.execute(
                "SELECT column_name, collation_name FROM information_schema.columns "
                "WHERE table_schema = 'datastore' AND collation_name IS NOT NULL"
            ).fetchall()
    keys = {"entries_pkey", "changes_pkey", "change_horizons_pkey", "audit_pkey", "counters_pkey"}
    assert {name for (name,) in indexes} == keys | set(re.findall(r"INDEX IF NOT EXISTS (\w+)", shown))
    assert dict(collations) == dict(re.findall(r'(\w+) TEXT COLLATE "(C)"', shown))


def _statements(text: str) -> list[str]:
    return [each.strip() for each in re.split(r"^(?=CREATE|DO)", text, flags=re.MULTILINE) if each.strip()]


@pytest.mark.parametrize("name", ["value", "metadata"])
def test_json_is_kept_as_compact_text(tmp_path: Path, name: str) -> None:
    stored_by(f"sqlite:///{tmp_path / 'store.db'}")
    connection = sqlite3.connect(tmp_path / "store.db")
    [(text,)] = connection.execute(f"SELECT {name} FROM entries")  # noqa: S608 - one of the two names above
    connection.close()
    assert text == json.dumps(json.loads(text), separators=(",", ":"))
