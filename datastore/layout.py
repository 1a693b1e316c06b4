"""The layout of the stored form: a number, the same on every engine, and which hosts may use a store that has it.

A change of the stored form raises `LAYOUT` by one and is a migration; `backends.migrations` says how they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LAYOUT: Final = 2
"""The layout that this version reads and writes; every start brings a store to it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a store says of its form.

    Attributes:
        number: every migration up to this one is complete.
        needs: what a host must know to use the store. It is raised before the first step of a migration that hosts of
            the layout before could not work beside.
        position: how far the next migration has come; None where it has not begun.
    """

    number: int
    needs: int
    position: str | None = None

    @property
    def outgrown(self) -> str | None:
        """Why this version must not use the store, and what to do; None where it may."""
        if self.needs <= LAYOUT:
            return None
        return (
            f"the store has layout {max(self.number, self.needs)}, and this version of agent-data-store knows "
            f"layout {LAYOUT}. Upgrade it on this host, and start the host again"
        )
