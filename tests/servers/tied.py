"""Servers that do not outlive the process that started them, even if it is killed."""

from __future__ import annotations


def tied(signal: str) -> tuple[str, ...]:
    """Return the words before a server's command; the kernel sends it the signal when our process ends."""
    return "setpriv", "--pdeathsig", signal
