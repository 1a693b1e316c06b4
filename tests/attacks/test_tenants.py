"""Two users on one sandbox, with the same code, namespaces, keys and agent names: neither ever meets the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope
from sandbox import Sandbox
from tests.attacks.agents.tenants import FOLDERS
from tests.attacks.arsenal import agent, told

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(30)]

ROUNDS = 6

KEEP = """
def run(given):
    before = []
    for name in ("default", "notes"):
        space = data_store.use_namespace(name)
        before += [space.get("k"), space.get_all()]
        space.set("k", given)
    return before
"""


@pytest.fixture
def users() -> tuple[Scope, Scope]:
    """Two that no other test knows, with one agent's name."""
    alice, bob = (Scope(user=f"{user}-{secrets.token_hex(4)}", agent="worker") for user in ("alice", "bob"))
    return alice, bob


@pytest.fixture
def mark() -> Iterator[dict[str, Any]]:
    """A name that both users know, whose marks are taken away from the machine afterwards."""
    made = {"mark": secrets.token_hex(8), "key": secrets.randbits(30) + 1}
    yield made
    for folder in FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            Path(folder, f"attacks_{made['mark']}").unlink()


async def marks(sandbox: Sandbox, users: tuple[Scope, Scope], given: dict[str, Any]) -> list[list[str]]:
    """Return what each run of two alternating users found of the runs before."""
    source, order = agent("tenants.leave_and_look_for_marks", given)
    found = []
    for number in range(ROUNDS):
        answer = told(await sandbox.run(source, order, scope=users[number % 2]))
        assert (answer.attempted, answer.refused) == (True, None)
        found.append(json.loads(answer.got))
    return found


async def test_no_run_finds_a_mark_of_an_earlier_one(
    confined: Sandbox, users: tuple[Scope, Scope], mark: dict[str, Any]
) -> None:
    assert await marks(confined, users, mark) == [[]] * ROUNDS


async def test_files_and_shared_memory_are_found_again_at_unsafe_process(
    unsafe: Sandbox, users: tuple[Scope, Scope], mark: dict[str, Any]
) -> None:
    try:
        first, *later = await marks(unsafe, users, mark)
    finally:
        remove_memory(mark["key"])
    assert first == []
    name = f"attacks_{mark['mark']}"
    assert later == [["memory", f"/tmp/{name}", f"/dev/shm/{name}"]] * (ROUNDS - 1)  # noqa: S108 - where marks are left.


async def test_two_alternating_users_see_their_own_values_alone(strict: Sandbox, users: tuple[Scope, Scope]) -> None:
    values = {scope.user: secrets.token_hex(8) for scope in users}
    for number in range(ROUNDS):
        scope = users[number % 2]
        result = await strict.run(KEEP, values[scope.user], scope=scope)
        own = values[scope.user]
        assert result.error is None
        expected: list[Any] = [own, {"k": own}] if number > 1 else [None, {}]
        assert result.output == expected * 2


async def test_two_users_at_once_see_their_own_values_alone(strict: Sandbox, users: tuple[Scope, Scope]) -> None:
    code = """
def run(given):
    seen = set()
    for _ in range(100):
        data_store.set("both", given)
        seen.add(data_store.get("both"))
    return sorted(seen)
"""
    values = [secrets.token_hex(8) for _ in users]
    runs = [strict.run(code, value, scope=scope) for scope, value in zip(users, values, strict=True)]
    assert [result.output for result in await asyncio.gather(*runs)] == [[value] for value in values]


def remove_memory(key: int) -> None:
    import ctypes  # noqa: PLC0415 - for the control alone.

    libc = ctypes.CDLL(None)
    if (number := libc.shmget(key, 0, 0)) >= 0:
        libc.shmctl(number, 0, None)
