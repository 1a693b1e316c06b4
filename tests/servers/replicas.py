"""A MongoDB replica set of three members, each of which a test may kill, stop, wake and start again.

Elections take two seconds unless a test wants the default. Nothing here is shared between test processes.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pymongo
from pymongo.errors import AutoReconnect, PyMongoError

from tests.servers.mongo import executable, free_port, launch, stop_process

MEMBERS: Final = 3
_NAME: Final = "replicas"
_ELECTION_MILLISECONDS: Final = 2000
DEFAULT_ELECTION_MILLISECONDS: Final = 10_000
_START_SECONDS: Final = 60
_PAUSE_SECONDS: Final = 0.1
_OPLOG_MEGABYTES: Final = 512
_CACHE_GIGABYTES: Final = 0.25

Document = dict[str, Any]


class Replicas:
    """Three servers, by their numbers.

    Args:
        folder: holds their data.
        election_milliseconds: how long members wait for a primary before they elect another.
    """

    def __init__(self, folder: Path, election_milliseconds: int = _ELECTION_MILLISECONDS) -> None:
        self._folder = folder
        self._election_milliseconds = election_milliseconds
        self._ports = [free_port() for _ in range(MEMBERS)]
        self._known: Sequence[int] = self._ports
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """The URL of the set, without a database."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._known)
        return f"mongodb://{hosts}/?replicaSet={_NAME}"

    def member_url(self, number: int) -> str:
        """Return the URL of one member, which the driver does not look beyond."""
        return f"mongodb://127.0.0.1:{self._ports[number]}/?directConnection=true"

    def initiate(self, ports: Sequence[int] | None = None) -> None:
        """Start every member, and make them a set.

        Args:
            ports: where members and clients find each other; None: where the members listen.
        """
        self._known = ports or self._ports
        for number in range(MEMBERS):
            self.start(number)
        for number in range(MEMBERS):  # A set is made only when every member answers.
            with self._client(self.member_url(number)) as client:
                client.admin.command("ping")
        members = [{"_id": number, "host": f"127.0.0.1:{port}"} for number, port in enumerate(self._known)]
        settings = {"electionTimeoutMillis": self._election_milliseconds, "heartbeatIntervalMillis": 500}
        with self._client(self.member_url(0)) as client:
            client.admin.command("replSetInitiate", {"_id": _NAME, "members": members, "settings": settings})
        self.primary()
        self.settle()

    def start(self, number: int) -> None:
        """Start a member that does not run."""
        data = self._folder / f"member{number}"
        data.mkdir(exist_ok=True)
        replicated = ("--replSet", _NAME, "--oplogSize", str(_OPLOG_MEGABYTES))
        self._processes[number] = launch(
            executable(self._folder), self._ports[number], data, *replicated, cache_gigabytes=_CACHE_GIGABYTES
        )

    def kill(self, number: int) -> None:
        """Kill a member, as a host that loses its power."""
        process = self._processes.pop(number)
        process.kill()
        process.wait()

    def stop(self, number: int) -> None:
        """Let a member stand still, until it is woken."""
        self._processes[number].send_signal(signal.SIGSTOP)

    def wake(self, number: int) -> None:
        """Let a member that was stopped go on."""
        self._processes[number].send_signal(signal.SIGCONT)

    def step_down(self) -> None:
        """Have the primary give up its office; another member takes it."""
        number = self.primary()
        with contextlib.suppress(AutoReconnect), self._client(self.member_url(number)) as client:
            client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=2, force=True)

    def primary(self) -> int:
        """Return the number of a member that calls itself primary, waiting until there is one."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            for number in self._processes:
                hello = self._ask(number, "hello")
                if hello.get("isWritablePrimary"):
                    return number
            time.sleep(_PAUSE_SECONDS)
        raise RuntimeError("the set has no primary")

    def settle(self) -> None:
        """Wait until every member is up, and a primary or a secondary."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            found = [self._ask(number, "hello") for number in range(MEMBERS)]
            if all(each.get("isWritablePrimary") or each.get("secondary") for each in found):
                return
            time.sleep(_PAUSE_SECONDS)
        raise RuntimeError("not every member of the set came back")

    def end(self) -> None:
        """Stop every member."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self._processes.values():
            stop_process(process)
        self._processes.clear()

    def _ask(self, number: int, command: str) -> Document:
        options = "serverSelectionTimeoutMS=1000&connectTimeoutMS=1000&socketTimeoutMS=1000"
        try:
            with pymongo.MongoClient[Document](f"{self.member_url(number)}&{options}") as client:
                return dict(client.admin.command(command))
        except PyMongoError:
            return {}

    def _client(self, url: str) -> pymongo.MongoClient[Document]:
        return pymongo.MongoClient[Document](f"{url}&serverSelectionTimeoutMS={_START_SECONDS * 1000}")


@contextmanager
def replicas(election_milliseconds: int = _ELECTION_MILLISECONDS) -> Iterator[Replicas]:
    """Yield a running set, and stop it afterwards."""
    with stopped_replicas(election_milliseconds) as made:
        made.initiate()
        yield made


@contextmanager
def stopped_replicas(election_milliseconds: int = _ELECTION_MILLISECONDS) -> Iterator[Replicas]:
    """Yield a set that is still to be initiated, and stop it afterwards."""
    with tempfile.TemporaryDirectory(prefix="datastore-replicas-") as folder:
        made = Replicas(Path(folder), election_milliseconds)
        atexit.register(made.end)
        try:
            yield made
        finally:
            made.end()
            atexit.unregister(made.end)
