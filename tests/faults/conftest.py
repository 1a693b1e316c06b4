"""Empty databases of the engine that a test is about, and a replica set for those that break one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import nemesis
from tests.faults.nemesis import Breakable
from tests.world import Loop, Servers, address


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[str]:
    """The URL of an empty database of the test's engine."""
    with address(request.getfixturevalue("engine"), tmp_path, servers) as made:
        yield made


@pytest.fixture(scope="module")
def replica_set(host_loop: Loop) -> Iterator[Breakable]:
    """A replica set that one test after the other may break."""
    with nemesis.mongodb(host_loop) as made:
        yield made
