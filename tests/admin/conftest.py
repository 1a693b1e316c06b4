"""A store in a file, an agent's hand on it, and the command."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admin.cli.main import main
from datastore import open_store
from datastore.models import operator_scope
from datastore.operations import Apply, Put
from sandbox import ConnectedDataStore, connect
from tests.admin.words import Ended, environment
from tests.servers.postgres import fresh_postgres
from tests.world import Servers

Command = Callable[..., Ended]


@pytest.fixture(params=["sqlite", "postgresql", "mongodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[str]:
    """The URL of an empty store, on each engine in turn; `fresh postgresql`: one whose tables may be changed."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    if request.param == "fresh postgresql":
        with fresh_postgres(request.getfixturevalue("postgres_server")) as fresh:
            yield fresh
        return
    with servers(request.param).lent() as empty:
        yield empty


@pytest.fixture
def env(url: str) -> dict[str, str]:
    return environment(DATASTORE_URL=url)


@pytest.fixture
def alice(url: str) -> Iterator[ConnectedDataStore]:
    """What the agent `writer` of the user alice sees."""
    with connect(url, user="alice", agent="writer") as data_store:
        yield data_store


@pytest.fixture
async def team(url: str) -> None:
    """A space that holds one entry."""
    async with open_store(url) as store:
        put = Apply(namespace="plans", mutations=(Put(key="next", value="rest"),))
        await store.execute(operator_scope("@team", "someone"), put)


@pytest.fixture
def datastore(url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, in this process and on this test's store; no terminal anywhere."""
    monkeypatch.setenv("DATASTORE_URL", url)

    def call(*arguments: str, stdin: bytes = b"") -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
        return Ended(code, *capfd.readouterr())

    return call
