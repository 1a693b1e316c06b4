"""One sandbox of each level and one stage for the whole session; each attack is a run of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from datastore import Store, open_store
from sandbox import Sandbox
from tests.attacks.stage import RUN_AS, UIDS, Stage, stage

if os.geteuid() != 0:
    # Positive controls are privileged, and victims of another uid are started: as another user nothing would be proved.
    # CI is root and runs them all.
    collect_ignore_glob = ["test_*.py"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    path: Path = tmp_path_factory.mktemp("attacks") / "store.db"
    async with open_store(f"sqlite:///{path}") as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def started(store: Store) -> AsyncIterator[Sandbox]:
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def forked(store: Store) -> AsyncIterator[Sandbox]:
    async with Sandbox(store, run_as=RUN_AS, zygote=True) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def landlock(store: Store) -> AsyncIterator[Sandbox]:
    async with Sandbox(store, isolation="landlock", run_as=UIDS) as sandbox:
        yield sandbox


@pytest.fixture(params=["started", "forked"])
def strict(request: pytest.FixtureRequest) -> Sandbox:
    """The level strict, with guests that are started anew and with guests that a zygote forks."""
    made: Sandbox = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=["started", "forked", "landlock"])
def confined(request: pytest.FixtureRequest) -> Sandbox:
    """Whatever promises isolation."""
    made: Sandbox = request.getfixturevalue(request.param)
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def unsafe(store: Store) -> AsyncIterator[Sandbox]:
    async with Sandbox(store, isolation="unsafe_process", accept_no_isolation=True, run_as=RUN_AS) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def planted() -> AsyncIterator[Stage]:
    async with stage() as made:
        yield made
