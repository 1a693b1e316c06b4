"""A store that is closed while somebody begins to watch: the wait ends, wherever it was just then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from datastore.document import Interest, Place
from datastore.errors import PastGone, StoreUnavailable
from datastore.ports import Journal, Position
from datastore.service import changes
from datastore.service.changes import Changes

WAIT_SECONDS = 10.0
INTEREST = Interest(Place("alice", "n"), "", exact=False)


class SilentJournal:
    """A journal whose feed tells something only when it is told to, and then again and again."""

    def __init__(self) -> None:
        self.telling = asyncio.Event()

    async def head(self, _place: Place | None = None) -> Position:
        return (1, 0)

    async def follow(self, *_given: Any) -> AsyncIterator[Any]:
        while True:
            await self.telling.wait()
            yield [], (1, 0)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_feed_that_was_silent_is_waited_for_before_it_counts_as_gone(
    monkeypatch: pytest.MonkeyPatch, *, comes_back: bool
) -> None:
    """As where this process was stopped for longer than a feed may be silent: it may not have heard yet."""
    monkeypatch.setattr(changes, "_TELLING_SECONDS", WAIT_SECONDS if comes_back else 0.05)
    journal = SilentJournal()
    watched = Changes(cast("Journal", journal), timeout_seconds=0.001)
    async with asyncio.timeout(WAIT_SECONDS):
        polling = asyncio.create_task(watched.after(INTEREST, None, 0.05))
        if comes_back:
            asyncio.get_running_loop().call_later(0.1, journal.telling.set)
            assert await polling == ([], (1, 0))
        else:
            with pytest.raises(StoreUnavailable, match=r"does not tell of changes now\. Nothing was written"):
                await polling
    await watched.aclose()


class NewPrimary:
    """A journal that does not know yet that a majority has what was told before."""

    async def head(self, _place: Place | None = None) -> Position:
        return (1, 0)

    async def latest(self) -> Position:
        return (3, 0)

    async def follow(self, *_given: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


async def test_a_cursor_that_a_new_primary_does_not_know_of_yet_is_good() -> None:
    watched = Changes(cast("Journal", NewPrimary()), timeout_seconds=WAIT_SECONDS)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await watched.after(INTEREST, (2, 0), 0) == ([], (2, 0))
        with pytest.raises(PastGone):
            await watched.after(INTEREST, (4, 0), 0)
    await watched.aclose()


class SlowJournal:
    """A journal of which one answer, counted from 1, takes until it is told to come."""

    def __init__(self, slow: int) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self._slow = slow
        self._questions = 0

    async def head(self, _place: Place | None = None) -> Position:
        self._questions += 1
        if self._questions == self._slow:
            self.asked.set()
            await self.answer.wait()
        return (1, 0)

    async def follow(self, *_given: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


@pytest.mark.parametrize("slow", [1, 2], ids=["the feed begins", "its present is read"])
async def test_closing_ends_a_wait_that_has_only_begun(slow: int) -> None:
    journal = SlowJournal(slow)
    watched = Changes(cast("Journal", journal), timeout_seconds=WAIT_SECONDS)
    waiting = asyncio.create_task(watched.after(INTEREST, None, 10 * WAIT_SECONDS))
    await journal.asked.wait()
    await watched.aclose()
    journal.answer.set()
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(StoreUnavailable, match="closed"):
            await waiting
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "datastore changes"] == []
