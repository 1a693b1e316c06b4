"""Migrations: how a store comes from one layout to the next, on every engine.

Theory of operation:

- A change of the stored form has a number and is a `Migration`. They are made in order, and one that has landed is
  never changed again: stores of every layout are kept in `tests/migrations`, and must still be what they were.
- A start makes the migrations that are missing, in steps. A step does a bounded amount of work, so that agents of
  other hosts have their turn between two, and says how far it came. The engine keeps that, so a start that is killed
  goes on where it was, and several that begin at once share the steps.
- A step may be made again, by the same start or by another one at the same time: SQL makes it and keeps its position
  in one transaction, and MongoDB does so one after the other. So a step is idempotent.
- Most migrations can be made beside hosts of the layout before, which go on reading and writing. Before the first step
  of one that cannot, the store says what a host must know from now on: every other host refuses all operations soon,
  and says why. Each start that is about to make the first step waits for that, since it cannot tell who else did.
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
        needs: what a host must know that starts when it is complete.
        beside: whether hosts that know less may be at work meanwhile, and afterwards.
    """

    number: int
    step: Step[H]
    needs: int
    beside: bool = True


class Book(Protocol[H]):
    """How an engine keeps the layout of a store."""

    async def read(self) -> Layout:
        """Return what the store says."""

    async def require(self, standing: Layout, needs: int) -> Layout:
        """Let the store refuse hosts that know less, unless it says something else by now; return what it says."""

    async def advance(self, standing: Layout, migration: Migration[H]) -> None:
        """Make one step and keep how far it came, unless the store says something else by now."""


async def migrate(book: Book[H], migrations: Sequence[Migration[H]], at: str, settling_seconds: float) -> bool:
    """Bring a store to the layout of this version; say whether there was anything to do.

    Args:
        book: where the layout is kept.
        migrations: all that the engine has, in order.
        at: the store's name in messages.
        settling_seconds: how long hosts at work may take until none of them acts on what it knew before.

    Raises:
        ConfigurationError: this version is too old for the store, or it has a layout that none began from.
    """
    wanted = {each.number: each for each in migrations}
    done = False
    while (standing := check(await book.read(), at)).number < LAYOUT:
        if (migration := wanted.get(standing.number + 1)) is None:
            raise ConfigurationError(
                f"{at} cannot be used: it has layout {standing.number}, from which no migration leads on. "
                "Restore it from a backup."
            )
        if standing.position is None:
            _log.info("%s is migrated from layout %d to %d", at, standing.number, migration.number)
            if not migration.beside:
                standing = await book.require(standing, migration.needs)
                await asyncio.sleep(settling_seconds)
        await book.advance(standing, migration)
        done = True
    return done


def check(layout: Layout, at: str) -> Layout:
    """Return the layout of a store that this version may use.

    Raises:
        ConfigurationError: it is too old for the store.
    """
    if layout.outgrown is not None:
        raise ConfigurationError(f"{at} cannot be used: {layout.outgrown}.")
    return layout


def advanced(standing: Layout, migration: Migration[H], position: str | None) -> Layout:
    """Return what a store says after a step that came to a position."""
    if position is not None:
        return replace(standing, position=position)
    return Layout(migration.number, max(standing.needs, migration.needs))
