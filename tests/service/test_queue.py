"""Turns: as a semaphore's, but each user has a line of its own."""

from __future__ import annotations

import asyncio

import pytest

from datastore.queue import Turns


async def test_users_take_turns_however_much_one_of_them_wants() -> None:
    turns, order = Turns(1), list[str]()
    await turns.acquire("mallory")

    async def work(user: str) -> None:
        await turns.acquire(user)
        order.append(user)
        turns.release()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for user in [*["mallory"] * 5, "alice", "bob", "alice"]:
            group.create_task(work(user))
            await asyncio.sleep(0)  # It stands in its line.
        turns.release()
    assert order == ["mallory", "alice", "bob", "mallory", "alice", "mallory", "mallory", "mallory"]


async def test_so_many_have_a_turn_at_once_as_it_is_wide() -> None:
    turns = Turns(2)
    for _ in range(2):
        await turns.acquire(None)
    third = asyncio.create_task(turns.acquire(None))
    await asyncio.sleep(0)
    assert not third.done()
    turns.release()
    await asyncio.wait_for(third, 30)


@pytest.mark.parametrize("given", [False, True])
async def test_who_is_cancelled_while_it_waits_leaves_the_turn_to_the_next(given: bool) -> None:  # noqa: FBT001 - a case
    """Also where the turn was given in the same moment."""
    turns = Turns(1)
    await turns.acquire("alice")
    cancelled, next_one = asyncio.create_task(turns.acquire("alice")), asyncio.create_task(turns.acquire("bob"))
    await asyncio.sleep(0)
    if given:
        turns.release()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    if not given:
        turns.release()
    await asyncio.wait_for(next_one, 30)
    turns.release()
    await asyncio.wait_for(turns.acquire("carol"), 30)
