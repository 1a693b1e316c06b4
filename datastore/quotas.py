"""How much an owner may hold: ceilings on bytes and keys, of the whole store and of each namespace, and the refusal.

Bytes are those of values, as `usage()` tells them. What has expired or was deleted does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from datastore.errors import NamespaceQuotaExceeded, UserQuotaExceeded

WHOLE: Final = ""
"""The name under which an owner's whole store is counted; no namespace has it."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes of values, and keys."""

    bytes: int = 0
    keys: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.bytes + other.bytes, self.keys + other.keys)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.bytes - other.bytes, self.keys - other.keys)


@dataclass(slots=True)
class Growth:
    """What several writes add one after another, and the most that they had added at any moment."""

    now: Amount = Amount()
    most: Amount = Amount()

    def add(self, amount: Amount) -> None:
        """Add what one write does."""
        self.now += amount
        self.most = Amount(max(self.most.bytes, self.now.bytes), max(self.most.keys, self.now.keys))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most of both; None is no limit."""

    bytes: int | None = None
    keys: int | None = None

    def admits(self, held: Amount) -> bool:
        """Say whether so much may be held; exactly the limit may."""
        return (self.bytes is None or held.bytes <= self.bytes) and (self.keys is None or held.keys <= self.keys)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a write must stay within: the owner's whole, each namespace, and those that have a ceiling of their own."""

    whole: Ceiling = Ceiling()
    each: Ceiling = Ceiling()
    named: Mapping[str, Ceiling] = field(default_factory=dict)
    since: str = field(default="", compare=False)
    """What changes whenever a quota is set: before it, others may have written without one, whom nobody counted."""

    def ceiling(self, namespace: str) -> Ceiling:
        """Return the ceiling of a stored namespace, or of `WHOLE`."""
        return self.whole if namespace == WHOLE else self.named.get(namespace, self.each)

    def check(self, namespace: str, held: Amount, growth: Amount) -> None:
        """Refuse what would grow beyond a ceiling; what does not grow is never refused.

        Args:
            namespace: a stored namespace, or `WHOLE`.
            held: before the write.
            growth: what the write adds.

        Raises:
            NamespaceQuotaExceeded, UserQuotaExceeded: with limit, use, and what is asked for.
        """
        ceiling = self.ceiling(namespace)
        for what in ("bytes", "keys"):
            limit, used, asked = getattr(ceiling, what), getattr(held, what), getattr(growth, what)
            if limit is not None and asked > 0 and used + asked > limit:
                if namespace == WHOLE:
                    raise UserQuotaExceeded(what, limit, used, asked)
                raise NamespaceQuotaExceeded(what, limit, used, asked, namespace)
