"""The audit log's form: what a row says, and how rows are chained so that a change to any of them shows.

Theory of operation:

- Every store that is opened to write the log has a chain of its own, so hosts never wait for each other.
- A row's `content` is the SHA-256 of what it says under a salt of its own. Its `link` is the SHA-256 of the link
  before it, the row's name, its time and its content. So a row that was changed, moved or taken out does not fit.
- Emptying a row takes away what it says and the salt, without which its content cannot be guessed; content and link
  stay, and with them the chain.
- Whoever may write to the store could compute a whole new chain. A `Head`, kept where the store's credentials cannot
  write, pins every row up to its own.

A row never holds a value. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

IDLE: Final = timedelta(hours=1)
"""A chain that rested for longer is not gone on with; so a chain that is old is one that nobody writes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9.-]")


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did, or was refused; in an emptied row only `by_user` is left, a pseudonym.

    Attributes:
        by_user, by_agent, by_run: who.
        operation: put, delete, touch, incr, clear, copy_from, copy_to, get, ...
        owner, namespace: whose data and where, in stored names.
        key: the key; of an operation on several, the prefix that it named.
        size_bytes, version: of the value that was written or read.
        number: how many entries an operation on several concerned.
        outcome: `done`, `absent`, `not_applied` (its condition did not hold), `unknown` (it was cut off and may have
            happened), or an error's code.
    """

    by_user: str | None
    by_agent: str | None = None
    by_run: str | None = None
    operation: str | None = None
    owner: str | None = None
    namespace: str | None = None
    key: str | None = None
    size_bytes: int | None = None
    version: str | None = None
    number: int | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log. `id` is `CHAIN:NUMBER`; `salt` is None where it was emptied."""

    id: str
    at: datetime
    deed: Deed
    salt: str | None
    content: str
    link: str

    @property
    def chain(self) -> str:
        """Which chain it stands in."""
        return _parted(self.id)[0]

    @property
    def seq(self) -> int:
        """Its number there, from 1 on; 0 where no writer makes such an id."""
        return _parted(self.id)[1]

    def intact(self) -> bool:
        """Say whether what it says is what was written, or was taken away as a whole."""
        if self.salt is None:
            return self.deed == Deed(self.deed.by_user)
        return _content(self.salt, self.deed) == self.content

    def follows(self, link: str) -> bool:
        """Say whether it is the row that was written after the one with this link."""
        return self.link == linked(link, self)

    def emptied(self, pseudonym: str) -> Row:
        """Return the row without what it says."""
        return replace(self, deed=Deed(pseudonym), salt=None)

    @property
    def head(self) -> Head:
        """What pins the chain up to this row."""
        return Head(self.chain, self.seq, self.at, self.link)


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a chain at some moment."""

    chain: str
    seq: int
    at: datetime
    link: str


class Chain:
    """The rows of one writer, in order; it never waits and writes nothing itself."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        host = _NO_NAME.sub("", socket.gethostname())[:64] or "host"
        self._name = f"{host}-{secrets.token_hex(6)}"
        self._seq = 0
        self._at = _EPOCH
        self._link = genesis(self._name)

    def add(self, at: datetime, deed: Deed) -> Row:
        """Return the next row; within a chain time never goes back."""
        if self._seq and at - self._at > IDLE:
            self._begin()
        salt = secrets.token_hex(16)
        self._seq += 1
        self._at = max(self._at, at)
        row = Row(row_id(self._name, self._seq), self._at, deed, salt, _content(salt, deed), "")
        self._link = linked(self._link, row)
        return replace(row, link=self._link)


def genesis(chain: str) -> str:
    """Return what the first row of a chain follows."""
    return _digest(f"agent-data-store audit 1\n{chain}")


def linked(link: str, row: Row) -> str:
    """Return the link that a row has after the one with this link."""
    return _digest(f"{link}\n{row.id}\n{(row.at - _EPOCH) // _MILLISECOND}\n{row.content}")


def _content(salt: str, deed: Deed) -> str:
    return _digest(f"{salt}\n{json.dumps(astuple(deed), separators=(',', ':'), default=repr)}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_DIGITS: Final = 15


def row_id(chain: str, seq: int) -> str:
    """Return the id of a row: in the order of ids, chains stand one after another, each in its own order."""
    return f"{chain}:{seq:0{_DIGITS}d}"


def _parted(identity: str) -> tuple[str, int]:
    chain, _, number = identity.rpartition(":")
    seq = int(number) if len(number) == _DIGITS and number.isdecimal() and number.isascii() else 0
    return (chain, seq) if seq else (identity, 0)
