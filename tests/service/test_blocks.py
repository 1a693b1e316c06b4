"""What a host knows of blocked users: asked for rarely, never acted on for longer than it is good for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import cast

import pytest

from datastore.document import Place
from datastore.entry import NEVER
from datastore.errors import AccessDenied, StoreUnavailable
from datastore.ports import FRESH_SECONDS, Engine, Stub
from datastore.service.blocks import BLOCKED, Blocks, digest
from tests.world import ManualClock

WAIT_SECONDS = 60


class Records:
    """An engine that holds nothing but records of blocked users, and a host's seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.blocked: set[str] = set()
        self.asked: list[list[str]] = []
        self.answered = asyncio.Event()
        self.away = False
        self.slow = 0.0

    async def peek(self, place: Place, keys: Sequence[str], now: datetime) -> list[Stub]:
        del now
        assert place == BLOCKED
        self.asked.append(list(keys))
        found = [each for each in keys if each in self.blocked]
        await asyncio.sleep(0)
        self.seconds += self.slow
        if self.away:
            raise StoreUnavailable("the store did not answer in time")
        self.answered.set()
        return [Stub(each, "v", NEVER, {}, 0) for each in found]

    def blocks(self, fresh_seconds: float = FRESH_SECONDS) -> Blocks:
        return Blocks(cast("Engine", self), ManualClock(), fresh_seconds, lambda: self.seconds)


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
async def blocks(records: Records) -> AsyncIterator[Blocks]:
    """Knowledge that is renewed only when somebody asks: a third of an hour is longer than a test."""
    made = records.blocks(3600)
    yield made
    await made.aclose()


async def test_a_users_first_operations_wait_for_one_look_and_the_others_ask_for_nothing(
    records: Records, blocks: Blocks
) -> None:
    await asyncio.gather(*(blocks.refuse("alice") for _ in range(16)))
    for _ in range(100):
        await blocks.refuse("alice")
    assert records.asked == [[digest("alice")]]


async def test_a_space_is_no_user(records: Records, blocks: Blocks) -> None:
    records.blocked.add(digest("@team"))
    await blocks.refuse("@team")
    assert records.asked == []


async def test_what_is_known_is_not_acted_on_for_longer_than_it_is_good_for(records: Records, blocks: Blocks) -> None:
    await blocks.refuse("alice")
    records.blocked.add(digest("alice"))
    records.seconds = 3600
    await blocks.refuse("alice")
    records.seconds = 3600.1
    with pytest.raises(AccessDenied, match="this user is blocked"):
        await blocks.refuse("alice")


async def test_where_nobody_can_tell_the_operation_is_refused(records: Records, blocks: Blocks) -> None:
    await blocks.refuse("alice")
    records.seconds, records.away = 3601, True
    with pytest.raises(StoreUnavailable):
        await blocks.refuse("alice")


async def test_a_look_counts_from_before_it_was_sent(records: Records, blocks: Blocks) -> None:
    records.slow = 3601
    with pytest.raises(StoreUnavailable, match="answers too slowly to decide what is allowed"):
        await blocks.refuse("alice")


async def test_the_first_who_asks_may_leave_without_harm_to_the_others(records: Records, blocks: Blocks) -> None:
    first, second = (asyncio.create_task(blocks.refuse("alice")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert len(records.asked) == 1


async def test_while_users_are_at_work_one_look_in_the_background_renews_what_is_known_of_all(records: Records) -> None:
    blocks = records.blocks(0.01)
    for user in ("alice", "bob"):
        await blocks.refuse(user)
    records.blocked.add(digest("bob"))
    async with asyncio.timeout(WAIT_SECONDS):
        for _ in range(2):  # One may have been on its way.
            records.answered.clear()
            await records.answered.wait()
    asked = len(records.asked)
    await blocks.refuse("alice")
    with pytest.raises(AccessDenied):
        await blocks.refuse("bob")
    assert len(records.asked) == asked
    assert records.asked[-1] == [digest("alice"), digest("bob")]
    await blocks.aclose()


async def test_whoever_watches_a_user_is_told_of_a_block_without_asking(records: Records) -> None:
    blocks = records.blocks(0.01)
    with blocks.watched("alice") as alice, blocks.watched("alice") as too, blocks.watched("bob") as bob:
        records.seconds = 61  # Idle users are forgotten, watched ones are not.
        records.blocked.add(digest("alice"))
        blocks.forget("alice")  # As the operator's own host does.
        async with asyncio.timeout(WAIT_SECONDS):
            await alice.wait()
            await too.wait()
        assert not bob.is_set()
    with blocks.watched("@team") as team:
        assert not team.is_set()
    assert blocks._watched == {}
    await blocks.aclose()


async def test_who_has_been_idle_is_forgotten_and_then_nobody_is_looked_for(records: Records) -> None:
    blocks = records.blocks(0.01)
    await blocks.refuse("alice")
    assert blocks._renewal is not None
    records.seconds = 61
    async with asyncio.timeout(WAIT_SECONDS):
        await blocks._renewal
    asked = len(records.asked)
    await blocks.refuse("alice")
    assert len(records.asked) == asked + 1
    await blocks.aclose()
