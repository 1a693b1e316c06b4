"""Fixtures that all suites share: servers for a whole run, a host's event loop, and a fresh world per test.

Tests are marked by what they cost. Unmarked ones are `make test`; those marked `slow` are `make test-slow`, of which
those marked `alone` run one after the other, since they fill the machine; those marked `nightly` are `make nightly`.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.packages import packages_for_agents
from tests.servers.lending import Databases
from tests.servers.mongo import empty_database, fresh_database, mongod
from tests.servers.postgres import empty_postgres, fresh_postgres, postgres
from tests.servers.shared import shared_servers
from tests.world import BACKENDS, REAL, Loop, Servers, World, world

ROOT = Path(__file__).parent
LONGEST = (
    "attacks/test_attacks.py",
    "docs/test_pages.py",
    "contract/test_state_machine.py",
    "docs/test_demo.py",
    "docs/test_queue.py",
    "processes/test_concurrency.py",
    "processes/test_quotas.py",
    "admin/test_run.py",
    "admin/test_archive.py",
)
"""The files that take longest, started first; the number of their tests does not show it."""
ON_ONE_ENGINE = (
    "admin/test_binary.py",
    "admin/test_delete.py",
    "admin/test_doctor.py",
    "admin/test_failures.py",
    "admin/test_run.py",
    "admin/test_terminal.py",
)
"""Files whose tests start a command each, on SQLite in `make test` and on the other engines in `make test-slow`."""
SPLIT = (
    "admin/test_archive.py",
    "admin/test_run.py",
    "admin/test_terminal.py",
    "contract/test_many.py",
    "contract/test_state_machine.py",
    "docs/test_cross_agent.py",
    "docs/test_pages.py",
    "docs/test_queue.py",
    "sandbox/test_remedies.py",
)
"""Files whose long tests share nothing, so that processes take single tests. Other files go to one as a whole."""

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: several processes share the tests, and no long one is to be left to the end."""
    tests = Counter(each.path for each in items)
    ranks = {ROOT / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda each: (ranks.get(each.path, len(LONGEST)), -tests[each.path]))
    on_one = {ROOT / name for name in ON_ONE_ENGINE}
    for each in items:
        if each.path in on_one and not {"postgresql", "mongodb"}.isdisjoint(_parameters(each)):
            each.add_marker(pytest.mark.slow)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, and single tests of files that are `SPLIT`."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.removeprefix("tests/") in SPLIT else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Hand out the tests of a parallel run."""
    return Scheduling(config, log)


def _parameters(item: pytest.Item) -> list[object]:
    call = getattr(item, "callspec", None)
    return [] if call is None else [each for each in call.params.values() if isinstance(each, str)]


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
