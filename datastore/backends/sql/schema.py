"""The table of entries, its indexes, and how times are stored.

`noted` and `counted` have what triggers keep, `audited` the log, and `layouts` the layout of all of it.

Theory of operation:

- `id` is `Place.id(key)`, so one entry is found by one primary key; lists walk `entries_by_key`, which holds all that
  a list of keys or a count needs, the expiry included.
- `entries_by_key` is not declared unique: the primary key says it already, and where two first writers meet,
  PostgreSQL settles the conflict in the one index that the insertion names, and fails in any other.
- Names compare as bytes of UTF-8, which is the order of code points.
- Times are integer milliseconds since the epoch. An entry that never expires is stored with NEVER's, so the one
  comparison `expires_at > now` serves everywhere.
- `entries_by_creator` and `entries_by_updater` find what a user wrote in spaces, the only place where users are kept.
- `entries_by_expiry` serves garbage collection alone. It is partial, since most entries never expire and need not
  stand in it; and no agent's statement can be planned over it by mistake.
- The two large columns come last: a row that is larger than a page goes on in a chain of pages, and whoever reads only
  sizes and times never follows it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table, Text, literal_column
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from datastore.backends.sql import audited, counted, layouts, noted
from datastore.backends.sql.dialect import NAME, Dialect
from datastore.entry import NEVER

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_ms(when: datetime) -> int:
    """Return a time as it is stored."""
    return (when - _EPOCH) // _MILLISECOND


def from_ms(stored: int) -> datetime:
    """Return a stored time as aware UTC."""
    return _EPOCH + stored * _MILLISECOND


NEVER_MS: Final = to_ms(NEVER)

entries: Final = Table(
    "entries",
    MetaData(),
    Column("id", NAME, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("namespace", NAME, nullable=False),
    Column("key", NAME, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by_agent", Text, nullable=False),
    Column("created_by_run", Text, nullable=False),
    Column("created_by_user", Text),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by_agent", Text, nullable=False),
    Column("updated_by_run", Text, nullable=False),
    Column("updated_by_user", Text),
    Column("access_count", BigInteger, nullable=False),
    Column("last_accessed_at", BigInteger),
    Column("last_accessed_by_agent", Text),
    Column("metadata", Text, nullable=False),
    Column("value", Text),
    Column("value_bytes", LargeBinary),
)

EXPIRES: Final = entries.c.expires_at < literal_column(str(NEVER_MS))
"""Whether an entry ever expires, in the very words of the partial index: else the planner could not use it."""

BY_KEY: Final = Index("entries_by_key", entries.c.owner, entries.c.namespace, entries.c.key, entries.c.expires_at)
INDEXES: Final = (
    BY_KEY,
    Index("entries_by_expiry", entries.c.expires_at, sqlite_where=EXPIRES, postgresql_where=EXPIRES),
    *(
        Index(name, column, entries.c.id, sqlite_where=column.is_not(None), postgresql_where=column.is_not(None))
        for name, column in (
            ("entries_by_creator", entries.c.created_by_user),
            ("entries_by_updater", entries.c.updated_by_user),
        )
    ),
)

NAMES: Final = frozenset(
    {
        entries.name,
        *(str(each.name) for each in INDEXES),
        *noted.NAMES,
        *audited.NAMES,
        *counted.NAMES,
        *layouts.NAMES,
    }
)

PARTS: Final = (*(str(each.name) for each in (*INDEXES, *audited.INDEXES)), *noted.PARTS, *counted.PARTS)
"""The indexes and triggers by name."""


def creation(dialect: Dialect) -> list[ExecutableDDLElement]:
    """Return the statements that make the tables, indexes and triggers, or whichever of them is missing."""
    return [
        CreateTable(entries, if_not_exists=True),
        *(CreateIndex(each, if_not_exists=True) for each in INDEXES),
        *noted.creation(dialect),
        *audited.creation(),
        *counted.creation(dialect),
        layouts.CREATION,
    ]
