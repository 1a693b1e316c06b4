"""What somebody who can write to the database can do to rows of the audit log, whichever engine it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import psycopg
import pymongo
from pymongo.collection import Collection

from datastore.backends.mongo.ledger import FIELDS

_ALL: Final = ("at", *FIELDS, "salt", "content", "link")


class Hand(Protocol):
    """A hand on the rows, by their ids."""

    def change(self, identity: str, column: str, value: Any) -> None:
        """Write another fact into a row."""

    def remove(self, identity: str) -> None:
        """Take a row out."""

    def rename(self, identity: str, other: str) -> None:
        """Give a row another id."""


class SqlHand:
    """A hand on the table."""

    def __init__(self, connection: Any, mark: str) -> None:
        self._connection, self._mark = connection, mark

    def change(self, identity: str, column: str, value: Any) -> None:
        self._run(f'UPDATE audit SET "{column}" = {self._mark} WHERE id = {self._mark}', value, identity)  # noqa: S608 - names of columns

    def remove(self, identity: str) -> None:
        self._run(f"DELETE FROM audit WHERE id = {self._mark}", identity)  # noqa: S608 - a driver's own mark

    def rename(self, identity: str, other: str) -> None:
        self.change(identity, "id", other)

    def _run(self, statement: str, *given: Any) -> None:
        assert self._connection.execute(statement, given).rowcount == 1


class MongoHand:
    """A hand on the collection."""

    def __init__(self, collection: Collection[dict[str, Any]]) -> None:
        self._collection = collection

    def change(self, identity: str, column: str, value: Any) -> None:
        field = FIELDS.get(column, column)
        assert self._collection.update_one({"_id": identity}, {"$set": {field: value}}).modified_count == 1

    def remove(self, identity: str) -> None:
        assert self._collection.delete_one({"_id": identity}).deleted_count == 1

    def rename(self, identity: str, other: str) -> None:
        document = self._collection.find_one({"_id": identity})
        assert document is not None
        self._collection.insert_one(document | {"_id": other})
        self.remove(identity)


@contextmanager
def hand(url: str) -> Iterator[Hand]:
    """Give a hand on the rows of a store, past everything that guards it."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        try:
            yield SqlHand(connection, "?")
        finally:
            connection.close()
    elif url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True, options="-c search_path=datastore") as server:
            yield SqlHand(server, "%s")
    else:
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            yield MongoHand(client.get_default_database()["entries.audit"])
