"""What both sides of the race of renewal and expiry know."""

from __future__ import annotations

from typing import Final

from datastore import Limits

KEYS: Final = 250
LIMITS: Final = Limits(namespace_keys=KEYS)
"""The keys of one race fill their namespace, so what is written beside them uses room that expired ones gave back."""


def key(number: int) -> str:
    """Return a key that is raced for."""
    return f"old:{number:03}"
