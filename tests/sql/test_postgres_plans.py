"""What PostgreSQL does for an operation: every statement seeks in an index, whatever its statistics say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from datastore.backends.sql import SqlBackend, postgres
from datastore.document import Place, Span
from datastore.settings import Settings
from tests.sql.words import HERE, Listener, Statement, actor, apply, ask_everything, ask_the_log, at, put

Plan = dict[str, Any]
KEPT = 2000
EXPIRED = 4000


@pytest.fixture
def connection(server_store: SqlBackend, postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session like the store's own."""
    assert server_store
    with psycopg.connect(postgres_url, options=postgres.session(Settings()), autocommit=True) as connection:
        yield connection


def plan(connection: psycopg.Connection[Any], statement: Statement, *, run: bool = False) -> list[Plan]:
    """Return the nodes of a plan, and what they met where the statement is run."""
    text, given = statement
    explain = f"EXPLAIN (FORMAT JSON{', ANALYZE, BUFFERS' if run else ''}) {text}"
    row = connection.execute(explain.encode(), given).fetchone()
    assert row is not None
    return nodes(row[0][0]["Plan"])


def nodes(node: Plan) -> list[Plan]:
    return [node, *(each for part in node.get("Plans", ()) for each in nodes(part))]


def looks(plan: list[Plan]) -> list[Plan]:
    """Return the nodes that look into the table."""
    return [node for node in plan if node.get("Relation Name") == "entries" and node["Node Type"] != "ModifyTable"]


async def fill(store: SqlBackend) -> None:
    """Fill a namespace, more than half of it expired, and others around it."""
    for start in range(0, KEPT, 1000):
        await apply(store, *(put(f"k{start + number:05}", number) for number in range(1000)))
    for start in range(0, EXPIRED, 1000):
        await apply(store, *(put(f"k{start + number:05}x", number, expires_at=at(1)) for number in range(1000)))
    for number in range(20):
        await store.apply(Place("alice", f"small{number:02}"), [put("k")], actor())
        await store.apply(Place(f"user{number:02}", "notes"), [put("k")], actor())
    expired = [put(f"k{number}", expires_at=at(1)) for number in range(1000)]
    await store.apply(Place("alice", "expired"), expired, actor())


@pytest.mark.parametrize("known", [False, True], ids=["without statistics", "with statistics"])
async def test_every_statement_searches_an_index(
    server_store: SqlBackend, connection: psycopg.Connection[Any], *, known: bool
) -> None:
    store = server_store
    await fill(store)
    if known:
        connection.execute("ANALYZE entries")
    listener = Listener(store)
    await ask_everything(store)

    plans = {text: plan(connection, (text, given)) for text, given in listener.heard if "entries" in text}
    assert len(plans) > 20
    for text, steps in plans.items():
        assert looks(steps) or text.startswith("INSERT"), text
        for node in looks(steps):
            assert node["Node Type"] in ("Index Scan", "Index Only Scan"), (text, node)
            assert "Index Cond" in node, (text, node)


async def test_every_statement_of_the_audit_log_searches_an_index(
    server_store: SqlBackend, connection: psycopg.Connection[Any]
) -> None:
    listener = Listener(server_store)
    await ask_the_log(server_store)

    plans = {text: plan(connection, (text, given)) for text, given in listener.heard if " audit" in text}
    assert len(plans) > 10
    for text, steps in plans.items():
        kinds = {node["Node Type"] for node in steps if node["Node Type"] not in ("Limit", "ModifyTable")}
        assert kinds <= ({"Result"} if text.startswith("INSERT") else {"Index Scan"}), (text, kinds)


async def test_keys_counts_and_namespaces_never_leave_the_index(
    server_store: SqlBackend, connection: psycopg.Connection[Any]
) -> None:
    await fill(server_store)
    listener = Listener(server_store)

    await server_store.keys(HERE, Span("k", "k02"), at(2))
    await server_store.count(HERE, "k", at(2))
    await server_store.namespaces("alice", "", at(2))

    found = [node for each in listener.heard for node in looks(plan(connection, each))]
    assert len(found) >= 4
    assert {(node["Node Type"], node["Index Name"]) for node in found} == {("Index Only Scan", "entries_by_key")}


def met(plan: list[Plan]) -> int:
    """Return how many rows of the table were met, taken or not."""
    seen = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(sum(sum(node.get(name, 0) for name in seen) * node["Actual Loops"] for node in looks(plan)))


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_page_costs_the_same_at_the_end_as_at_the_beginning(
    server_store: SqlBackend, connection: psycopg.Connection[Any], *, reverse: bool
) -> None:
    await fill(server_store)
    listener = Listener(server_store)

    for after in ("k00100", "k01900"):
        for look in (server_store.keys, server_store.scan, server_store.outline):
            await look(HERE, Span("k", after, limit=10, reverse=reverse), at(2))

    costs = [met(plan(connection, each, run=True)) for each in listener.heard]
    for early, late in zip(costs[:3], costs[3:], strict=True):
        assert abs(late - early) <= 3
        assert late < 60


async def test_listing_namespaces_meets_one_row_of_each_however_much_they_hold(
    server_store: SqlBackend, connection: psycopg.Connection[Any]
) -> None:
    for number in range(20):
        place = Place("alice", f"n{number:02}")
        await server_store.apply(place, [put(f"k{key}") for key in range(500)], actor())
    listener = Listener(server_store)
    await server_store.namespaces("alice", "", at(2))

    assert met(plan(connection, listener.heard[-1], run=True)) < 3 * 20


async def test_a_name_of_the_longest_kind_fits_every_index(server_store: SqlBackend) -> None:
    place = Place(":" * 256, "@locks/" + "\U0010ffff" * 64)
    names = ["\U0010ffff" * 256, "%" * 1024]
    await server_store.apply(place, [put(name) for name in names], actor())

    assert (await server_store.keys(place, Span(), at(0)))[0] == sorted(names)
