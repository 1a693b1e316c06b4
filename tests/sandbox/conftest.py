"""A sandbox on SQLite, at the strict level, as a platform would run it; as root, guests are launched as nobody."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datastore import Store, open_store
from sandbox import Sandbox

RUN_AS = "nobody" if os.geteuid() == 0 else None


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture(params=["started", "forked"])
async def strict(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """The level strict, with guests that are started anew and with guests that a zygote forks."""
    async with Sandbox(store, run_as=RUN_AS, zygote=request.param == "forked") as sandbox:
        yield sandbox
