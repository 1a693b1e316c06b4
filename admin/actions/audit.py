"""What operators do with the audit log: look, check, remove what is old, and take a user out of it.

What is done to the log is announced in it first, in a row that is written before anything else is; so the check can
tell it from what somebody else did.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import BinaryIO, Final

from pydantic import AwareDatetime, Field, ValidationError

from admin.actions.audit_check import ERASE, PRUNE, PRUNED, Check, Finding, to_number
from admin.actions.subject import operator_name
from datastore.chain import Deed, Head, Row, row_id
from datastore.document import moment
from datastore.errors import InvalidArgument, after
from datastore.models import OPERATOR, Model
from datastore.ports import Look
from datastore.service.store import Store

PAGE: Final = 1000
LEAST_AGE: Final = timedelta(days=1)
"""What is younger is not removed: its chain may still be written."""
_LAST: Final = 10**15 - 1
_HEAD_BYTES: Final = 1024


async def rows(store: Store, look: Look, limit: int | None = None) -> AsyncIterator[list[Row]]:
    """Give the rows that are wanted in the order of time; all of them, or the first `limit`.

    Raises:
        InvalidArgument: times were changed, so that there is no such order.
    """
    last: Row | None = None
    left = limit
    while left is None or left > 0:
        page = await store.engine.found(look, last, PAGE if left is None else min(PAGE, left))
        if not page:
            return
        if last is not None and (page[-1].at, page[-1].id) <= (last.at, last.id):
            raise InvalidArgument("the log's times were changed. Look at what `datastore admin audit verify` finds.")
        yield page
        last = page[-1]
        left = None if left is None else left - len(page)


class _Line(Model):
    """A head as a host writes it down."""

    chain: str = Field(min_length=1, max_length=128)
    seq: int = Field(ge=1)
    at: AwareDatetime = Field(strict=False)
    link: str = Field(pattern="^[0-9a-f]{64}$")


def heads(source: BinaryIO, name: str, known: dict[str, Head]) -> None:
    """Add the last head of each chain in a file; a last line that was not written to its end does not count.

    Raises:
        InvalidArgument: a line is no head; names it.
    """
    for number, line in enumerate(iter(lambda: source.readline(_HEAD_BYTES), b""), 1):
        if not line.endswith(b"\n") and len(line) < _HEAD_BYTES:
            return
        try:
            head = Head(**_Line.model_validate_json(line).model_dump())
        except ValidationError as error:
            raise InvalidArgument(
                f"line {number:,} of {name} is no head of an audit log. Give a file that DATASTORE_AUDIT_HEADS named."
            ) from error
        if head.chain not in known or known[head.chain].seq < head.seq:
            known[head.chain] = head


async def verify(store: Store, check: Check) -> AsyncIterator[list[Finding]]:
    """Walk the whole log, and give what is wrong with it."""
    after = ""
    while page := await store.engine.trail(after, PAGE):
        if found := [finding for row in page for finding in check.take(row)]:
            yield found
        after = page[-1].id
    if found := list(check.end()):
        yield found


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one chain that are old, in order.

    `ends` says that the chain has no others after them, `goes_on` that the part before was of the same chain.
    """

    rows: list[Row]
    ends: bool
    goes_on: bool

    @property
    def removable(self) -> int:
        """How many go: the last of a chain that does not end stays, until the next part goes."""
        return len(self.rows) - (not self.ends) + self.goes_on


async def old(store: Store, before: datetime) -> int:
    """Return how many rows `prune` would remove."""
    return sum([each.removable async for each in _old(store, before)])


async def prune(store: Store, before: datetime) -> int:
    """Remove rows that are older than a moment; return how many went.

    Of a chain that goes on the last of them stays, without what it said, and bears the chain. Called again after an
    interruption, it goes on.

    Raises:
        InvalidArgument: the moment is less than a day ago.
    """
    if moment(store.clock.now()) - before < LEAST_AGE:
        raise InvalidArgument("rows younger than a day may still be gone on from. Give an age of a day or more.")
    removed, parts = 0, _old(store, before)
    while True:
        with after(removed, f"{removed:,} rows were removed"):
            if (part := await anext(parts, None)) is None:
                return removed
            if part.removable:
                await _remove(store, part, before, is_first=not removed)
        removed += part.removable


async def _remove(store: Store, part: _Part, before: datetime, *, is_first: bool) -> None:
    if is_first:
        await store.audit.announce(_announcement(PRUNE, PRUNED, to_number(before)))
    last = part.rows[-1]
    with after(is_first, "the removal was announced"):
        if not part.ends:
            await store.engine.empty([last], PRUNED)
        await store.engine.remove(last.chain, last.seq - (not part.ends))


async def forget(store: Store, user: str, pseudonym: str) -> int:
    """Take a user out of the log: empty the rows of what it did; return how many.

    The rows stay, with a pseudonym in place of the user, so the chain stays whole. Rows that other hosts have not
    written yet come within a second or two; called again, it takes those. Called after an interruption, it goes on.
    """
    if user == pseudonym:
        raise InvalidArgument("a pseudonym must differ from the user's name.")
    emptied = 0
    while page := await store.engine.found(Look(user=user), None, PAGE):
        if not emptied:
            await store.audit.announce(_announcement(ERASE, pseudonym))
        await store.engine.empty(page, pseudonym)
        emptied += len(page)
    return emptied


def _announcement(operation: str, by_user: str, number: int | None = None) -> Deed:
    operator = OPERATOR + operator_name()
    return Deed(by_user, operator, operator, operation, number=number, outcome="announced")


async def _old(store: Store, before: datetime) -> AsyncIterator[_Part]:
    """Give the rows before a moment, page by page, chain by chain."""
    after, open_chain = "", None
    while page := await store.engine.trail(after, PAGE):
        mine = _first_chain(page)
        part = list(takewhile(lambda row: row.at < before, mine))
        younger = len(part) < len(mine)
        ends = not younger and len(mine) < PAGE
        chain = mine[0].chain
        if part:
            yield _Part(part, ends, chain == open_chain)
        open_chain = None if ends else chain
        after = row_id(chain, _LAST) if younger and mine[0].seq else mine[-1].id


def _first_chain(page: Iterable[Row]) -> list[Row]:
    rows = iter(page)
    first = next(rows)
    return [first, *takewhile(lambda row: row.chain == first.chain, rows)]
