"""Whose use of the event loop a piece of work is: every step of it is counted on the account that its task was given.

And how many bytes of values an operation writes, which is known where they are measured and told when it has ended.

What works in a task of its own for somebody, as an engine may, wraps that work in `metered`. Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")


class Account(Protocol):
    """What somebody has used."""

    def __hash__(self) -> int: ...

    def spend(self, began: float) -> None:
        """Count the time since `began`, by the performance counter."""


ACCOUNT: Final[ContextVar[Account | None]] = ContextVar("account", default=None)
"""The account of the task that runs, and of tasks that it begins; None where nobody counts."""

WRITTEN: Final[ContextVar[int]] = ContextVar("written", default=0)
"""Bytes of the values that the operation of this task writes."""


class Metered(Coroutine[Any, Any, T]):
    """A coroutine whose every step is counted."""

    def __init__(self, work: Coroutine[Any, Any, T], account: Account) -> None:
        self._work = work
        self._account = account

    def send(self, value: Any) -> Any:
        """Do the next step."""
        began = time.perf_counter()
        try:
            return self._work.send(value)
        finally:
            self._account.spend(began)

    def throw(self, *error: Any) -> Any:
        """Do the next step with an exception, such as a cancellation."""
        began = time.perf_counter()
        try:
            return self._work.throw(*error)
        finally:
            self._account.spend(began)

    def close(self) -> None:
        """End the work."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, T]:
        """Let a coroutine await it, as a task drives it."""
        return (yield from self._work.__await__())


def metered(work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """Return work whose steps are counted on the account of the task that runs now, if it has one."""
    account = ACCOUNT.get()
    return work if account is None else Metered(work, account)
