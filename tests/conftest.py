"""What every suite shares: a host's event loop, real servers for the session, and a fresh world per test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import packages_for_agents
from tests.servers.lending import Databases
from tests.servers.mongo import empty_database, fresh_database, mongod
from tests.servers.postgres import empty_postgres, fresh_postgres, postgres
from tests.world import BACKENDS, REAL, Loop, Servers, World, world

ROOT = Path(__file__).parent
LONG = (
    "contract/test_state_machine.py",
    "docs/test_pages.py",
    "docs/test_queue.py",
    "processes/test_concurrency.py",
    "docs/test_demo.py",
    "admin/test_archive.py",
    "contract/test_watch_processes.py",
    "sandbox/test_guest_state_machine.py",
    "admin/test_binary.py",
    "sandbox/test_run_limits.py",
    "mongo/test_failures.py",
)
"""The files that take longest, which their few tests do not show."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: several processes share the files, and no long one is to be left to the end."""
    tests = Counter(each.path for each in items)
    ranks = {ROOT / name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda each: (ranks.get(each.path, len(LONG)), -tests[each.path]))


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
    """Start a server only for those tests that talk to it."""
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
