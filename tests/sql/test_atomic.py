"""What SQLite shows of an atomic operation: its lock, and that it does not lose its way when it meets another's."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import DBAPIError

from datastore.backends.sql import SqlBackend, atomics, sqlite
from datastore.ports import Requirement, Step
from tests.sql.words import HERE, Clock, actor, apply, opened, put, read

BOUND_SECONDS = 60


@pytest.mark.parametrize("absent", [False, True])
async def test_two_that_each_require_what_the_other_writes_never_both_commit(
    file_store: SqlBackend, url: str, monkeypatch: pytest.MonkeyPatch, *, absent: bool
) -> None:
    """The first waits with its commit until the second has met its lock, or has come as far as its own commit."""
    other = await opened(url, Clock())
    inside, met = asyncio.Event(), asyncio.Event()
    make, passes = atomics._make, sqlite.passes

    async def held(*given: object) -> object:
        applied = await make(*given)  # type: ignore[arg-type]  # passed on as it came
        if inside.is_set():
            met.set()
        else:
            inside.set()
            await met.wait()
        return applied

    def busy(error: DBAPIError) -> bool:
        met.set()
        return passes(error)

    monkeypatch.setattr(atomics, "_make", held)
    monkeypatch.setattr(sqlite, "passes", busy)
    version = None if absent else "v1"
    if not absent:
        await apply(file_store, put("x"), put("y"))
    one: list[Step] = [(HERE, Requirement("x", version)), (HERE, put("y", "first", "v2"))]
    two: list[Step] = [(HERE, Requirement("y", version)), (HERE, put("x", "second", "v3"))]
    async with asyncio.timeout(BOUND_SECONDS):
        first = asyncio.create_task(file_store.atomic(one, actor()))
        await inside.wait()
        second = await other.atomic(two, actor())
        assert [each.applied for each in (await first).outcomes] == [True, True]
    assert (second.outcomes[0].applied, second.outcomes[0].version, second.changed) == (False, "v2", 0)
    entry = await read(other, "y")
    assert entry is not None
    assert entry.value == "first"
    await other.aclose()
