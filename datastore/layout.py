"""The layout of the stored form: a number, the same on every engine, and which hosts may use a store that has it.

A change of the stored form raises `LAYOUT` by one and is a migration; see `backends.migrations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

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
        damage: what is wrong with the record of the layout, with the remedy; None if nothing is.
    """

    number: int
    needs: int
    position: str | None = None
    damage: str | None = None

    @classmethod
    def parsed(cls, number: object, needs: object, position: object, record: str) -> Self:
        """Return the layout that a store's record holds; one to refuse if another program has changed the record.

        Args:
            number: as the record has it, and so are the next two.
            needs: see above.
            position: see above.
            record: the record's place in messages.
        """
        if isinstance(number, int) and isinstance(needs, int) and isinstance(position, (str, type(None))):
            return cls(number, needs, position)
        held = f"number={number!r:.40}, needs={needs!r:.40}, position={position!r:.40}"
        return cls(0, 0, damage=f"the store's {record} does not hold a layout, but {held}. Restore it from a backup")

    @property
    def refusal(self) -> str | None:
        """The reason why this version must not use the store, with the remedy; None if it may."""
        if self.damage is not None or self.needs <= LAYOUT:
            return self.damage
        return (
            f"the store has layout {max(self.number, self.needs)}, and this version of agent-data-store supports "
            f"layout {LAYOUT}. Upgrade it on this host, and start the host again"
        )
