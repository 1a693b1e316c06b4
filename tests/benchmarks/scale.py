"""A large store, built in bulk: the same records on each engine, in the store's own form.

Nothing goes through the store, which would take an hour. What the store makes when it starts loses its indexes and
triggers, is filled, and gets them back from the next start. Changes in SQL are as after garbage collection: the last
one is there, and the horizon says that those before it are gone. No owner has a quota, so nothing is counted.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import psycopg
import pymongo
from pymongo import WriteConcern

from datastore import open_store
from datastore.backends.sql import counted, noted
from datastore.backends.sql.schema import INDEXES, to_ms
from tests.benchmarks import records
from tests.benchmarks.records import Record

RECORDS: Final = 2_000_000
LARGE: Final = "large"
"""The user with half of all records."""
ARCHIVE: Final = "archive"
"""Its namespace with half of those."""
PER_NAMESPACE: Final = 500
PER_USER: Final = 5
_IN_NOTES: Final = 2
_VALUES: Final = 1000
_BATCH: Final = 5000
_TRIGGERS: Final = tuple(each for each in (*noted.PARTS, *counted.PARTS) if each != str(noted.BY_OWNER.name))


@dataclass(frozen=True, slots=True)
class Shape:
    """The contents of the store: one large user, and many with five keys each."""

    records: int = RECORDS

    @property
    def large_keys(self) -> int:
        """Keys of the large user."""
        return self.records // 2

    @property
    def archived(self) -> int:
        """Keys of its largest namespace."""
        return self.large_keys - self.namespaces * PER_NAMESPACE

    @property
    def namespaces(self) -> int:
        """Its other namespaces, with `PER_NAMESPACE` keys each."""
        return self.large_keys // 2 // PER_NAMESPACE

    @property
    def users(self) -> int:
        """All users."""
        return 1 + (self.records - self.large_keys) // PER_USER

    def places(self) -> Iterator[tuple[str, str, int]]:
        """Give each owner and namespace with its number of keys, in order."""
        yield LARGE, ARCHIVE, self.archived
        for number in range(self.namespaces):
            yield LARGE, f"part-{number:04}", PER_NAMESPACE
        for number in range(self.users - 1):
            user = f"user-{number:07}"
            yield user, "default", PER_USER - _IN_NOTES
            yield user, "notes", _IN_NOTES

    def all(self, now: datetime) -> Iterator[Record]:
        """Give all records, as written at one time."""
        random = Random(records.SEED)  # noqa: S311 - reproducible, not secret
        made = [records.value(random) for _ in range(_VALUES)]
        drawn = itertools.cycle([(each, records.text(each)) for each in made])
        for owner, namespace, many in self.places():
            for number in range(many):
                value, text = next(drawn)
                yield Record(owner, namespace, records.key(number), value, text, records.version(), now)


def build(backend: str, url: str, shape: Shape) -> None:
    """Fill an empty database; a store can be opened on it afterwards, and has been."""
    fill = {"sqlite": _fill_sqlite, "postgresql": _fill_postgres}.get(backend, _fill_mongo)
    asyncio.run(_start(url))
    fill(url, shape, datetime.now(UTC).replace(microsecond=0))
    asyncio.run(_start(url))


async def _start(url: str) -> None:
    """Have the store make what is missing."""
    async with open_store(url):
        pass


def _fill_sqlite(url: str, shape: Shape, now: datetime) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-262144"):
            connection.execute(f"PRAGMA {pragma}")
        for statement in (
            *(f"DROP TRIGGER {each}" for each in _TRIGGERS),
            *(f"DROP INDEX {each.name}" for each in INDEXES),
        ):
            connection.execute(statement)
        connection.execute("BEGIN")
        connection.executemany(records.INSERT, map(records.row, shape.all(now)))
        for statement, given in _changes(shape, now):
            connection.execute(statement, given)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def _fill_postgres(url: str, shape: Shape, now: datetime) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = datastore")
        for each in _TRIGGERS:
            connection.execute(f"DROP TRIGGER {each} ON entries".encode())
        for index in INDEXES:
            connection.execute(f"DROP INDEX {index.name}".encode())
        copying = f"COPY entries ({records.NAMES}) FROM STDIN"
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(copying.encode()) as copy:
                for record in shape.all(now):
                    copy.write_row(records.row(record))
            for statement, given in _changes(shape, now):
                cursor.execute(statement.replace("?", "%s").encode(), given)
            cursor.execute("SELECT setval(pg_get_serial_sequence('changes', 'seq'), %s)", (shape.records,))
        connection.execute("VACUUM ANALYZE entries")


def _fill_mongo(url: str, shape: Shape, now: datetime) -> None:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        unsynced = WriteConcern(w=1, j=False)
        entries = client.get_default_database().get_collection("entries", write_concern=unsynced)
        entries.drop_indexes()
        documents = map(records.document, shape.all(now))
        while batch := list(itertools.islice(documents, _BATCH)):
            entries.insert_many(batch, ordered=False)


def _changes(shape: Shape, now: datetime) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Give the statements that leave changes as garbage collection does: the last row, and a horizon before it."""
    *_, (owner, namespace, many) = shape.places()
    last = (shape.records, to_ms(now), owner, namespace, records.key(many - 1), records.version())
    yield "INSERT INTO changes (seq, at, owner, namespace, key, version) VALUES (?, ?, ?, ?, ?, ?)", last
    yield "INSERT INTO change_horizons (owner, seq) VALUES (?, ?)", (noted.EVERYONE, shape.records - 1)
