"""Records as the store itself writes them, for bare drivers and for building large stores without the store.

Tests compare both forms with what the store makes of the same entry. Values and keys come from a seed, so two runs
have the same ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from datastore.backends.sql.schema import NEVER_MS, entries, to_ms
from datastore.document import Place
from datastore.entry import NEVER

SEED: Final = 20_261_130
AGENT: Final = "bench"
RUN: Final = "bench-run"
COLUMNS: Final = tuple(each.name for each in entries.c)
NAMES: Final = ", ".join(f'"{each}"' for each in COLUMNS)
MARKS: Final = ", ".join("?" for _ in COLUMNS)
"""A placeholder for each column."""
INSERT: Final = f"INSERT INTO entries ({NAMES}) VALUES ({MARKS})"  # noqa: S608 - our own names

_WORDS: Final = ("alpha", "bravo", "delta", "gamma", "kappa", "lambda", "omega", "sigma", "theta", "zeta")


@dataclass(frozen=True, slots=True)
class Record:
    """An entry that was written once and never read."""

    owner: str
    namespace: str
    key: str
    value: Any
    text: str
    """The value as compact JSON."""
    version: str
    now: datetime

    @property
    def id(self) -> str:
        """The document's id."""
        return Place(self.owner, self.namespace).id(self.key)


def value(random: Random) -> dict[str, Any]:
    """Return a document of 20 fields, 400 bytes or so of JSON."""
    numbers = {f"count_{each}": random.randrange(10**6) for each in range(6)}
    texts = {f"name_{each}": f"{random.choice(_WORDS)}-{random.randrange(10**4)}" for each in range(6)}
    rest: dict[str, Any] = {
        "score": round(random.random(), 6),
        "weight": round(random.random() * 100, 3),
        "active": random.random() < 0.5,
        "checked": random.random() < 0.5,
        "parent": None,
        "note": "é".join(random.choices(_WORDS, k=4)),
        "tags": random.choices(_WORDS, k=3),
        "at": {"x": random.randrange(100), "y": random.randrange(100)},
    }
    return numbers | texts | rest


def text(given: Any) -> str:
    """Return a value as compact JSON, as SQL stores it and as sizes are measured."""
    return json.dumps(given, ensure_ascii=False, separators=(",", ":"))


def version() -> str:
    """Return a version: 96 random bits."""
    return os.urandom(12).hex()


def key(number: int) -> str:
    """Return the key of a number; keys sort as their numbers do."""
    return f"entry:{number:07}"


@dataclass(frozen=True, slots=True)
class DataSet:
    """The keys and values that a benchmark works on."""

    keys: tuple[str, ...]
    values: tuple[Any, ...]

    @classmethod
    def of(cls, size: int) -> DataSet:
        """Return so many entries, the same ones every time."""
        random = Random(SEED)  # noqa: S311 - reproducible, not secret
        return cls(tuple(key(number) for number in range(size)), tuple(value(random) for _ in range(size)))

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        """Give all entries, so many at a time."""
        pairs = list(zip(self.keys, self.values, strict=True))
        for start in range(0, len(pairs), size):
            yield dict(pairs[start : start + size])


@dataclass(frozen=True, slots=True)
class Writer:
    """Makes the records of one namespace of an owner, as of writes that happen now."""

    owner: str
    namespace: str = "default"

    def id(self, name: str) -> str:
        """Return the id of an entry."""
        return Place(self.owner, self.namespace).id(name)

    def record(self, name: str, given: Any) -> Record:
        """Return the record of an entry."""
        return Record(self.owner, self.namespace, name, given, text(given), version(), datetime.now(UTC))

    def row(self, name: str, given: Any) -> tuple[Any, ...]:
        """Return the row of an entry."""
        return row(self.record(name, given))


def row(record: Record) -> tuple[Any, ...]:
    """Return the row of a record, in the order of `COLUMNS`."""
    now = to_ms(record.now)
    return (
        *(record.id, record.owner, record.namespace, record.key, NEVER_MS, record.version, len(record.text.encode())),
        *(now, AGENT, RUN, None),
        *(now, AGENT, RUN, None),
        *(0, None, None, "{}", record.text, None),
    )


def document(record: Record) -> dict[str, Any]:
    """Return the document of a record."""
    return {
        "_id": record.id,
        "userId": record.owner,
        "namespace": record.namespace,
        "key": record.key,
        "expiresAt": NEVER,
        **written(record.value, len(record.text.encode()), record.version, record.now),
        **created(record.now),
    }


def written(given: Any, size: int, made: str, now: datetime) -> dict[str, Any]:
    """Return the fields that each write sets, besides the expiry."""
    return {
        "value": given,
        "sizeBytes": size,
        "version": made,
        "updatedAt": now,
        "updatedByAgent": AGENT,
        "updatedByRun": RUN,
    }


def created(now: datetime) -> dict[str, Any]:
    """Return the fields that the first write sets."""
    return {
        "createdAt": now,
        "createdByAgent": AGENT,
        "createdByRun": RUN,
        "accessCount": 0,
        "lastAccessedAt": None,
        "lastAccessedByAgent": None,
        "metadata": {},
    }
