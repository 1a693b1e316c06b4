"""The statements of the audit log; see `ports.Ledger`.

What the table holds may have been changed by others, which the log is there to show; so a row of any shape is read as
one that is not intact, and never makes a look fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Delete, Select, bindparam, delete, select, tuple_, update
from sqlalchemy import Row as Stored

from datastore.backends.sql.audited import DEED, audit
from datastore.backends.sql.runner import Job
from datastore.backends.sql.schema import from_ms, to_ms
from datastore.chain import Deed, Row, row_id
from datastore.ports import Look

_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EMPTIED: Final = (
    update(audit)
    .where(audit.c.id == bindparam("row"))
    .values(dict.fromkeys((*DEED, "salt")) | {"by_user": bindparam("pseudonym")})
)


async def append(job: Job, given: Sequence[Row]) -> None:
    """Add rows; see `Ledger.append`."""
    adding = job.dialect.insert(audit).on_conflict_do_nothing(index_elements=[audit.c.id])
    async with job.transaction():
        await job.execute(adding, [_stored(each) for each in given])


async def empty(job: Job, given: Sequence[Row], pseudonym: str) -> None:
    """Empty rows; see `Ledger.empty`."""
    ids = sorted(each.id for each in given)
    async with job.transaction():
        await job.execute(_EMPTIED, [{"row": each, "pseudonym": pseudonym} for each in ids])


async def read(job: Job, look: Select[Any]) -> list[Row]:
    """Return what a statement finds."""
    return [to_row(each) for each in await job.execute(look)]


def trail(after: str, limit: int) -> Select[Any]:
    """Return the statement that walks all chains."""
    return select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)


def found(look: Look, after: Row | None, limit: int) -> Select[Any]:
    """Return the statement for the rows that are wanted."""
    equal = {"by_user": look.user, "by_agent": look.agent, "namespace": look.namespace, "key": look.key}
    wanted = [audit.c[name] == each for name, each in equal.items() if each is not None]
    wanted += [] if look.since is None else [audit.c.at >= to_ms(look.since)]
    wanted += [] if look.until is None else [audit.c.at < to_ms(look.until)]
    if after is not None:
        reached = tuple_(to_ms(after.at), after.id)
        wanted.append(tuple_(audit.c.at, audit.c.id) > reached)
    return select(audit).where(*wanted).order_by(audit.c.at, audit.c.id).limit(limit)


def removal(chain: str, until: int) -> Delete:
    """Return the statement that removes the beginning of a chain."""
    return delete(audit).where(audit.c.id >= row_id(chain, 0), audit.c.id <= row_id(chain, until))


def to_row(stored: Stored[Any]) -> Row:
    """Return what stands in a row, whatever that is."""
    deed = Deed(**{name: getattr(stored, name) for name in DEED})
    return Row(str(stored.id), _moment(stored.at), deed, stored.salt, stored.content, stored.link)


def _moment(stored: object) -> datetime:
    try:
        return from_ms(stored) if isinstance(stored, int) else _NO_TIME
    except OverflowError:
        return _NO_TIME


def _stored(row: Row) -> dict[str, object]:
    proof = {"salt": row.salt, "content": row.content, "link": row.link}
    return {"id": row.id, "at": to_ms(row.at), **asdict(row.deed), **proof}
