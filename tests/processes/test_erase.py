"""An erasure while another host writes for the user: nothing is left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from admin.cli.failures import ExitCode
from datastore import open_store
from datastore.document import Place, Span, moment
from datastore.entry import Entry
from datastore.ports import Traces
from sandbox import connect
from tests.admin.words import Ended, environment, process
from tests.world import SEPARATE, Servers, address

pytestmark = pytest.mark.slow

WAIT_SECONDS = 120
USER = "alice"
ERASE = ("admin", "erase", "--user", USER, "--yes", "--json")


@pytest.fixture(params=SEPARATE)
def url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[str]:
    with address(request.param, tmp_path, servers) as made:
        yield made


@contextmanager
def intruder(url: str) -> Iterator[subprocess.Popen[str]]:
    """A host at work for the user, killed at the end if it has not ended."""
    command = [sys.executable, "-W", "error", "-m", "tests.processes.intruder", url, USER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def said(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def erased(url: str) -> Ended:
    """Run the command with a short deadline for its writes; where the machine was too busy for that, again."""
    env = environment(DATASTORE_URL=url, DATASTORE_OPERATION_TIMEOUT_SECONDS="1")
    while (ended := process(ERASE, env)).code == ExitCode.UNAVAILABLE:
        pass
    return ended


def left(url: str) -> tuple[Traces, list[Entry]]:
    """What there is of the user, and the entries of the space."""

    async def look() -> tuple[Traces, list[Entry]]:
        async with open_store(url) as store:
            team, now = Place("@team", "default"), moment(store.clock.now())
            return await store.engine.traces(USER), (await store.engine.scan(team, Span(), now))[0]

    return asyncio.run(look())


def test_whoever_writes_on_while_its_user_is_erased_leaves_nothing_behind(url: str) -> None:
    with connect(url, user="bob", agent="writer") as bob:
        bob.set("k", "bob's")
    with intruder(url) as running:
        assert said(running) == "writing"
        ended = erased(url)
        assert said(running) == "refused"
        found, team = left(url)
        assert running.communicate(timeout=WAIT_SECONDS)[0] == "0\n"
    assert ended.code == 0, ended.err
    assert found == Traces(0, 0, 0, 0, 0)
    assert left(url) == (found, team)
    names = {ended.objects[0]["receipt"]["pseudonym"]}
    assert {each.created_by_user for each in team} == {each.updated_by_user for each in team} == names
    with connect(url, user="bob", agent="writer") as bob:
        assert bob.get_all() == {"k": "bob's"}
