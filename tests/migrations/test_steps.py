"""Migrations are made step by step from the stored position on, once older hosts are refused where that is needed."""

from __future__ import annotations

import asyncio

import pytest

from datastore.backends.migrations import Migration, migrate
from datastore.errors import ConfigurationError
from datastore.layout import LAYOUT, Layout


class InMemoryRecord:
    """A layout in memory, and what was asked of it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.required: list[int] = []

    async def read(self) -> Layout:
        return self.layout

    async def require(self, current: Layout, needs: int) -> Layout:
        self.required.append(needs)
        self.layout = Layout(current.number, needs, current.position)
        return self.layout

    async def advance(self, current: Layout, migration: Migration[list[str]]) -> None:
        position = await migration.step(STEPS, current.position)
        if position is None:
            self.layout = Layout(migration.number, max(current.needs, migration.needs))
        else:
            self.layout = Layout(current.number, current.needs, position)


STEPS: list[str] = []


async def step(steps: list[str], position: str | None) -> str | None:
    steps.append(str(position))
    return {None: "a", "a": "b"}.get(position)


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    STEPS.clear()


async def test_steps_are_made_from_the_position_on_until_the_end() -> None:
    record = InMemoryRecord(Layout(LAYOUT - 1, 1, "a"))
    assert await migrate(record, [Migration(LAYOUT, step, needs=LAYOUT)], "the store", 0)
    assert (STEPS, record.layout, record.required) == (["a", "b"], Layout(LAYOUT, LAYOUT), [])
    assert not await migrate(record, [Migration(LAYOUT, step, needs=LAYOUT)], "the store", 0)


async def test_older_hosts_are_refused_before_the_first_step() -> None:
    record = InMemoryRecord(Layout(LAYOUT - 1, 1))
    offline = Migration(LAYOUT, step, needs=LAYOUT, online=False)
    waiting = asyncio.create_task(migrate(record, [offline], "the store", 3600))
    await asyncio.sleep(0.01)
    assert (STEPS, record.required, record.layout.needs) == ([], [LAYOUT], LAYOUT)
    waiting.cancel()
    # Another start cannot tell for how long they have known, so it waits again; but not between steps.
    waiting = asyncio.create_task(migrate(record, [offline], "the store", 3600))
    await asyncio.sleep(0.01)
    assert STEPS == []
    waiting.cancel()
    record.layout = Layout(LAYOUT - 1, LAYOUT, "b")
    await migrate(record, [offline], "the store", 3600)
    assert STEPS == ["b"]


async def test_a_layout_that_no_migration_begins_from_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"the store cannot be used: no migration begins from its layout, 0\. Restore it"
    ):
        await migrate(InMemoryRecord(Layout(0, 0)), [Migration(LAYOUT, step, needs=LAYOUT)], "the store", 0)
