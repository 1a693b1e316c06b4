"""One command's work on one store: settings, an open store, an event loop, and stdout written to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import typer

from admin.cli.failures import noticing_a_lost_reader
from admin.cli.text import discreet, visible
from datastore.assembly import open_store
from datastore.service.store import Store
from datastore.settings import Settings, load

_BREAKS: Final = "\n\t"
"""What the several lines of a traceback are made with."""

Work = Callable[[Store, Settings], Awaitable[int | None]]


def perform(url: str | None, work: Work) -> None:
    """Do the work on the store that the URL or the settings name, and end the command with its exit code (None: done).

    Raises:
        DataStoreError: bad configuration, or the store is away, or what the work raises.
        Unread: nobody reads stdout any more.
    """
    consider(url, lambda settings: _opened(settings, work))


def consider(url: str | None, work: Callable[[Settings], Coroutine[None, None, int | None]]) -> None:
    """Do work that opens the store itself, if at all, and end the command with its exit code (None: done).

    Raises:
        DataStoreError: bad configuration, or what the work raises.
        Unread: nobody reads stdout any more.
    """
    _hear_warnings()
    with noticing_a_lost_reader():
        code = asyncio.run(work(load(url=url)))
    if code:
        raise typer.Exit(code)


async def _opened(settings: Settings, work: Work) -> int | None:
    async with open_store(settings=settings) as store:
        return await work(store, settings)


class _Discreet(logging.Formatter):
    """Log lines that are safe to show and name no credentials."""

    def format(self, record: logging.LogRecord) -> str:
        return f"datastore: {record.levelname.lower()}: {visible(discreet(super().format(record)), keep=_BREAKS)}"


def _hear_warnings() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Discreet())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
