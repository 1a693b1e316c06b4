"""No quota is passed by processes that know nothing of each other, nor kept by one that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import ConnectedDataStore, connect
from tests.world import SEPARATE, Servers, address

pytestmark = pytest.mark.slow

WAIT_SECONDS = 120
MOST = 8
TRIALS = 20
PATIENT = {"DATASTORE_OPERATION_TIMEOUT_SECONDS": "60", "DATASTORE_CONNECT_TIMEOUT_SECONDS": "60"}
Worker = subprocess.Popen[str]


def start(name: str, **settings: str) -> Worker:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.processes.writer", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
    )


def ask(worker: Worker, role: str, namespace: str, size: int = 40) -> None:
    say(worker, json.dumps([role, namespace, size]))


def say(worker: Worker, line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def hear(worker: Worker) -> Any:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    assert line, worker.communicate()[1]
    return json.loads(line)


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    """Processes that work on every engine in turn, until the last test is done."""
    started = [start(f"w{number}", **PATIENT) for number in range(MOST)]
    yield started
    for each in started:
        _, errors = each.communicate(timeout=WAIT_SECONDS)
        assert (each.returncode, errors) == (0, "")


@pytest.fixture(scope="module", params=SEPARATE)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[str]:
    """A fresh database of each engine."""
    with address(request.param, tmp_path_factory.mktemp("quotas"), servers) as url:
        yield url


@pytest.fixture(scope="module")
def crew(place: str, workers: list[Worker]) -> Iterator[list[Worker]]:
    """All processes, each on the fresh database."""
    assert all_of(workers, "open", place) == ["ready"] * MOST
    yield workers
    assert all_of(workers, "close", place) == ["closed"] * MOST


@pytest.fixture(scope="module")
def reader(place: str) -> Iterator[ConnectedDataStore]:
    with connect(place, user="alice", agent="reader") as connected:
        yield connected


def all_of(crew: list[Worker], role: str, namespace: str, size: int = 40) -> list[Any]:
    """Let all do the same at the same time; return what came of each."""
    for each in crew:
        ask(each, role, namespace, size)
    return [hear(each) for each in crew]


def held(reader: ConnectedDataStore, namespace: str) -> int:
    return sum(len(each) for each in reader.use_namespace(namespace).get_all().values())


def test_eight_that_write_40_bytes_where_100_fit_end_with_80_every_time(
    crew: list[Worker], reader: ConnectedDataStore
) -> None:
    for trial in range(TRIALS):
        namespace = f"trial {trial}"
        wrote = all_of(crew, "write", namespace)
        assert (sum(wrote), held(reader, namespace)) == (2, 80), f"trial {trial}"
        first = crew[wrote.index(True)]
        ask(first, "expire", namespace)
        assert hear(first)
        others = [each for each, did in zip(crew, wrote, strict=True) if not did]
        assert sum(all_of(others, "write", namespace)) == 1
        assert held(reader, namespace) == 80


def test_eight_that_write_until_a_thousand_keys_are_there_stop_at_exactly_a_thousand(
    crew: list[Worker], reader: ConnectedDataStore
) -> None:
    written = all_of(crew, "fill", "many", 0)
    assert sum(written) == 1000
    assert reader.use_namespace("many").count() == 1000


def test_a_process_that_is_killed_between_the_steps_gives_the_room_back(
    place: str, crew: list[Worker], reader: ConnectedDataStore
) -> None:
    dying = start("dying")
    ask(dying, "open", place)
    assert hear(dying) == "ready"
    ask(dying, "write", "killed", 10)
    assert hear(dying)
    ask(dying, "die", "killed", 40)
    assert dying.wait(WAIT_SECONDS) == -signal.SIGKILL
    dying.communicate()
    ask(crew[0], "write", "killed", 90)
    assert hear(crew[0])
    assert held(reader, "killed") == 100


@pytest.mark.parametrize("place", ["motor"], indirect=True)
def test_room_is_taken_from_its_reservation_on(crew: list[Worker], reader: ConnectedDataStore) -> None:
    one, other, third, small, *_ = crew
    for each in (one, other):
        ask(each, "hold", "held")
        assert hear(each) == "reserved"
    assert held(reader, "held") == 0
    ask(small, "write", "held", 20)
    assert hear(small)
    assert held(reader, "held") == 20
    ask(third, "write", "held")
    for each in (one, other):
        say(each, "go")
        assert hear(each)
    assert not hear(third)
    assert held(reader, "held") == 100
