"""Stores that tests may break: a replica set, a PostgreSQL server and a SQLite file, each with faults by name.

A fault happens, lasts for some seconds, and is over when it returns: whatever it took away is there again.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mongo.proxy import Proxy
from tests.servers.mongo import database
from tests.servers.postgres import Server, fresh_postgres
from tests.servers.replicas import MEMBERS, stopped_replicas
from tests.servers.wire import Wire, carried
from tests.world import Loop

LONG_SECONDS: Final = 4.0
SHORT_SECONDS: Final = 0.4
_CUTS: Final = 6
_FULL_BYTES: Final = 512 * 1024
"""More than a history takes, and less than the file that SQLite writes to first."""

Fault = Callable[[], None]


@dataclass
class Breakable:
    """A store, and what can happen to it."""

    url: str
    faults: Mapping[str, Fault]


def _call(loop: Loop, action: Callable[[], None]) -> None:
    async def acted() -> None:
        action()

    loop.run(acted())


def _cut(loop: Loop, wires: Sequence[Wire]) -> None:
    """Cut every connection again and again."""
    for _ in range(_CUTS):
        for wire in wires:
            _call(loop, wire.cut)
        time.sleep(SHORT_SECONDS)


def _partition(loop: Loop, wire: Wire) -> None:
    """Refuse all that is sent over a wire, for a while."""
    _call(loop, wire.leave)
    time.sleep(LONG_SECONDS)
    _call(loop, wire.come_back)


def _stop(processes: Sequence[int]) -> None:
    """Let processes stand still for a while."""
    try:
        for each in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)
        time.sleep(LONG_SECONDS)
    finally:
        for each in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


@contextmanager
def mongodb(loop: Loop) -> Iterator[Breakable]:
    """Yield a replica set whose members, and clients, reach each member over a wire."""
    with ExitStack() as stack:
        members = stack.enter_context(stopped_replicas())
        wires = [stack.enter_context(carried(loop, members.member_url(n), Proxy))[0] for n in range(MEMBERS)]
        members.initiate([each.listening for each in wires])

        def killed() -> None:
            number = members.primary()
            members.kill(number)
            time.sleep(LONG_SECONDS)
            members.start(number)
            members.settle()

        def stopped() -> None:
            number = members.primary()
            members.stop(number)
            time.sleep(LONG_SECONDS)
            members.wake(number)
            members.settle()

        def parted() -> None:
            _partition(loop, wires[members.primary()])
            members.settle()

        def deposed() -> None:
            members.step_down()
            members.primary()

        yield Breakable(
            database(members.url, "faults"),
            {
                "kill": killed,
                "stop": stopped,
                "step down": deposed,
                "partition": parted,
                "cut": lambda: _cut(loop, wires),
            },
        )


@contextmanager
def postgresql(loop: Loop) -> Iterator[Breakable]:
    """Yield a database of a server of its own."""
    with Server.made() as server, fresh_postgres(server.url) as url, carried(loop, url, Wire) as (wire, over):

        def crashed() -> None:
            server.stop(signal.SIGQUIT)
            time.sleep(LONG_SECONDS / 2)
            assert server.start()

        def stopped() -> None:
            _stop(server.processes())

        yield Breakable(
            over,
            {
                "kill": crashed,
                "stop": stopped,
                "partition": lambda: _partition(loop, wire),
                "cut": lambda: _cut(loop, [wire]),
            },
        )


@dataclass
class Hosts:
    """The processes of workers, for faults that hit hosts."""

    pids: list[int] = field(default_factory=list)


def sqlite(folder: Path, hosts: Hosts) -> Breakable:
    """Return a file, and faults of the processes that share it."""
    path = folder / "store.db"

    def stopped() -> None:
        """Stop a host, wherever it is: it may hold the lock of all writers."""
        _stop(hosts.pids[:1])

    def full() -> None:
        """Let no file grow beyond what the journal of writes needs, as on a full disk."""
        for each in hosts.pids:
            resource.prlimit(each, resource.RLIMIT_FSIZE, (_FULL_BYTES, resource.RLIM_INFINITY))
        time.sleep(LONG_SECONDS)
        for each in hosts.pids:
            resource.prlimit(each, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    return Breakable(f"sqlite:///{path}", {"stop a host": stopped, "full disk": full})
