"""`datastore admin check`: what the store did not write itself is found and named, on each engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient

from datastore.backends.sql.schema import entries
from sandbox import ConnectedDataStore
from tests.admin.conftest import Command

Spoil = Callable[..., None]
CHECK = ("admin", "check", "--json")


@pytest.fixture
def spoil(url: str, alice: ConnectedDataStore) -> Spoil:
    """Writes into a record of alice behind the store's back, by its key."""
    del alice

    def sql(key: str, column: str, value: object) -> None:
        statement = f"UPDATE {{}}entries SET {column} = {{}} WHERE key = {{}}"  # noqa: S608 - this test's own words
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
                file.execute(statement.format("", "?", "?"), (value, key))
        else:
            with psycopg.connect(url) as server:
                server.execute(statement.format("datastore.", "%s", "%s").encode(), (value, key))

    def mongo(key: str, column: str, value: object) -> None:
        first, *others = column.split("_")
        with MongoClient[dict[str, Any]](url) as client:
            documents = client.get_default_database().entries
            if column == "id":
                documents.insert_one({**(documents.find_one_and_delete({"key": key}) or {}), "_id": value})
            else:
                documents.update_one({"key": key}, {"$set": {first + "".join(map(str.capitalize, others)): value}})

    return mongo if url.startswith("mongodb") else sql


def test_where_all_is_well_it_says_so(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set_many({"a": 1, "b": b"\0", "c": {"": None}, "\x1b[2J\u202e": "x"}, {"m": 1})
    alice.private().set("mine", 1)
    with alice.lock("job"):
        ended = datastore("admin", "check", "--values")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "datastore: looked at 7 records; nothing is wrong\n"


def test_each_broken_record_is_named_with_its_fault(
    datastore: Command, alice: ConnectedDataStore, spoil: Spoil
) -> None:
    alice.set_many({key: {"n": 1} for key in "abcdef"}, {"m": 1})
    spoil("b", "version", "")
    spoil("c", "id", "alice:default:eA==")
    spoil("d", "access_count", -1)
    ended = datastore(*CHECK, "--user", "alice")
    assert (ended.code, ended.err) == (1, "datastore: looked at 6 records; faults: 3\n")
    found = {each["key"]: each for each in ended.objects}
    assert set(found) == {"b", "c", "d"}
    assert (found["b"]["owner"], found["b"]["namespace"], found["b"]["where"]) == (
        "alice",
        "default",
        "alice:default:Yg==",
    )
    assert found["b"]["fault"] == "version: it must not be empty."
    assert found["c"]["fault"] == "its id is not that of its owner, namespace and key, so no verb finds it"
    assert found["d"]["fault"].startswith("access_count: ")


def test_values_are_read_where_that_is_asked_for(datastore: Command, alice: ConnectedDataStore, spoil: Spoil) -> None:
    alice.set_many({key: {"n": 1} for key in "abcdef"})
    spoil("b", "size_bytes", 4)
    assert datastore(*CHECK).code == 0
    ended = datastore(*CHECK, "--values")
    (found,) = ended.objects
    assert (ended.code, found["key"], found["fault"]) == (1, "b", "size_bytes is 4, but the value has 7")


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_text_that_is_no_json_is_found_and_holds_up_nobody_else(
    datastore: Command, alice: ConnectedDataStore, spoil: Spoil
) -> None:
    alice.set_many({key: {"n": 1} for key in "abcdef"})
    spoil("b", "value", '{"n":')
    spoil("e", "metadata", "[")
    found = {each["where"]: each["fault"] for each in datastore(*CHECK, "--values").objects}
    assert sorted(found) == ["alice:default:Yg==", "alice:default:ZQ=="]
    assert found["alice:default:Yg=="].startswith("its value cannot be read: ")
    assert found["alice:default:ZQ=="].startswith("it cannot be read: ")
    ended = datastore("admin", "top", "--json")
    assert (
        ended.err == "datastore: records that cannot be read and were left out: 1; `datastore admin check` names them\n"
    )
    assert [each["key"] for each in ended.objects] == ["a", "b", "c", "d", "f"]


@pytest.mark.parametrize("url", ["mongodb"], indirect=True)
def test_documents_that_the_store_did_not_write_are_found(
    datastore: Command, alice: ConnectedDataStore, url: str
) -> None:
    alice.set_many({"a": 1, "b": 2})
    with MongoClient[dict[str, Any]](url) as client:
        documents = client.get_default_database().entries
        documents.update_one({"key": "a"}, {"$unset": {"metadata": 1}, "$set": {"createdAt": "yesterday"}})
        documents.update_one({"key": "b"}, {"$set": {"createdAt": DatetimeMS(2**60)}})
        documents.insert_one({"userId": "alice", "namespace": "default", "key": "c"})
        documents.drop_index("expiresAt_garbage")
        assert datastore("admin", "find", "--never-read", "--user", "alice", "--namespace", "default").err == (
            "datastore: records that cannot be read and were left out: 2; `datastore admin check` names them\n"
            "datastore: no entry is so, of 2 records\n"
        )
        ended = datastore(*CHECK)
        assert "expiresAt_garbage" in documents.index_information()  # Opening the store has made it again.
    assert [(each["where"], each["fault"].partition(" documents")[0]) for each in ended.objects] == [
        ("_id", "1"),
        ("alice:default:YQ==", "it has no field 'metadata'"),
        ("alice:default:Yg==", "one of its times is none"),
    ]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_index_that_lacks_entries_is_found(datastore: Command, alice: ConnectedDataStore, url: str) -> None:
    alice.set("a", 1)
    names = "WHERE name = 'entries_by_key'"
    others = ", ".join(each.name for each in list(entries.columns)[4:])
    for statement in (
        f"CREATE TABLE kept AS SELECT * FROM sqlite_schema {names}",  # noqa: S608 - this test's own words
        f"DELETE FROM sqlite_schema {names}",  # noqa: S608 - as above
        f"INSERT INTO entries SELECT 'alice:default:Yg==', owner, namespace, 'b', {others} FROM entries",  # noqa: S608 - as above
        "INSERT INTO sqlite_schema SELECT * FROM kept",
        "DROP TABLE kept",
    ):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("PRAGMA writable_schema = ON")
            file.execute(statement)
    ended = datastore(*CHECK, "--values")
    (found,) = ended.objects
    assert (ended.code, found["where"]) == (1, "file")
    assert "missing from index entries_by_key" in found["fault"]


@pytest.mark.parametrize("url", ["fresh postgresql"], indirect=True)
def test_what_the_server_does_not_use_is_found(datastore: Command, alice: ConnectedDataStore, url: str) -> None:
    alice.set("a", 1)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("ALTER TABLE datastore.entries DISABLE TRIGGER entries_deleted")
        server.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'datastore.entries_by_key'::regclass")
    found = {each["where"]: each["fault"] for each in datastore(*CHECK).objects}
    assert list(found) == ["entries_by_key", "entries_deleted"]
    assert found["entries_by_key"].startswith("it is not valid")
    assert "ENABLE TRIGGER entries_deleted" in found["entries_deleted"]
