"""Guests that wait in a pool: they hold nothing of anybody, and serve one run alone, whatever that run does."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from datastore import Scope, Store
from datastore.errors import SandboxUnavailable
from datastore.operations import Get
from sandbox import Sandbox
from sandbox.isolation import preflight
from tests.attacks.arsenal import strike
from tests.attacks.stage import RUN_AS, UIDS
from tests.attacks.test_tenants import ROUNDS, mark, marks, users
from tests.sandbox.hostile import HEAD
from tests.sandbox.test_isolation_guest import ends
from tests.sandbox.test_pool import WAIT, Gate, remains

__all__ = ["mark", "users"]

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(30)]

SCANS: Final = ("python.objects_of_another_tenant", "python.memory_of_another_tenant")
POOLS: Final[dict[str, dict[str, Any]]] = {
    "started": {"run_as": RUN_AS},
    "forked": {"run_as": RUN_AS, "zygote": True},
    "landlock": {"run_as": UIDS, "isolation": "landlock"},
}

HOLD: Final = """
import os
def run(given):
    held = [given["secret"], os.environ["SECRET"], data_store.get("k"), data_store.set("k", given["secret"])]
    print(held)
    return held
"""

STAY: Final = f"""{HEAD}
def run():
    peer.sendall(wire.pack({{"result": {{"value": "over"}}}}))
    for number in range(1, 10**9):
        try:
            peer.sendall(put(number, number))
        except OSError:
            pass
"""


@pytest_asyncio.fixture(params=POOLS, loop_scope="session")
async def pooled(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    async with Sandbox(store, pool_size=2, **POOLS[request.param]) as sandbox:
        await settled(sandbox)
        yield sandbox


async def settled(sandbox: Sandbox) -> None:
    """Wait until the pool is full, and what ended has ended."""
    async with asyncio.timeout(20):
        await sandbox._pool.full.wait()
        while sandbox._pool._ends:
            await asyncio.wait(sandbox._pool._ends)


def tenant(secret: str) -> dict[str, Any]:
    return {"input": {"secret": secret}, "environment": {"SECRET": secret}, "scope": Scope(user=secret, agent="worker")}


@pytest.mark.parametrize("scan", SCANS)
async def test_no_guest_of_a_pool_holds_what_another_run_was_given(pooled: Sandbox, scan: str) -> None:
    """Of the guests that are scanned, one waited already when the tenant ran, and one was started afterwards."""
    secret = f"tenant-{secrets.token_hex(16)}"
    held = await pooled.run(HOLD, **tenant(secret))
    assert held.output[:3] == [secret, secret, None]
    for _ in range(3):
        answer = await strike(pooled, scan, {})
        assert (answer.attempted, answer.refused, answer.got) == (True, "LookupError", "")
        await settled(pooled)


@pytest.mark.parametrize("scan", SCANS)
async def test_the_same_scan_finds_what_its_own_run_was_given(pooled: Sandbox, scan: str) -> None:
    secret = f"tenant-{secrets.token_hex(16)}"
    assert (await strike(pooled, scan, {"planted": [secret]})).got == secret


async def test_no_run_of_a_pool_finds_a_mark_of_an_earlier_one(
    pooled: Sandbox, users: tuple[Scope, Scope], mark: dict[str, Any]
) -> None:
    assert await marks(pooled, users, mark) == [[]] * ROUNDS


async def test_who_keeps_its_socket_after_its_result_is_ended_and_heard_no_more(pooled: Sandbox, store: Store) -> None:
    scope = Scope(user=secrets.token_hex(8), agent="worker")
    slots = list(pooled._pool._idle)
    result = await pooled.run(STAY, scope=scope)
    late = await store.execute(scope, Get(namespace="default", keys=("big",)))
    assert (result.outcome, result.output) == ("done", "over")
    (taken,) = [each for each in slots if each not in pooled._pool._idle]
    await asyncio.wait_for(taken.guest.wait(), 20)
    assert ends(await taken.guest.started() or 0)
    assert await store.execute(scope, Get(namespace="default", keys=("big",))) == late


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
async def test_leaving_a_sandbox_by_an_error_leaves_no_process_no_socket_and_no_file(
    store: Store, pool: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gate, before = Gate(), remains()
    runs = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the sandbox is left by it
        async with Sandbox(store, pool_size=2, **pool) as sandbox:
            scope = Scope(user="alice", agent="worker")
            runs = [asyncio.create_task(sandbox.run(WAIT, scope=scope, tools={"wait": gate.wait})) for _ in range(4)]
            await asyncio.wait_for(gate.called.wait(), 20)
            raise ZeroDivisionError
    assert [type(each) for each in await asyncio.gather(*runs, return_exceptions=True)] == [asyncio.CancelledError] * 4
    assert remains() == before
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names only


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
async def test_a_sandbox_that_does_not_pass_its_self_test_leaves_no_process_no_socket_and_no_file(
    store: Store, pool: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(preflight, "ATTACKS", preflight.ATTACKS | {"one that the probe does not know"})
    before = remains()
    with pytest.raises(SandboxUnavailable, match=r"missed \(one that the probe does not know: not tried\)"):
        async with Sandbox(store, pool_size=2, **pool):
            pass
    assert remains() == before
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names only
