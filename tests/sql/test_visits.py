"""How often a lone statement on SQLite goes to the thread of its connection and back: once."""

from __future__ import annotations

from typing import Any

import pytest

from datastore.backends.sql import SqlBackend
from datastore.backends.sql.visits import Connection
from datastore.entry import NEVER
from datastore.operations import Outcome
from datastore.ports import Increment, Renewal
from tests.sql.words import HERE, actor, apply, put, read


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the threads of all connections have been asked to do."""
    asked: list[object] = []
    visit = Connection._execute

    async def noted(connection: Connection, act: object, *given: Any) -> Any:
        asked.append(act)
        return await visit(connection, act, *given)  # type: ignore[no-untyped-call]  # as aiosqlite left it

    monkeypatch.setattr(Connection, "_execute", noted)
    return asked


async def test_a_lone_statement_takes_one_visit(file_store: SqlBackend, visits: list[object]) -> None:
    await read(file_store, "k")  # The connections are opened.
    await apply(file_store, put("k"))
    visits.clear()
    assert await read(file_store, "k") is not None
    assert len(visits) == 1
    assert (await apply(file_store, put("k", 1))).changed == 1
    assert len(visits) == 2
    added = Increment("new", 1, 1, "v1", None)
    assert await file_store.increment(HERE, added, actor()) == Outcome(applied=True, version="v1", number=2)
    assert len(visits) == 3
    assert (await apply(file_store, Renewal("k", NEVER))).changed == 1
    assert len(visits) == 4
