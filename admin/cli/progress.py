"""How far long work is: a line on stderr where that is a terminal, and nothing where it is none."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from admin.actions.surveys import Walked

T = TypeVar("T")


@contextmanager
def shown(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Give what is told how many more of `total` (None: nobody knows) are done; what was shown goes at the end."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - drawing is needed on a terminal alone
    from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415 - as above

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda count: bar.advance(task, count)


async def awaited(pages: AsyncIterator[T], walked: Walked) -> AsyncIterator[T]:
    """Give the pages of a walk, and show how far it is while the next one is awaited, never while one is printed."""
    page: T | None
    while True:
        with shown("looking at records", None) as progress:
            progress(walked.records)
            walked.progress = progress
            page = await anext(pages, None)
        walked.progress = lambda _: None
        if page is None:
            return
        yield page
