"""Watchers in processes of their own see each of a thousand changes once and in order, whatever happens on the way.

The changes are made by writers in other processes that know nothing of each other. They wait for each other at marks,
and what breaks does so right after a mark, while they write on.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import AutoReconnect

from tests.contract.watcher import Seen
from tests.servers.mongo import database, own_mongod
from tests.servers.wire import Wire, carried
from tests.world import Loop, Servers, address

pytestmark = pytest.mark.slow

CHANGES = 1000
WATCHERS = WRITERS = 2
MARKS = 5
WAIT_SECONDS = 120
Process = subprocess.Popen[str]
Disturbance = Callable[[int], AbstractContextManager[None]]
"""Is prepared before the writers pass a mark, and happens when they have."""


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    """A process, which ends by itself."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            assert process.wait(WAIT_SECONDS) == 0
        finally:
            process.kill()


def hear(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def let_go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def told(process: Process) -> list[Seen]:
    return [(key, version) for key, version in json.loads(hear(process))]


def check(url: str, over: list[str], disturbed: Disturbance, life: int = CHANGES) -> None:
    """Let some watch, each over a way of its own, and others write at a URL; each watcher sees what each writer did."""
    with ExitStack() as stack:
        watching = [["tests.contract.watcher", way, "w", str(CHANGES), str(life)] for way in over]
        watchers = [stack.enter_context(running(*each)) for each in watching]
        assert [hear(each) for each in watchers] == ["ready"] * WATCHERS
        share, names = CHANGES // WRITERS, [f"w{turn}" for turn in range(WRITERS)]
        writing = [["tests.contract.writer", url, name, str(share), str(share // MARKS)] for name in names]
        writers = [stack.enter_context(running(*each)) for each in writing]
        pass_marks(writers, disturbed)
        made = {name: told(each) for name, each in zip(names, writers, strict=True)}
        seen, *others = [told(each) for each in watchers]
    assert len(seen) == CHANGES
    assert {name: [each for each in seen if each[0].startswith(name)] for name in names} == made
    assert others == [seen] * (WATCHERS - 1)


def pass_marks(writers: list[Process], disturbed: Disturbance) -> None:
    for turn in range(MARKS):
        assert [hear(each) for each in writers] == ["mark"] * WRITERS
        with disturbed(turn):
            for each in writers:
                let_go(each)


@pytest.mark.parametrize("engine", ["postgresql", "motor"])
def test_each_change_is_seen_once_and_in_order_across_connections_that_are_cut_again_and_again(
    engine: str, tmp_path: Path, servers: Servers, host_loop: Loop
) -> None:
    with address(engine, tmp_path, servers) as url, ExitStack() as stack:
        ways = [stack.enter_context(carried(host_loop, url, Wire)) for _ in range(WATCHERS)]

        @contextmanager
        def cut(_turn: int) -> Iterator[None]:
            for each, _ in ways:
                host_loop.run(each.connected())
            yield
            for each, _ in ways:
                host_loop.loop.call_soon_threadsafe(each.cut)

        check(url, [over for _, over in ways], cut)
        assert [each.made > MARKS for each, _ in ways] == [True] * WATCHERS


def test_each_change_is_seen_once_and_in_order_across_stores_that_are_closed_and_opened_again(
    tmp_path: Path, servers: Servers
) -> None:
    """SQLite has no connection that could be cut: here it is the host that goes and comes back."""
    with address("sqlite", tmp_path, servers) as url:
        check(url, [url] * WATCHERS, lambda _turn: contextlib.nullcontext(), life=CHANGES // MARKS)


def test_each_change_is_seen_once_and_in_order_across_a_primary_that_steps_down() -> None:
    with own_mongod() as server, pymongo.MongoClient[dict[str, Any]](server) as client:
        url = database(server, "watched")

        @contextmanager
        def step_down(turn: int) -> Iterator[None]:
            yield
            if turn == MARKS // 2:
                with contextlib.suppress(AutoReconnect):
                    client.admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=0, force=True)

        term = client.admin.command("replSetGetStatus")["term"]
        check(url, [url] * WATCHERS, step_down)
        assert client.admin.command("replSetGetStatus")["term"] > term
