"""Databases of a server, lent to one test after the other and emptied in between.

Making and dropping a database takes longer than most tests. Tests that make one, or change its tables, use a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

Fresh = Callable[[str], AbstractContextManager[str]]


class Databases:
    """The databases that one process of tests has on a server.

    Args:
        server: its URL.
        fresh: makes a database of a server, and drops it afterwards.
        empty: removes all that a database holds, but not what it is held in.
    """

    def __init__(self, server: str, fresh: Fresh, empty: Callable[[str], None]) -> None:
        self._server = server
        self._fresh = fresh
        self._empty = empty
        self._free: list[str] = []
        self._all = ExitStack()

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Yield the URL of an empty one."""
        url = self._free.pop() if self._free else self._all.enter_context(self._fresh(self._server))
        try:
            yield url
        finally:
            self._empty(url)
        self._free.append(url)

    def close(self) -> None:
        """Drop them."""
        self._all.close()
