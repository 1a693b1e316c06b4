"""A sandbox on SQLite, at the levels that promise isolation, as a platform would run it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datastore import Store, open_store
from sandbox import Sandbox
from tests.uids import RUN_AS, uids

PROMISING: dict[str, str | None] = {"strict": RUN_AS}
"""The levels that promise isolation, and whose guests are."""
if os.geteuid() == 0:
    PROMISING["landlock"] = uids(300, 80)
else:
    # Only root can give guests uids that are not its own; CI is root and runs it all.
    collect_ignore = ["test_isolation_landlock.py"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture(params=["started", "forked"])
async def strict(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """The level strict, with guests that are started anew and with guests that a zygote forks."""
    async with Sandbox(store, run_as=RUN_AS, zygote=request.param == "forked") as sandbox:
        yield sandbox


@pytest.fixture(params=[*PROMISING, "forked"])
async def confined(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """Whatever promises isolation."""
    forked = request.param == "forked"
    level = "strict" if forked else request.param
    async with Sandbox(store, isolation=level, run_as=PROMISING[level], zygote=forked) as sandbox:
        yield sandbox
