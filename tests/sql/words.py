"""The words of these tests: a clock that stands still, a place, and short ways to say a change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from datastore.backends.sql import SqlBackend
from datastore.chain import Chain, Deed
from datastore.document import Place, Span, moment
from datastore.entry import NEVER, Entry
from datastore.operations import Applied
from datastore.ports import Access, Actor, Change, Increment, Look, Removal, Renewal, Write
from datastore.settings import Settings
from datastore.values import size

NOW = moment(datetime.now(UTC)) + timedelta(hours=1)
"""A server compares its own time too, so no test runs until this one."""
HERE = Place("alice", "notes")


Statement = tuple[str, Sequence[Any]]


class Listener:
    """Notes every statement that a store sends to the engine."""

    def __init__(self, store: SqlBackend) -> None:
        self.heard: list[Statement] = []
        for engine in set(store._runner._engines):
            event.listen(engine.sync_engine, "before_cursor_execute", self._hear)

    def _hear(self, _c: object, _cursor: object, text: str, given: Any, _context: object, many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's
        self.heard.append((text, given[0] if many else given))


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def actor(seconds: float = 0, agent: str = "writer") -> Actor:
    return Actor(agent, f"run-of-{agent}", at(seconds))


def put(key: str, value: Any = None, version: str = "v1", **facts: Any) -> Write:
    facts = {"size_bytes": size(value), "expires_at": NEVER, **facts}
    return Write(key=key, value=value, version=version, **facts)


async def apply(backend: SqlBackend, *changes: Change, seconds: float = 0, agent: str = "writer") -> Applied:
    return await backend.apply(HERE, changes, actor(seconds, agent))


async def read(backend: SqlBackend, key: str, seconds: float = 0) -> Entry | None:
    found, _rest = await backend.get(HERE, [key], at(seconds))
    return found[0] if found else None


async def opened(url: str, clock: Clock | None = None, **settings: Any) -> SqlBackend:
    return await SqlBackend.open(url, Settings(url=url, **settings), clock or Clock())


def make(path: Path, content: bytes = b"", mode: int = 0o600) -> None:
    """Make a file, and the folder it is in."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def content(path: Path) -> bytes:
    return path.read_bytes()


def rows(path: Path) -> int:
    """Count what the file holds, expired or not."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
    finally:
        connection.close()


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the file's write lock, as another process at work would."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
    finally:
        connection.close()


async def ask_everything(store: SqlBackend) -> None:
    """Have every kind of statement said once, about entries that were filled in."""
    now = at(2)
    await store.get(HERE, ["k00001"], now)
    await store.get(HERE, [f"k{number:05}" for number in range(1000)], now)
    await store.peek(HERE, ["k00001", "k00002"], now)
    for span in (Span(), Span("k1"), Span("k", "k02"), Span("k", "k02", reverse=True), Span(reverse=True)):
        await store.scan(HERE, span, now)
        await store.keys(HERE, span, now)
        await store.outline(HERE, span, now)
    for prefix in ("", "small"):
        await store.namespaces("alice", prefix, now)
        await store.count(HERE, prefix, now)
    await store.usage("alice", now)
    await store.owners("user05", 5, now)
    for begin, after in (("", None), ("", HERE.id("k")), ("alice:", None), ("alice:", HERE.id("k"))):
        await store.survey(begin, after, 10)
    await apply(store, put("k00001"), put("k00002", if_version="v0"), put("k00003", if_absent=True), seconds=2)
    await apply(store, Removal("k00004"), Removal("k00005", if_version="v0"), Renewal("k00006", NEVER), seconds=2)
    for number in (1, 0.5):
        await store.increment(HERE, Increment("k00010", number, number, "v2", None), actor(2))
        await store.increment(HERE, Increment(f"new{number}", number, number, "v2", NEVER), actor(2))
    await store.record([Access(HERE, "k00001", at(0), "reader", 1, now)])
    await store.clear(HERE, "k00007", now)
    await store.traces("user07")
    await store.expunge("user07")
    await store.disown("user07", "@erased/x")
    await store.forget("user07")
    await store._collector.collect()


async def ask_the_log(store: SqlBackend) -> None:
    """Have every statement of the audit log said, about rows that are there."""
    chain = Chain()
    rows = [chain.add(at(number), Deed(f"user{number % 9}", "agent", key=f"k{number}")) for number in range(1000)]
    await store.append(rows)
    await store.trail(rows[500].id, 10)
    for look in (Look(), Look(user="user1"), Look(agent="agent"), Look(key="k1"), Look(since=at(1), until=at(9))):
        await store.found(look, None, 10)
        await store.found(look, rows[1], 10)
    await store.empty(rows[:2], "nobody")
    await store.remove(rows[0].chain, 2)
