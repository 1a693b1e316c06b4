"""Whether the audit log is as it was written: rows in the order of their ids go in, findings come out.

Theory of operation:

- A row is changed where what it says does not have its digest. A row that is not there is a gap in the numbers. A row
  whose link does not follow from the one before was moved or put there; rows that fit in another order were swapped.
- After a row that does not fit the walk goes on from what stands and from what should, so that one is not blamed for
  another.
- Rows may be missing from the beginning of a chain, and whole chains, as far as the log itself announces that older
  rows were removed; rows may be empty where it announces the pseudonym. Where heads are given, only announcements that
  a head vouches for count.
- A row missing from the end leaves no trace in the log: a head alone can show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from datastore.chain import Deed, Head, Row, genesis, linked

Kind = Literal["changed", "removed", "swapped", "misplaced", "emptied", "cut", "rewritten", "foreign"]

PRUNE: Final = "prune"
ERASE: Final = "erase"
PRUNED: Final = "@@pruned"
"""Who is named in the last of the rows that were removed for their age, which stays, without what it said."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MISFITS: Final = 64
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)

_WORDS: Final[Mapping[Kind, str]] = {
    "changed": "says something else than was written",
    "removed": "is missing",
    "swapped": "stand in another order than they were written in",
    "misplaced": "does not follow the row before: its time, number or digests were changed, or it was put there",
    "emptied": "was emptied, and nothing in the log announces that",
    "cut": "is missing from the end: a head says that it was written",
    "rewritten": "is not the row that its head was written down of",
    "foreign": "has an id that no writer makes",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with rows of a chain, from a number to another (inclusive)."""

    kind: Kind
    chain: str
    seq: int
    until: int

    def __str__(self) -> str:
        words = _WORDS[self.kind]
        if self.seq == self.until:
            return f"chain {self.chain}, row {self.seq:,}: {words}"
        words = words.replace("is missing", "are missing").replace("it was", "they were")
        return f"chain {self.chain}, rows {self.seq:,} to {self.until:,}: {words}"


@dataclass(slots=True)
class Check:
    """A walk over all rows.

    Args:
        heads: the last head of each chain that is known; None: none were given.
    """

    heads: Mapping[str, Head] | None
    rows: int = 0
    chains: int = 0
    emptied: int = 0
    unvouched: int = 0
    findings: int = 0
    _last: Row | None = None
    _links: list[str] = field(default_factory=list)
    _misfits: list[Row] = field(default_factory=list)
    _before: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _starts: dict[str, Row] = field(default_factory=dict)
    _blanks: dict[str, Row] = field(default_factory=dict)
    _pseudonyms: set[str] = field(default_factory=set)
    _cutoff: datetime = _NEVER

    def take(self, row: Row) -> Iterator[Finding]:
        """Look at the next row."""
        for each in self._take(row):
            self.findings += 1
            yield each

    def end(self) -> Iterator[Finding]:
        """Judge what only the whole log can tell."""
        for each in (*self._chain_ends(), *self._unannounced(), *self._missing_chains()):
            self.findings += 1
            yield each

    def _take(self, row: Row) -> Iterator[Finding]:
        self.rows += 1
        if not row.seq:
            yield Finding("foreign", row.chain, 0, 0)
            return
        if self._last is None or self._last.chain != row.chain:
            yield from self._chain_ends()
            self._begin(row)
        elif row.seq > self._last.seq + 1:
            yield from self._settled()
            yield Finding("removed", row.chain, self._last.seq + 1, row.seq - 1)
            self._links = []
        yield from self._judge(row)
        self._last = row

    def _begin(self, row: Row) -> None:
        self.chains += 1
        if self.heads is not None and row.chain in self.heads:
            self._seen.add(row.chain)
        self._links = [genesis(row.chain)] if row.seq == 1 else []
        if row.seq > 1:
            self._starts[row.chain] = row

    def _judge(self, row: Row) -> Iterator[Finding]:
        follows = not self._links or any(row.follows(each) for each in self._links)
        if follows:
            yield from self._settled()
            self._links = [row.link]
        else:
            yield from self._settled() if len(self._misfits) == _MOST_MISFITS else ()
            self._before = self._before if self._misfits else self._links
            self._misfits.append(row)
            self._links = [*self._links, *(linked(each, row) for each in self._links), row.link][-_MOST_MISFITS:]
        if not row.intact():
            yield Finding("changed", row.chain, row.seq, row.seq)
        elif row.salt is None:
            self.emptied += 1
            self._note_blank(row)
        elif self._vouched(row) and follows:
            self._hear(row.deed)
        if (head := self._head(row.chain)) is not None and head.seq == row.seq and head.link != row.link:
            yield Finding("rewritten", row.chain, row.seq, row.seq)
        self.unvouched += not self._vouched(row)

    def _head(self, chain: str) -> Head | None:
        return None if self.heads is None else self.heads.get(chain)

    def _vouched(self, row: Row) -> bool:
        head = self._head(row.chain)
        return self.heads is None or (head is not None and row.seq <= head.seq)

    def _note_blank(self, row: Row) -> None:
        known = self._blanks.get(str(row.deed.by_user))
        if known is None or known.at < row.at:
            self._blanks[str(row.deed.by_user)] = row

    def _hear(self, deed: Deed) -> None:
        """Take note of what a row announces."""
        if deed.operation == ERASE:
            self._pseudonyms.add(str(deed.by_user))
        elif deed.operation == PRUNE:
            self._cutoff = max(self._cutoff, _removed_before(deed.number))

    def _chain_ends(self) -> Iterator[Finding]:
        yield from self._settled()
        last, self._last = self._last, None
        if last is not None and (head := self._head(last.chain)) is not None and last.seq < head.seq:
            yield Finding("cut", last.chain, last.seq + 1, head.seq)

    def _settled(self) -> Iterator[Finding]:
        """Judge the rows that did not fit, now that one does."""
        misfits, self._misfits = self._misfits, []
        if not misfits:
            return
        chain = misfits[0].chain
        if len(misfits) > 1 and _permuted(misfits, self._before):
            yield Finding("swapped", chain, misfits[0].seq, misfits[-1].seq)
        else:
            yield from (Finding("misplaced", chain, each.seq, each.seq) for each in misfits)

    def _unannounced(self) -> Iterator[Finding]:
        for chain, row in self._starts.items():
            if row.at >= self._cutoff:
                yield Finding("removed", chain, 1, row.seq - 1)
        for pseudonym, row in self._blanks.items():
            aged = pseudonym == PRUNED and row.at < self._cutoff
            if not aged and pseudonym not in self._pseudonyms:
                yield Finding("emptied", row.chain, row.seq, row.seq)

    def _missing_chains(self) -> Iterator[Finding]:
        for chain, head in (self.heads or {}).items():
            if chain not in self._seen and head.at >= self._cutoff:
                yield Finding("cut", chain, 1, head.seq)


def to_number(before: datetime) -> int:
    """Return how a row announces that older rows are removed: in milliseconds."""
    return (before - _EPOCH) // timedelta(milliseconds=1)


def _removed_before(number: object) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=int(str(number)))
    except (ValueError, OverflowError):
        return _NEVER


def _permuted(rows: list[Row], links: list[str]) -> bool:
    """Say whether the rows follow one another, and one of the links, in another order than they stand in."""
    left = list(rows)
    for place in rows:
        moved = ((each, replace(each, id=place.id)) for each in left)
        fitting = next((each for each, there in moved if any(there.follows(link) for link in links)), None)
        if fitting is None:
            return False
        left.remove(fitting)
        links = [fitting.link]
    return True
