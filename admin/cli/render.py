"""Draws lists and entries: a table on a terminal, tab-separated lines in a pipe, or JSON.

Lists are drawn page by page as they come. Nothing is cut: a long cell folds on a terminal and stays whole in a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from admin.cli.text import as_json, say, size, visible, when
from datastore.entry import Entry
from datastore.errors import InvalidArgument
from datastore.ports import Holder, Holding
from datastore.values import compact

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table: its title, and what stands there for an item."""

    title: str
    text: Callable[[T], str]
    right: bool = False


@dataclass(frozen=True, slots=True)
class Sheet(Generic[T]):
    """How a kind of item is drawn: as cells, and as an object of JSON."""

    columns: tuple[Column[T], ...]
    data: Callable[[T], dict[str, Any]]

    def titles(self) -> list[str]:
        """Return the header's cells."""
        return [each.title for each in self.columns]

    def cells(self, item: T) -> list[str]:
        """Return an item's cells, safe to show."""
        return [visible(each.text(item)) for each in self.columns]


async def listing(pages: AsyncIterator[Sequence[T]], sheet: Sheet[T], *, json: bool) -> int:
    """Print a list as it comes, and return how many items it had."""
    total = 0
    async for page in pages:
        if json:
            _print_objects(page, sheet)
        elif sys.stdout.isatty():
            _print_table(page, sheet)
        else:
            _print_lines(page, sheet, header=total == 0)
        total += len(page)
    return total


def entry(found: Entry, owner: str) -> None:
    """Print an entry for a person: what is known of it, then its value as indented JSON."""
    for title, text in _facts(found, owner):
        say(f"{title:<10} {visible(text)}")
    say("")
    if isinstance(found.value, bytes):
        say(f"bytes, {size(len(found.value))}; --raw gives them as they are, --json as base64")
    else:
        say(as_json(found.value, indent=2))


def raw(found: Entry) -> None:
    """Print an entry's value alone: bytes as they are, anything else as a line of compact JSON.

    Raises:
        InvalidArgument: bytes, to a terminal, which would obey them.
    """
    if not isinstance(found.value, bytes):
        say(visible(compact(found.value)))
        return
    if sys.stdout.isatty():
        raise InvalidArgument(f"{found.key!r} holds bytes, which a terminal cannot show. Write --raw > FILE.")
    sys.stdout.flush()
    sys.stdout.buffer.write(found.value)
    sys.stdout.buffer.flush()


def _facts(found: Entry, owner: str) -> list[tuple[str, str]]:
    read = f"{found.access_count:,} times"
    if found.last_accessed_at is not None:
        read += f", last {when(found.last_accessed_at)} UTC by {found.last_accessed_by_agent}"
    created = _writer(found.created_by_agent, found.created_by_run, found.created_by_user)
    updated = _writer(found.updated_by_agent, found.updated_by_run, found.updated_by_user)
    return [
        ("owner", owner),
        ("namespace", found.namespace),
        ("key", found.key),
        ("version", found.version),
        ("bytes", f"{found.size_bytes:,}"),
        ("created", f"{when(found.created_at)} UTC by {created}"),
        ("updated", f"{when(found.updated_at)} UTC by {updated}"),
        ("read", read),
        ("expires", "never" if found.expires_at is None else f"{when(found.expires_at)} UTC"),
        ("metadata", as_json(found.metadata)),
    ]


def _writer(agent: str, run: str, user: str | None) -> str:
    return f"{agent}, run {run}" if user is None else f"{agent}, run {run}, user {user}"


def _print_objects(page: Sequence[T], sheet: Sheet[T]) -> None:
    for item in page:
        say(as_json(sheet.data(item)))


def _print_lines(page: Sequence[T], sheet: Sheet[T], *, header: bool) -> None:
    if header:
        say("\t".join(sheet.titles()))
    for item in page:
        say("\t".join(sheet.cells(item)))


def _print_table(page: Sequence[T], sheet: Sheet[T]) -> None:
    # Imported only where a table is drawn: it costs as much as everything else that a list needs.
    from rich.console import Console  # noqa: PLC0415

    Console(highlight=False, markup=False, emoji=False).print(_table(page, sheet))


def _table(page: Sequence[T], sheet: Sheet[T]) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in sheet.columns:
        table.add_column(Text(column.title), justify="right" if column.right else "left", overflow="fold")
    for item in page:
        table.add_row(*(Text(cell) for cell in sheet.cells(item)))
    return table


HOLDERS: Sheet[Holder] = Sheet(
    (
        Column("owner", lambda each: each.owner),
        Column("namespaces", lambda each: f"{each.namespaces:,}", right=True),
        Column("keys", lambda each: f"{each.keys:,}", right=True),
        Column("bytes", lambda each: f"{each.bytes:,}", right=True),
        Column("last write (UTC)", lambda each: when(each.last_write)),
    ),
    lambda each: {"owner": each.owner, "namespaces": each.namespaces, **_held(each)},
)

NAMESPACES: Sheet[tuple[str, Holding]] = Sheet(
    (
        Column("namespace", lambda each: each[0]),
        Column("keys", lambda each: f"{each[1].keys:,}", right=True),
        Column("bytes", lambda each: f"{each[1].bytes:,}", right=True),
        Column("last write (UTC)", lambda each: when(each[1].last_write)),
    ),
    lambda each: {"namespace": each[0], **_held(each[1])},
)

KEYS: Sheet[Entry] = Sheet(
    (
        Column("key", lambda each: each.key),
        Column("bytes", lambda each: f"{each.size_bytes:,}", right=True),
        Column("version", lambda each: each.version),
        Column("updated (UTC)", lambda each: when(each.updated_at)),
        Column("by", lambda each: each.updated_by_agent),
        Column("expires (UTC)", lambda each: when(each.expires_at, never="never")),
    ),
    lambda each: {name: fact for name, fact in each.as_dict().items() if name != "value"},
)


def _held(held: Holder | Holding) -> dict[str, Any]:
    last = held.last_write.isoformat(timespec="milliseconds")
    return {"keys": held.keys, "bytes": held.bytes, "last_write": last}
