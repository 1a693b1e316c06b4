"""Fixtures that all suites share: servers for a whole run, a host's event loop, and a fresh world per test."""

from __future__ import annotations

import gc
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lanes import pytest_collection_modifyitems, pytest_xdist_make_scheduler  # noqa: F401 - hooks
from tests.packages import packages_for_agents
from tests.servers.lending import Databases
from tests.servers.mongo import empty_database, fresh_database, mongod
from tests.servers.postgres import empty_postgres, fresh_postgres, postgres
from tests.servers.shared import shared_servers
from tests.world import BACKENDS, REAL, Loop, Servers, World, world

_SHARED = pytest.StashKey[ExitStack]()


def pytest_configure() -> None:
    """Let Ctrl-C reach the tests and what they start, also where a shell began them with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers of a parallel run, in the process that hands out its tests."""
    config = session.config
    hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if hands_out and not config.getoption("collectonly"):
        config.stash[_SHARED] = ExitStack()
        config.stash[_SHARED].enter_context(shared_servers())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers of a parallel run."""
    if (shared := config.stash.get(_SHARED, None)) is not None:
        shared.close()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a real MongoDB without a database; that it cannot start is an error."""
    with mongod() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL; that it cannot start is an error."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def server_of(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return the URL of an engine's server, by the engine's name."""
    fixtures = {"mongodb": "server", "postgresql": "postgres_server"}
    return lambda engine: str(request.getfixturevalue(fixtures[engine]))


@pytest.fixture
def forgetful_driver() -> Iterator[None]:
    """Let go of sockets here: PyMongo's async client drops one unclosed when it is closed while it connects."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def packages() -> Iterator[Path]:
    """A folder of packages for agents that holds numpy."""
    with packages_for_agents("numpy") as folder:
        yield folder


@pytest.fixture(scope="session")
def host_loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture(scope="session")
def mongo_databases(server: str) -> Iterator[Databases]:
    lending = Databases(server, fresh_database, empty_database)
    yield lending
    lending.close()


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: str) -> Iterator[Databases]:
    lending = Databases(postgres_server, fresh_postgres, empty_postgres)
    yield lending
    lending.close()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Return the databases of a server by URL scheme; in a run of one process, the server starts on first use."""
    fixtures = {"mongodb": "mongo_databases", "postgresql": "postgres_databases"}

    def databases(scheme: str) -> Databases:
        found: Databases = request.getfixturevalue(fixtures[scheme])
        return found

    return databases


@pytest.fixture(params=BACKENDS)
def the_world(request: pytest.FixtureRequest, host_loop: Loop, tmp_path: Path, servers: Servers) -> Iterator[World]:
    """A store on each backend in turn."""
    with world(host_loop, request.param, tmp_path, servers) as made:
        yield made


@pytest.fixture(params=REAL)
def large_world(request: pytest.FixtureRequest, host_loop: Loop, tmp_path: Path, servers: Servers) -> Iterator[World]:
    """A store on each real engine: for amounts that the mock, which scans all it holds for every key, cannot hold."""
    with world(host_loop, request.param, tmp_path, servers) as made:
        yield made
