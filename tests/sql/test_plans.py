"""What the engine does for an operation: statements seek in an index, and a page costs the same wherever it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from datastore.backends.sql import SqlBackend
from datastore.backends.sql.sqlite import PRESENT
from datastore.document import Place, Span
from tests.sql.words import HERE, Listener, Statement, actor, apply, ask_everything, ask_the_log, at, put


def plan(connection: sqlite3.Connection, statement: Statement) -> list[str]:
    text, given = statement
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]


def steps(connection: sqlite3.Connection, statement: Statement) -> int:
    """Count the instructions of the engine's virtual machine."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 1)
    try:
        connection.execute(*statement).fetchall()
    finally:
        connection.set_progress_handler(None, 1)
    return count


@pytest.fixture
def connection(file_store: SqlBackend, path: Path) -> Any:
    assert file_store
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function(PRESENT, 0, lambda: 0)
    yield connection
    connection.close()


async def fill(store: SqlBackend) -> None:
    for start in range(0, 5000, 1000):
        await apply(store, *(put(f"k{start + number:05}", number) for number in range(1000)))
    await apply(store, *(put(f"old{number}", number, expires_at=at(1)) for number in range(1000)))
    for number in range(20):
        await store.apply(Place("alice", f"small{number:02}"), [put("k")], actor())
        await store.apply(Place(f"user{number:02}", "notes"), [put("k")], actor())


async def test_every_statement_searches_an_index(file_store: SqlBackend, connection: sqlite3.Connection) -> None:
    await fill(file_store)
    listener = Listener(file_store)
    await ask_everything(file_store)

    plans = {text: plan(connection, (text, given)) for text, given in listener.heard if " entries " in text}
    assert len(plans) > 20
    for text, lines in plans.items():
        touching = [line for line in lines if " entries" in line]
        assert touching or text.startswith("INSERT"), text
        assert all(line.startswith("SEARCH entries USING ") for line in touching), (text, lines)


async def test_every_statement_of_the_audit_log_searches_an_index(
    file_store: SqlBackend, connection: sqlite3.Connection
) -> None:
    listener = Listener(file_store)
    await ask_the_log(file_store)

    plans = {text: plan(connection, (text, given)) for text, given in listener.heard if " audit" in text}
    assert len(plans) > 10
    for text, lines in plans.items():
        assert not any("TEMP B-TREE" in line for line in lines), (text, lines)
        assert all("INDEX" in line or "CO-ROUTINE" in line for line in lines), (text, lines)


async def test_keys_counts_and_namespaces_never_leave_the_index(
    file_store: SqlBackend, connection: sqlite3.Connection
) -> None:
    await fill(file_store)
    listener = Listener(file_store)

    await file_store.keys(HERE, Span("k", "k02"), at(2))
    await file_store.count(HERE, "k", at(2))
    await file_store.namespaces("alice", "", at(2))

    lines = [line for each in listener.heard for line in plan(connection, each) if " entries" in line]
    assert lines
    assert all("USING COVERING INDEX entries_by_key" in line for line in lines)


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_page_costs_the_same_at_the_end_as_at_the_beginning(
    file_store: SqlBackend, connection: sqlite3.Connection, *, reverse: bool
) -> None:
    await fill(file_store)
    listener = Listener(file_store)

    for after in ("k00100", "k04900"):
        for look in (file_store.keys, file_store.scan, file_store.outline):
            await look(HERE, Span("k", after, limit=10, reverse=reverse), at(2))

    steps(connection, listener.heard[0])  # The first one reads the schema too.
    costs = [steps(connection, each) for each in listener.heard]
    for early, late in zip(costs[:3], costs[3:], strict=True):
        assert abs(late - early) < early / 4


async def test_listing_namespaces_costs_the_same_however_much_they_hold(
    file_store: SqlBackend, connection: sqlite3.Connection
) -> None:
    listener = Listener(file_store)
    await apply(file_store, put("k"))
    await file_store.namespaces("alice", "", at(2))
    statement = listener.heard[-1]
    steps(connection, statement)  # The first one reads the schema too.
    before = steps(connection, statement)

    await apply(file_store, *(put(f"k{number}") for number in range(1000)))

    assert steps(connection, statement) == before
