"""Migrations: how a store comes from one layout to the next, on every engine.

Theory of operation:

- A change of the stored form has a number and is a `Migration`. Migrations are made in order. One that has landed is
  never changed again; `tests/migrations/recorded` has stores of every layout, which must still be read as they were.
- A start makes the missing migrations in steps. A step does a bounded amount of work, so that other hosts read and
  write between two steps, and returns its position. The engine stores that: if a start is killed, the next one
  continues, and starts that run at the same time share the steps.
- A step may run twice. SQL makes a step and stores its position in one transaction. MongoDB may have no transactions,
  so it stores the position afterwards, and two starts may make one step at the same time. So a step is idempotent.
- Hosts of the previous layout read and write during an online migration, and after it. Before the first step of any
  other migration the store states what a host must support from now on, and the start waits until every older host
  refuses its operations. Each start waits that is about to make the first step: it cannot know when another start
  stated it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from datastore.errors import ConfigurationError
from datastore.layout import LAYOUT, Layout

H = TypeVar("H")
Step = Callable[[H, str | None], Awaitable[str | None]]
"""Does a bounded amount of work from a position on (None: the beginning); returns the next one, None at the end."""

_log = logging.getLogger("datastore.migrations")


@dataclass(frozen=True, slots=True)
class Migration(Generic[H]):
    """One change of the stored form.

    Attributes:
        number: the layout that a store has when it is complete.
        step: a bounded part of it; idempotent. It is given what the engine works on.
        needs: the lowest layout that a host must support once it is complete.
        online: whether hosts of the previous layout may be at work during the migration.
    """

    number: int
    step: Step[H]
    needs: int
    online: bool = True


class LayoutRecord(Protocol[H]):
    """The layout that a store states, as an engine reads and changes it."""

    async def read(self) -> Layout:
        """Return the layout."""

    async def require(self, current: Layout, needs: int) -> Layout:
        """Refuse the store to hosts that support less, unless the layout has changed; return the layout."""

    async def advance(self, current: Layout, migration: Migration[H]) -> None:
        """Make one step and store its position, unless the layout has changed."""


async def migrate(
    record: LayoutRecord[H], migrations: Sequence[Migration[H]], store_name: str, settling_seconds: float
) -> bool:
    """Bring a store to the layout of this version.

    Args:
        record: the store's layout.
        migrations: all that the engine has.
        store_name: what messages call the store.
        settling_seconds: the time after which every older host refuses its operations.

    Returns:
        Whether there was anything to do.

    Raises:
        ConfigurationError: this version is too old for the store, or no migration begins from the store's layout.
    """
    by_number = {each.number: each for each in migrations}
    changed = False
    while (current := check_supported(await record.read(), store_name)).number < LAYOUT:
        if (migration := by_number.get(current.number + 1)) is None:
            raise ConfigurationError(
                f"{store_name} cannot be used: no migration begins from its layout, {current.number}. "
                "Restore it from a backup."
            )
        if current.position is None:
            _log.info("migrating %s from layout %d to %d", store_name, current.number, migration.number)
            if not migration.online:
                current = await record.require(current, migration.needs)
                await asyncio.sleep(settling_seconds)
        await record.advance(current, migration)
        changed = True
    if changed:
        _log.info("%s has layout %d", store_name, LAYOUT)
    return changed


def check_supported(layout: Layout, store_name: str) -> Layout:
    """Return the layout of a store that this version may use.

    Raises:
        ConfigurationError: this version is too old for the store.
    """
    if layout.refusal is not None:
        raise ConfigurationError(f"{store_name} cannot be used: {layout.refusal}.")
    return layout


def after_step(current: Layout, migration: Migration[H], position: str | None) -> Layout:
    """Return the layout of a store after a step that ended at a position."""
    if position is not None:
        return replace(current, position=position)
    return Layout(migration.number, max(current.needs, migration.needs))
