"""The layout of the stored form: a number, the same on every engine, and which hosts may use a store that has it.

A change of the stored form raises `LAYOUT` by one and is a migration; see `backends.migrations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LAYOUT: Final = 2
"""The layout that this version reads and writes; every start brings a store to it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a store, and the lowest layout that a host must support to use it.

    Attributes:
        number: every migration up to this one is complete.
        needs: the lowest layout that a host must support. It is raised before the first step of a migration that older
            hosts cannot work beside.
        position: the progress of the next migration; None if none has begun.
    """

    number: int
    needs: int
    position: str | None = None

    @property
    def refusal(self) -> str | None:
        """The reason why this version must not use the store, with the remedy; None if it may."""
        if self.needs <= LAYOUT:
            return None
        return (
            f"the store has layout {max(self.number, self.needs)}, and this version of agent-data-store supports "
            f"layout {LAYOUT}. Upgrade it on this host, and start the host again"
        )
