"""What changed between a saved `datastore admin stats --json` and now: two lists in one order, merged as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

from pydantic import Field, ValidationError

from admin.actions.subject import Owner
from admin.actions.surveys import Sum
from datastore.document import ids_of
from datastore.errors import InvalidArgument
from datastore.models import Model

LINE_BYTES: Final = 8 * 1024


class Saved(Model):
    """A line of what was saved; more than what is compared stands there."""

    owner: str | None
    namespace: str | None
    keys: int = Field(ge=0)
    bytes: int = Field(ge=0)
    written_keys: int
    written_bytes: int
    created_keys: int
    unread_keys: int
    last_write: str | None


@dataclass(frozen=True, slots=True)
class Growth:
    """What an owner, or a namespace of it, or, without an owner, all hold now, and how much more that is."""

    owner: str | None
    namespace: str | None
    keys: int
    bytes: int
    more_keys: int
    more_bytes: int


Place = tuple[bool, str, bool, str]


def _place(line: Sum | Saved) -> Place:
    """Return where a line stands in the order of `surveys.stats`: sums of several come behind them."""
    owner, namespace = line.owner, line.namespace
    return owner is None, "" if owner is None else ids_of(owner), namespace is None, namespace or ""


class Snapshot:
    """A saved list.

    Args:
        source: where it is; it can be read again.
        name: what messages call it.
        owner: whose namespaces it must list; None: it must list all owners.

    Raises:
        InvalidArgument: it is no such list, or not a whole one.
    """

    def __init__(self, source: BinaryIO, name: str, owner: Owner | None) -> None:
        self._source = source
        self._name = name
        self._number = 0
        if not source.seekable():
            self._refuse("it is a pipe, which cannot be read twice. Name a file.")
        self._check(None if owner is None else owner.id)

    def lines(self) -> Iterator[Saved]:
        """Give every line, from the first."""
        self._source.seek(0)
        self._number = 0
        while raw := self._source.readline(LINE_BYTES + 1):
            self._number += 1
            try:
                yield Saved.model_validate_json(raw)
            except ValidationError:
                self._refuse("it is no line of `datastore admin stats --json`.")

    def _check(self, owner: str | None) -> None:
        last: Saved | None = None
        for line in self.lines():
            if last is not None and _place(line) <= _place(last):
                self._refuse("the line is not in its place.")
            last = line
        if last is None or (last.owner, last.namespace) != (owner, None):
            whose = "all owners" if owner is None else f"owner {owner!r}"
            self._refuse(f"it does not end with the sum of {whose}: it was cut, or is a list of something else.")

    def _refuse(self, reason: str) -> NoReturn:
        raise InvalidArgument(f"{self._name}, line {self._number}: {reason}")


async def growth(now: AsyncIterator[list[Sum]], snapshot: Snapshot) -> AsyncIterator[list[Growth]]:
    """Give what changed; what holds as much as before is left out.

    Raises:
        InvalidArgument: what was saved has changed meanwhile.
    """
    before = snapshot.lines()
    old = next(before, None)
    async for page in now:
        found: list[Growth] = []
        for line in page:
            while old is not None and _place(old) < _place(line):
                found.append(_between(old, None))
                old = next(before, None)
            same = old if old is not None and _place(old) == _place(line) else None
            found.append(_between(same, line))
            old = old if same is None else next(before, None)
        if changed := [each for each in found if each.more_keys or each.more_bytes]:
            yield changed


def _between(old: Saved | None, new: Sum | None) -> Growth:
    line = new or old
    assert line is not None  # noqa: S101 - one of the two stands there
    keys, size = (0, 0) if new is None else (new.tally.keys, new.tally.bytes)
    more = (keys, size) if old is None else (keys - old.keys, size - old.bytes)
    return Growth(line.owner, line.namespace, keys, size, *more)
