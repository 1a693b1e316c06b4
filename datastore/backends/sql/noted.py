"""What is kept of changes: a table that triggers on the entries fill, so that no write can forget it.

Theory of operation:

- Triggers note every insertion, removal and new version. Counted reads and new expiries touch none of the columns
  that they watch. An entry that expires is noted when garbage collection removes it.
- `seq` rises with every change, in the order in which transactions commit, so whoever has read up to a number has
  missed nothing. The last row always stays, so no number is used twice.
- `change_horizons` says up to which number changes are gone, for an owner, for everyone (under the empty name), or for
  an erased user (under `erased`, which does not say who it was).
"""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from datastore.backends.sql.dialect import NAME, Dialect

EVERYONE: Final = ""
"""The owner under which a horizon is everyone's; nobody has this name."""


def erased(owner: str) -> str:
    """Return the owner under which the horizon of an erased user stands."""
    return "@@erased/" + hashlib.sha256(owner.encode()).hexdigest()


_METADATA: Final = MetaData()

changes: Final = Table(
    "changes",
    _METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("owner", NAME, nullable=False),
    Column("namespace", NAME, nullable=False),
    Column("key", NAME, nullable=False),
    Column("version", Text),
)

horizons: Final = Table(
    "change_horizons",
    _METADATA,
    Column("owner", NAME, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

BY_OWNER: Final = Index("changes_by_owner", changes.c.owner, changes.c.seq)

_TRIGGERS: Final = {
    "entries_inserted": ("AFTER INSERT", "new", "new.version"),
    "entries_updated": ("AFTER UPDATE OF version", "new", "new.version"),
    "entries_deleted": ("AFTER DELETE", "old", "NULL"),
}

PARTS: Final = (str(BY_OWNER.name), *_TRIGGERS)
NAMES: Final = frozenset({changes.name, horizons.name, *PARTS})


def creation(dialect: Dialect) -> list[ExecutableDDLElement]:
    """Return the statements that make tables, index and triggers, or whichever of them is missing."""
    return [
        *(CreateTable(each, if_not_exists=True) for each in (changes, horizons)),
        CreateIndex(BY_OWNER, if_not_exists=True),
        *(made for name, each in _TRIGGERS.items() for made in dialect.trigger(name, *each)),
    ]
