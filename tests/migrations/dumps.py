"""A store as a small file, and back: how the stores of earlier layouts are kept.

A SQLite store is its own file, compressed. Of a PostgreSQL store it is what `pg_dump` writes, and of a MongoDB store
its collections as extended JSON, with their options and indexes.
"""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
import pymongo
from bson import json_util
from pymongo import IndexModel

from tests.servers.postgres import installed

ENDINGS: Final = {"sqlite": "sqlite.gz", "postgresql": "postgresql.sql", "mongodb": "mongodb.json"}
"""The ending of the file of each engine's store."""

_NOT_SQL: Final = ("\\", "--")
"""The beginnings of comments and of lines that only PostgreSQL's own terminal understands."""


def dump(engine: str, url: str, file: Path) -> None:
    """Write a store, which nothing has open, to a file."""
    _DUMPS[engine](url, file)


def load(engine: str, file: Path, url: str) -> None:
    """Put a dumped store where a URL points, at which there is none."""
    _LOADS[engine](file, url)


def _dump_sqlite(url: str, file: Path) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    assert list(path.parent.glob(f"{path.name}-*")) == [], "the store was not closed"
    file.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def _load_sqlite(file: Path, url: str) -> None:
    Path(url.removeprefix("sqlite:///")).write_bytes(gzip.decompress(file.read_bytes()))


def _dump_postgres(url: str, file: Path) -> None:
    words = ["--inserts", "--rows-per-insert=1", "--no-owner", "--no-privileges", "--schema=datastore", url]
    done = subprocess.run([installed("pg_dump"), *words], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith(_NOT_SQL)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _load_postgres(file: Path, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(file.read_bytes())


def _dump_mongo(url: str, file: Path) -> None:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        stored = {
            each["name"]: {
                "options": each["options"],
                "indexes": [index for index in database[each["name"]].list_indexes() if index["name"] != "_id_"],
                "documents": list(database[each["name"]].find(sort=[("_id", 1)])),
            }
            for each in sorted(database.list_collections(), key=lambda each: str(each["name"]))
        }
    text = json_util.dumps(stored, json_options=json_util.CANONICAL_JSON_OPTIONS, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def _load_mongo(file: Path, url: str) -> None:
    stored = json_util.loads(file.read_text(encoding="utf-8"), json_options=json_util.CANONICAL_JSON_OPTIONS)
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        for name, each in stored.items():
            collection = database.create_collection(name, **each["options"])
            if each["documents"]:
                collection.insert_many(each["documents"])
            if each["indexes"]:
                collection.create_indexes([_index(dict(index)) for index in each["indexes"]])


def _index(described: dict[str, Any]) -> IndexModel:
    return IndexModel(list(described.pop("key").items()), **{k: v for k, v in described.items() if k != "v"})


_DUMPS: Final[dict[str, Callable[[str, Path], None]]] = {
    "sqlite": _dump_sqlite,
    "postgresql": _dump_postgres,
    "mongodb": _dump_mongo,
}
_LOADS: Final[dict[str, Callable[[Path, str], None]]] = {
    "sqlite": _load_sqlite,
    "postgresql": _load_postgres,
    "mongodb": _load_mongo,
}
