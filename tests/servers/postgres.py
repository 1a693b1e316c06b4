"""A real PostgreSQL for tests, started from the system's package on a free loopback port, in a temporary directory.

It is stopped by its process when the tests end, or by the kernel where that process is killed.
`DATASTORE_TEST_POSTGRES_URL` uses another server instead, in databases of its own that are dropped afterwards; its user
must be allowed to create them. Where neither works that is an error and never a skip: a suite that proved nothing must
not pass.

PostgreSQL refuses to run as root, so root starts it as `nobody`. Its databases sort text as English does, so that a
column which forgot to compare as bytes is noticed. It syncs nothing: what these tests kill is a process, no machine.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.servers.mongo import free_port
from tests.servers.tied import tied

VARIABLE: Final = "DATASTORE_TEST_POSTGRES_URL"
"""Names another server for the tests, or the one that the workers of a parallel run share."""

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_TRIES: Final = 3
_ACCOUNT: Final = "nobody"
_CONFIGURATION: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "deadlock_timeout": "20ms",
    "shared_buffers": "64MB",
    "max_connections": "500",
    "log_timezone": "UTC",
}


@contextmanager
def postgres(**configuration: str) -> Iterator[str]:
    """Yield the URL of a server, with the name of a database that is always there; ours may be configured otherwise."""
    if given := os.environ.get(VARIABLE):
        yield given
        return
    with Server.made(**configuration) as server:
        yield server.url


@contextmanager
def fresh_postgres(server: str) -> Iterator[str]:
    """Yield the URL of a new database of a server, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    _command(server, "CREATE DATABASE {}", name)
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        _command(server, "DROP DATABASE {} WITH (FORCE)", name)


def empty_postgres(url: str) -> None:
    """Remove every row of a database except that of the layout, and end connections that a test left open."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'layout'"
        )
        named = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
        if tables.rowcount:
            connection.execute(sql.SQL("TRUNCATE {}").format(named))


def _command(server: str, text: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(text).format(sql.Identifier(name)))


@dataclass
class Server:
    """A server of our own, which can be killed and started again on the same port and data."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    configuration: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def made(cls, **configuration: str) -> Iterator[Server]:
        """Yield a running server, and stop it afterwards, also where the tests end without leaving this."""
        with tempfile.TemporaryDirectory(prefix="datastore-postgres-") as folder:
            made = cls(Path(folder), 0, configuration=configuration)
            made.initialise()
            atexit.register(made.stop)
            try:
                made.start_somewhere()
                yield made
            finally:
                made.stop()
                atexit.unregister(made.stop)

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"postgresql://tests@127.0.0.1:{self.port}/postgres?sslmode=disable&gssencmode=disable"

    def initialise(self) -> None:
        """Make the files of a server."""
        if os.geteuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        sorting = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
        made = subprocess.run(
            [*_command_line("initdb"), "-D", self._data, "-U", "tests", "-A", "trust", "--no-sync", *sorting],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError("initdb fails; its last words:\n" + (made.stdout + made.stderr)[-2000:])

    def start_somewhere(self) -> None:
        """Start on a free port; another process may take it in between, so there are several tries."""
        for _ in range(_TRIES):
            self.port = free_port()
            if self.start():
                return
        raise RuntimeError("PostgreSQL does not start; its last words:\n" + self._log.read_text()[-2000:])

    def start(self) -> bool:
        """Start; say whether it answers."""
        options = [f"--{name}={value}" for name, value in {**_CONFIGURATION, **self.configuration}.items()]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_command_line("postgres"), "-D", self._data, "-p", str(self.port), *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if self._answers():
            return True
        self.stop()
        return False

    def stop(self, signal_number: int = signal.SIGINT) -> None:
        """Stop, ending all connections, by force where it takes too long; SIGQUIT stops as a crash does. Idempotent."""
        if self.process is None:
            return
        self.process.send_signal(signal_number)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def processes(self) -> list[int]:
        """Return the numbers of the server's processes, its own first."""
        assert self.process is not None
        number = self.process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text()
        return [number, *map(int, children.split())]

    def _answers(self) -> bool:
        assert self.process is not None
        waiting = [installed("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        for _ in range(_START_SECONDS * 20):
            if self.process.poll() is not None:
                return False
            if subprocess.run(waiting, check=False).returncode == 0:
                return True
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        return False

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _log(self) -> Path:
        return self.folder / "log"


def _command_line(program: str) -> Sequence[str]:
    if os.geteuid() != 0:
        return [*tied("INT"), installed(program)]
    account = pwd.getpwnam(_ACCOUNT)
    laid_down = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return [*tied("INT"), *laid_down, installed(program)]


def installed(program: str) -> str:
    """Return the newest of the installed versions, which Debian keeps off the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which(program)
    if found is None:
        raise RuntimeError(f"There is no PostgreSQL: install the package `postgresql`, or set {VARIABLE}.")
    return found
