"""Watchers in processes of their own see each of a thousand changes once and in order, whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import AutoReconnect

from datastore import Settings
from sandbox import connect
from tests.servers.mongo import fresh_database
from tests.world import SEPARATE, Servers, address

CHANGES = 1000
WATCHERS = 2
WAIT_SECONDS = 120


@contextmanager
def watching(url: str, prefix: str = "k", count: int = CHANGES) -> Iterator[subprocess.Popen[str]]:
    """A watcher that has begun."""
    command = [sys.executable, "-m", "tests.contract.watcher", url, prefix, str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def seen(process: subprocess.Popen[str]) -> list[str | None]:
    """Return what a watcher saw; it ends when it has seen as much as it was told to."""
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    found: list[str | None] = json.loads(out)
    return found


def write(url: str, halfway: Callable[[], None] = lambda: None) -> list[str | None]:
    """Make a thousand changes of twenty keys; return the versions, None for a removal."""
    made: list[str | None] = []
    with connect(url, user="alice", agent="writer", settings=Settings(operation_timeout_seconds=60)) as data_store:
        for number in range(CHANGES):
            if number == CHANGES // 2:
                halfway()
            key = f"k{number % 20}"
            if number % 7 == 0 and data_store.delete(key):
                made.append(None)
            else:
                made.append(data_store.set(key, number))
    return made


@pytest.fixture(params=SEPARATE)
def url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[str]:
    with address(request.param, tmp_path, servers) as fresh:
        yield fresh


def test_watchers_in_other_processes_see_each_change_once_and_in_order(url: str) -> None:
    with ExitStack() as stack:
        watchers = [stack.enter_context(watching(url)) for _ in range(WATCHERS)]
        made = write(url)
        assert [seen(each) for each in watchers] == [made] * WATCHERS


def test_they_do_so_across_a_primary_that_steps_down(server: str) -> None:
    def step_down() -> None:
        with contextlib.suppress(AutoReconnect):
            client.admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=0, force=True)

    with fresh_database(server) as url, pymongo.MongoClient[dict[str, Any]](server) as client, ExitStack() as stack:
        watchers = [stack.enter_context(watching(url)) for _ in range(WATCHERS)]
        term = client.admin.command("replSetGetStatus")["term"]
        made = write(url, step_down)
        assert [seen(each) for each in watchers] == [made] * WATCHERS
        assert client.admin.command("replSetGetStatus")["term"] > term
