"""Watches: changes as they come, by long polls that are short enough to share their few places with others.

A watch stands at a cursor. Each poll goes on from there, so nothing is lost between two, nor while the agent works on
a change, nor when a poll fails.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NoReturn, Self

from datastore import names
from datastore.errors import InvalidArgument, StoreUnavailable
from sandbox.guest.faces import Request, adrive, drive, within

if TYPE_CHECKING:
    from sandbox.guest.verbs import AsyncDataStore, DataStore, Verbs

_GO_ON: Final = "Watch again with cursor=watch.cursor, or go on with next(watch): no change is lost."
POLL_SECONDS: Final = 5.0
"""The longest that one call waits."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an entry: `put` at a version, or `removed`. `cursor` is where a later watch goes on after it."""

    _not_data_: ClassVar[str] = "Change is a handle, not data; return change.key, or change.as_dict()."

    kind: Literal["put", "removed"]
    key: str
    version: str | None
    cursor: str

    def as_dict(self) -> dict[str, Any]:
        """Return every field as JSON."""
        return asdict(self)


class _Watch:
    """Where a watch stands, and what it has been told but not given yet."""

    _not_data_: ClassVar[str] = "a watch is a handle, not data; return watch.cursor to go on later."

    def __init__(self, face: Verbs, prefix: object, cursor: object, timeout_seconds: object) -> None:
        if cursor is not None and not isinstance(cursor, str):
            raise InvalidArgument(f"cursor must be text, got {type(cursor).__name__}. Write cursor=change.cursor.")
        self._face = face
        self._prefix = names.prefix(prefix)
        self._timeout_seconds = names.seconds("timeout_seconds", timeout_seconds)
        self._waiting: deque[Change] = deque()
        self._polled: str | None = cursor
        self.cursor: str | None = cursor
        """After the last change that was given; None where the watch has not begun."""

    def __repr__(self) -> str:
        return f"{self._face!r}.watch({self._prefix!r})"

    def _begin(self) -> Generator[Request, Any, None]:
        """Take now for the beginning, unless there is a cursor."""
        if self._polled is None:
            answer = yield self._request(0)
            self.cursor = self._polled = answer["cursor"]

    def _next(self) -> Generator[Request, Any, Change | None]:
        """Return the next change, or None where none came in time."""
        yield from self._begin()
        until = time.monotonic() + self._timeout_seconds
        while not self._waiting:
            left = until - time.monotonic()
            if left <= 0:
                self.cursor = self._polled
                return None
            try:
                answer = yield self._request(min(left, POLL_SECONDS))
            except StoreUnavailable:
                if self._face._channel.has_ended:  # noqa: SLF001 - one subject in two files
                    raise
                raise StoreUnavailable("the store does not tell of changes now", advice=_GO_ON) from None
            self._polled = answer["cursor"]
            self._waiting.extend(_change(item) for item in answer["items"])
        change = self._waiting.popleft()
        self.cursor = change.cursor
        return change

    def _request(self, wait_seconds: float) -> Request:
        request = watch_request(self._face.namespace, self._prefix, self._polled, wait_seconds)
        return within(self._face.space, request)


def watch_request(
    namespace: str, prefix: str, cursor: str | None, wait_seconds: float, *, exact: bool = False
) -> Request:
    """Return the request of one poll."""
    request: Request = {"op": "watch", "namespace": namespace, "prefix": prefix, "wait_seconds": wait_seconds}
    if exact:
        request["exact"] = True
    return request if cursor is None else {**request, "cursor": cursor}


def _change(item: Request) -> Change:
    return Change("removed" if item["version"] is None else "put", item["key"], item["version"], item["cursor"])


class Watch(_Watch):
    """Changes for `for`."""

    _face: DataStore

    def begin(self) -> Self:
        """Begin now; every later change is given."""
        drive(self._face._channel, self._begin())  # noqa: SLF001 - one subject in two files
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        change = drive(self._face._channel, self._next())  # noqa: SLF001 - as above
        if change is None:
            raise StopIteration
        return change

    def __aiter__(self) -> NoReturn:
        raise InvalidArgument('data_store.watch() is for "for". Write "async for change in data_store.aio.watch()".')

    def __await__(self) -> NoReturn:
        raise InvalidArgument('data_store.watch() is not awaited. Remove "await", or write data_store.aio.watch().')


class AsyncWatch(_Watch):
    """Changes for `async for`; `await` it to have it begin before the loop does."""

    _face: AsyncDataStore

    def __await__(self) -> Generator[Any, Any, Self]:
        yield from adrive(self._face._channel, self._begin()).__await__()  # noqa: SLF001 - as above
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        change = await adrive(self._face._channel, self._next())  # noqa: SLF001 - as above
        if change is None:
            raise StopAsyncIteration
        return change

    def __iter__(self) -> NoReturn:
        raise InvalidArgument('data_store.aio.watch() is for "async for". Write "async for change in" it.')
