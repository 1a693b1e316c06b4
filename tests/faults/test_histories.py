"""Hosts at work while their store breaks: what each was told is what became of it.

Four hosts do every role at once, and two watch, while faults come one after another. When all is whole again, the
histories are held against each other and against what stands.
"""

from __future__ import annotations

import asyncio
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from admin.actions import audit
from datastore import Scope, Settings, open_store
from datastore.ports import Look
from sandbox import connect
from tests.faults import checkers, nemesis
from tests.faults.histories import History
from tests.faults.nemesis import Breakable, Hosts
from tests.faults.roles import LIMITED_USER, USER
from tests.faults.watcher import LAST
from tests.servers.tied import tied
from tests.world import Loop

pytestmark = pytest.mark.faults

WORKERS: Final = 4
WATCHERS: Final = 2
WORK_SECONDS: Final = 12.0
BEFORE_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 120
DRIVERS: Final = ("motor", "pymongo")
DEADLINES: Final = ("25", "1.5")
"""Of the hosts in turn: one outlives a failover, one has errors."""
ROLES: Final = (
    *("write", "read", "delete", "count", "claim", "append", "transfer", "fence", "replace", "watched write"),
    *("fill", "count of full"),
)
SKEWS: Final = ("0", "1.5", "-1.5", "0")
"""Seconds that the clocks of the hosts are ahead."""

PATIENT: Final = Settings(connect_timeout_seconds=60)
FELT: Final = {"kill", "stop", "partition", "full disk"}
"""Faults that some operation has not done well at."""

Process = subprocess.Popen[str]


@dataclass
class Crew:
    """The processes of one run."""

    url: str
    folder: Path
    workers: list[Process] = field(default_factory=list)
    watchers: list[Process] = field(default_factory=list)

    def hire(self, name: str, turn: int, seconds: float) -> Process:
        """Start a worker."""
        facts = [name, str(seconds), DEADLINES[turn % len(DEADLINES)], SKEWS[turn % len(SKEWS)], DRIVERS[turn // 2 % 2]]
        return _start("tests.faults.worker", self.url, str(self.folder), *facts)

    def begin(self) -> None:
        """Start everyone, and return when all are at work."""
        self.watchers = [
            _start("tests.faults.watcher", self.url, str(self.folder), f"watcher{turn}", DRIVERS[turn % 2])
            for turn in range(WATCHERS)
        ]
        _hear_ready(self.watchers)
        self.workers = [self.hire(f"w{turn}", turn, WORK_SECONDS) for turn in range(WORKERS)]
        _hear_ready(self.workers)
        _let_begin(self.workers)

    def kill_one(self) -> None:
        """Kill a host, and start another one."""
        victim = self.workers[-1]
        _end(victim)
        self.workers[-1] = self.hire("later", WORKERS - 1, WORK_SECONDS / 2)
        _hear_ready(self.workers[-1:])
        _let_begin(self.workers[-1:])

    def end(self) -> None:
        """Wait until everyone has ended, and well."""
        for each in self.workers:
            assert each.wait(WAIT_SECONDS) == 0
        asyncio.run(_write_last(self.url))
        for each in self.watchers:
            assert each.wait(WAIT_SECONDS) == 0

    def fire(self) -> None:
        """End the processes that are left, where a test failed."""
        for each in (*self.workers, *self.watchers):
            _end(each)


def _start(module: str, *arguments: str) -> Process:
    """Start a process, which the kernel ends with this one."""
    command = [*tied("KILL"), sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _end(process: Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def _hear_ready(processes: list[Process]) -> None:
    for each in processes:
        assert each.stdout is not None
        readable, _, _ = select.select([each.stdout], [], [], WAIT_SECONDS)
        assert readable, "it does not begin"
        assert each.stdout.readline() == "ready\n", f"it ended: {each.wait(WAIT_SECONDS)}"


def _let_begin(workers: list[Process]) -> None:
    for each in workers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()


async def _write_last(url: str) -> None:
    async with open_store(url, settings=PATIENT) as store:
        with connect(store, scope=Scope(user=USER, agent="test")) as data_store:
            await data_store.aio.set(LAST, "the end")


async def _state(url: str) -> dict[str, Any]:
    """Return all values of both users, whose keys never meet, and what the audit log has of one of them."""
    async with open_store(url, settings=PATIENT) as store:
        rows = [row.deed async for page in audit.rows(store, Look(user=USER)) for row in page]
        noted = [[each.by_agent, each.key, each.outcome] for each in rows if each.operation == "put"]
        found: dict[str, Any] = {checkers.AUDITED: noted}
        for user in (USER, LIMITED_USER):
            with connect(store, scope=Scope(user=user, agent="test")) as data_store:
                found |= {key: value async for key, value in data_store.aio.items()}
        return found


@contextmanager
def crew(url: str, folder: Path) -> Iterator[Crew]:
    made = Crew(url, folder)
    try:
        yield made
    finally:
        made.fire()


def check(url: str, folder: Path, fault: str) -> None:
    """Hold the histories against what stands."""
    history, state = History.read(folder), asyncio.run(_state(url))
    print(f"\n{history.counted()}")  # noqa: T201 - what the figures of a run are
    wrong = {name: found for name, checker in checkers.ALL.items() if (found := checker(history, state))}
    assert (history.unsaid(), wrong) == ([], {})
    assert [role for role in (*ROLES, "watched", "closed") if not history.of(role, "ok")] == []
    assert fault not in FELT or history.of_any("failed", "unknown")


FAULTS: Final = [
    *(("mongodb", name) for name in ("kill", "stop", "step down", "partition", "cut", "hosts")),
    *(("postgresql", name) for name in ("kill", "stop", "partition", "cut", "hosts")),
    *(("sqlite", name) for name in ("stop a host", "full disk", "hosts")),
]


@pytest.mark.parametrize(("engine", "fault"), FAULTS, ids=[f"{engine}-{fault}" for engine, fault in FAULTS])
def test_what_hosts_are_told_is_true(engine: str, fault: str, tmp_path: Path, host_loop: Loop) -> None:
    folder = tmp_path / "histories"
    folder.mkdir()
    with ExitStack() as stack:
        hosts = Hosts()
        store = stack.enter_context(_breakable(engine, tmp_path, host_loop, hosts))
        team = stack.enter_context(crew(store.url, folder))
        team.begin()
        hosts.pids = [each.pid for each in team.workers]
        time.sleep(BEFORE_SECONDS)
        if fault == "hosts":
            team.kill_one()
        else:
            store.faults[fault]()
        team.end()
        check(store.url, folder, fault)


@contextmanager
def _breakable(engine: str, folder: Path, loop: Loop, hosts: Hosts) -> Iterator[Breakable]:
    if engine == "sqlite":
        yield nemesis.sqlite(folder, hosts)
        return
    make = nemesis.mongodb if engine == "mongodb" else nemesis.postgresql
    with make(loop) as made:
        yield made
