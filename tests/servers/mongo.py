"""A real MongoDB for tests: one node that is a replica set, so that it has majorities, change streams and transactions.

It is started from the wheel that carries it, on a free loopback port and in a temporary directory, and stopped by its
process when the tests end, or by the kernel where that process is killed. `DATASTORE_TEST_MONGO_URL` uses another
server instead, in databases of its own that are dropped afterwards. Where neither works that is an error and never a
skip: a suite that proved nothing must not pass.

The server does not collect garbage here: what tests see of expired entries must not depend on when it comes by.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pymongo
from pymongo.errors import PyMongoError

from tests.servers.tied import tied

VARIABLE: Final = "DATASTORE_TEST_MONGO_URL"
"""Names another server for the tests, or the one that the workers of a parallel run share."""
_START_SECONDS = 60
_STOP_SECONDS = 30
_TRIES = 3
_NAME = "tests"
_CACHE_GIGABYTES = 0.5
_PARAMETERS = ("ttlMonitorEnabled=false", "diagnosticDataCollectionEnabled=false", "transactionLifetimeLimitSeconds=3")


@contextmanager
def mongod(cache_gigabytes: float = _CACHE_GIGABYTES) -> Iterator[str]:
    """Yield the URL of a server without a database; `database` names one."""
    if given := os.environ.get(VARIABLE):
        yield given
        return
    with own_mongod(cache_gigabytes=cache_gigabytes) as url:
        yield url


@contextmanager
def own_mongod(
    oplog_megabytes: int = 512, cache_gigabytes: float = _CACHE_GIGABYTES, parameters: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the URL of a server that nothing else talks to, for tests that disturb it."""
    with tempfile.TemporaryDirectory(prefix="datastore-mongod-") as folder:
        process, url = _start(Path(folder), oplog_megabytes, cache_gigabytes, parameters)
        stop = atexit.register(partial(stop_process, process))
        try:
            yield url
        finally:
            stop()
            atexit.unregister(stop)


@contextmanager
def standalone() -> Iterator[str]:
    """Yield the URL of a server of its own that is no replica set, without a database."""
    with tempfile.TemporaryDirectory(prefix="datastore-mongod-") as folder:
        port, data = free_port(), Path(folder) / "data"
        data.mkdir()
        process = launch(executable(Path(folder)), port, data)
        try:
            yield f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS={_START_SECONDS * 1000}"
        finally:
            stop_process(process)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """Yield the URL of a new database of a server, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    try:
        yield database(server, name)
    finally:
        with pymongo.MongoClient[dict[str, Any]](server) as client:
            client.drop_database(name)


def empty_database(url: str) -> None:
    """Remove every document of a database except that of the layout; indexes stay."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        for name in database.list_collection_names():
            if not name.endswith("_layout"):
                database[name].delete_many({})


def database(server: str, name: str) -> str:
    """Return a server's URL with a database's name in it; users stay those of the server's own database."""
    address, _, options = server.partition("?")
    scheme, _, rest = address.partition("://")
    hosts, _, own = rest.partition("/")
    if "@" in hosts and "authSource" not in options:
        options = f"{options}&authSource={own or 'admin'}".lstrip("&")
    return f"{scheme}://{hosts}/{name}?{options}"


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(
    folder: Path, oplog_megabytes: int, cache_gigabytes: float, parameters: Sequence[str]
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server; another process may take the port in between, so there are several tries."""
    binary = executable(folder)
    for attempt in range(_TRIES):
        port, data = free_port(), folder / f"data{attempt}"
        data.mkdir()
        own = [f"--setParameter={each}" for each in parameters]
        replicated = ("--replSet", _NAME, "--oplogSize", str(oplog_megabytes), *own)
        process = launch(binary, port, data, *replicated, cache_gigabytes=cache_gigabytes)
        try:
            _make_primary(port)
        except PyMongoError:
            stop_process(process)
            continue
        return process, f"mongodb://127.0.0.1:{port}/?replicaSet={_NAME}"
    raise RuntimeError("mongod does not start; its last words:\n" + _last_words(data))


def executable(folder: Path) -> Path:
    """Return mongod, executable: the wheel's own file where this user may run or mark it, else a copy."""
    found = Path(sysconfig.get_path("purelib")) / "fiftyone/db/bin/mongod"
    if not found.exists():
        raise RuntimeError(f"There is no mongod: install the extra `mongod`, or set {VARIABLE}.")
    if os.access(found, os.X_OK):
        return found
    try:
        found.chmod(0o755)
    except PermissionError:
        found = Path(shutil.copy(found, folder / "mongod"))
        found.chmod(0o755)
    return found


def launch(
    binary: Path, port: int, data: Path, *replicated: str, cache_gigabytes: float = _CACHE_GIGABYTES
) -> subprocess.Popen[bytes]:
    listen = ["--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    small = ["--wiredTigerCacheSizeGB", f"{cache_gigabytes:g}", "--syncdelay", "5", *replicated]
    parameters = [f"--setParameter={each}" for each in _PARAMETERS]
    with (data.parent / f"{data.name}.log").open("wb") as log:
        return subprocess.Popen(
            [*tied("KILL"), str(binary), "--dbpath", str(data), *listen, *small, *parameters],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _make_primary(port: int) -> None:
    """Make the one member a replica set; the driver itself waits, for the server first and for a primary then."""
    options = f"serverSelectionTimeoutMS={_START_SECONDS * 1000}"
    alone = f"mongodb://127.0.0.1:{port}/?directConnection=true&{options}"
    with pymongo.MongoClient[dict[str, Any]](alone) as client:
        member = {"_id": 0, "host": f"127.0.0.1:{port}"}
        client.admin.command("replSetInitiate", {"_id": _NAME, "members": [member]})
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?replicaSet={_NAME}&{options}") as client:
        client.admin.command("ping")


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Stop the server, by force where it takes too long."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(data: Path) -> str:
    return (data.parent / f"{data.name}.log").read_text(errors="replace")[-2000:]
