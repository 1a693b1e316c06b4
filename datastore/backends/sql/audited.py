"""The table of the audit log, and its indexes; `ledger` has the statements, and `datastore.chain` what a row is."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from datastore.backends.sql.dialect import NAME
from datastore.chain import Deed

DEED: Final = tuple(each.name for each in fields(Deed))
_NUMBERS: Final = frozenset({"size_bytes", "number"})
_SOUGHT: Final = ("by_agent", "by_user", "key")

audit: Final = Table(
    "audit",
    MetaData(),
    Column("id", NAME, primary_key=True),
    Column("at", BigInteger, nullable=False),
    *(Column(each, BigInteger if each in _NUMBERS else NAME if each in _SOUGHT else Text) for each in DEED),
    Column("salt", Text),
    Column("content", Text, nullable=False),
    Column("link", Text, nullable=False),
)

INDEXES: Final = (
    Index("audit_by_time", audit.c.at, audit.c.id),
    Index("audit_by_user", audit.c.by_user, audit.c.at, audit.c.id),
    Index("audit_by_agent", audit.c.by_agent, audit.c.at, audit.c.id),
    Index("audit_by_key", audit.c.key, audit.c.at, audit.c.id),
)

NAMES: Final = frozenset({audit.name, *(str(each.name) for each in INDEXES)})


def creation() -> list[ExecutableDDLElement]:
    """Return the statements that make the table and its indexes, or whichever of them is missing."""
    return [CreateTable(audit, if_not_exists=True), *(CreateIndex(each, if_not_exists=True) for each in INDEXES)]
