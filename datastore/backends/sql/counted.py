"""How much owners hold: a table that triggers on the entries keep, so that no write can forget it.

Theory of operation:

- An owner is counted from the first write on that has a quota; where no owner is, a trigger finds nothing to do.
- Of a counted owner there is a row for the whole, under the empty name, and one for each namespace that holds
  something. They count rows as they stand: what has expired counts until garbage collection removes it, so a counter
  is never too low.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table
from sqlalchemy.schema import CreateTable, ExecutableDDLElement

from datastore.backends.sql.dialect import NAME, Dialect

counters: Final = Table(
    "counters",
    MetaData(),
    Column("owner", NAME, primary_key=True),
    Column("namespace", NAME, primary_key=True),
    Column("held_bytes", BigInteger, nullable=False),
    Column("held_keys", BigInteger, nullable=False),
)

_GAINED: Final = (
    "INSERT INTO {counters} (owner, namespace, held_bytes, held_keys)\n"
    "\tSELECT new.owner, names.name, new.size_bytes, 1\n"
    "\tFROM {counters} AS whole, (SELECT '' AS name UNION ALL SELECT new.namespace) AS names\n"
    "\tWHERE whole.owner = new.owner AND whole.namespace = ''\n"
    "\tON CONFLICT (owner, namespace) DO UPDATE SET\n"
    "\theld_bytes = counters.held_bytes + excluded.held_bytes, held_keys = counters.held_keys + 1;"
)
_RESIZED: Final = (
    "UPDATE {counters} SET held_bytes = held_bytes + new.size_bytes - old.size_bytes\n"
    "\tWHERE owner = new.owner AND namespace IN ('', new.namespace);"
)
_COUNTING: Final = {
    "counted_inserted": ("AFTER INSERT", _GAINED),
    "counted_updated": ("AFTER UPDATE OF size_bytes", _RESIZED),
}
_DISCOUNTING: Final = "counted_deleted"

PARTS: Final = (*_COUNTING, _DISCOUNTING)
NAMES: Final = frozenset({counters.name, *PARTS})


def creation(dialect: Dialect) -> list[ExecutableDDLElement]:
    """Return the statements that make table and triggers, or whichever of them is missing."""
    return [
        CreateTable(counters, if_not_exists=True),
        *(made for name, each in _COUNTING.items() for made in dialect.counting(name, *each)),
        *dialect.discounting(_DISCOUNTING),
    ]
