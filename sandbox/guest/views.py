"""Views of keys and items: re-iterable, paging underneath, so that memory stays flat and deleting meanwhile is safe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from datastore import names
from datastore.errors import InvalidArgument
from sandbox.guest.batches import PAGE
from sandbox.guest.faces import Request, adrive, drive

if TYPE_CHECKING:
    from sandbox.guest.verbs import AsyncDataStore, DataStore, Verbs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of keys that is still to be read. `page` is what to ask for next, from the sizes seen so far."""

    prefix: str = ""
    after: str | None = None
    limit: int | None = None
    reverse: bool = False
    page: int = PAGE

    @classmethod
    def of(cls, prefix: object, after: object, limit: object, *, reverse: object) -> Self:
        """Check the arguments of list_keys, keys and items.

        Raises:
            InvalidName, InvalidArgument: one is unusable.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise InvalidArgument(f"limit must be an integer of at least 1, got {limit!r:.40}. Leave it out for all.")
        if not isinstance(reverse, bool):
            raise InvalidArgument(f"reverse is True or False, got {type(reverse).__name__}.")
        last = None if after is None else names.name("key", after)
        return cls(names.prefix(prefix), last, limit, reverse)

    def request(self) -> Request:
        """Return the scan's own fields."""
        size = self.page if self.limit is None else min(self.page, self.limit)
        return {"prefix": self.prefix, "after": self.after, "limit": size, "reverse": self.reverse}

    def next(self, page: Request) -> Span | None:
        """Return what is left after an answer, or None at the end.

        A page that its bytes cut short says how many entries fit; the next one asks for about as many, so that the
        engine does not read what cannot be sent.
        """
        got = len(page["items"])
        left = None if self.limit is None else self.limit - got
        if page["next"] is None or left == 0:
            return None
        size = min(PAGE, 2 * got) if got < self.request()["limit"] else self.page
        return replace(self, after=page["next"], limit=left, page=size)

    def holds(self, key: str) -> bool:
        """Say whether a key lies in the stretch."""
        beyond = self.after is None or (key < self.after if self.reverse else key > self.after)
        return beyond and key.startswith(self.prefix)


class _View(Generic[T]):
    def __init__(self, face: Verbs, span: Span, detail: str, shape: Callable[[Any], T]) -> None:
        self._face = face
        self._span = span
        self._detail = detail
        self._shape = shape

    def __repr__(self) -> str:
        return f"{self._face!r}.{self._verb}({self._span.prefix!r})"

    @property
    def _verb(self) -> str:
        return "keys" if self._detail == "key" else "items"

    def __await__(self) -> NoReturn:
        raise InvalidArgument(f'{self._verb}() is not awaited. Write "async for ... in data_store.aio.{self._verb}()".')

    def _page(self, span: Span) -> Generator[Request, Any, tuple[list[T], Span | None]]:
        page = yield self._face._scan(span, self._detail)  # noqa: SLF001 - one subject in two files
        return [self._shape(item) for item in page["items"]], span.next(page)


class View(_View[T]):
    """Keys or items for `for`; `len` counts and `in` asks the store."""

    _face: DataStore

    def __iter__(self) -> Iterator[T]:
        span: Span | None = self._span
        while span is not None:
            page, span = drive(self._face._channel, self._page(span))  # noqa: SLF001 - as above
            yield from page

    def __aiter__(self) -> NoReturn:
        raise InvalidArgument(
            f'data_store.{self._verb}() is for "for". Write "async for ... in data_store.aio.{self._verb}()".'
        )

    def __len__(self) -> int:
        if self._span.after is not None:
            return sum(1 for _ in View(self._face, self._span, "key", str))
        counted = self._face.count(self._span.prefix)
        return counted if self._span.limit is None else min(counted, self._span.limit)

    def __bool__(self) -> bool:
        return next(iter(View(self._face, replace(self._span, limit=1), "key", str)), None) is not None

    def __contains__(self, item: object) -> bool:
        if self._detail != "key" or self._span.limit is not None:
            return any(each == item for each in self)
        return isinstance(item, str) and self._span.holds(item) and self._face.exists(item)


class AsyncView(_View[T]):
    """Keys or items for `async for`."""

    _face: AsyncDataStore

    async def __aiter__(self) -> AsyncIterator[T]:
        span: Span | None = self._span
        while span is not None:
            page, span = await adrive(self._face._channel, self._page(span))  # noqa: SLF001 - as above
            for item in page:
                yield item

    def __iter__(self) -> NoReturn:
        raise InvalidArgument(f'data_store.aio.{self._verb}() is for "async for". Write "async for ... in" it.')
