"""Nothing is lost between processes: hosts of one store that know nothing of each other."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import ConnectedDataStore, connect
from tests.processes.worker import COUNTERS, INCREMENTS, JOBS, LINES, TRANSFERS, TURNS
from tests.world import SEPARATE, Servers, address

pytestmark = pytest.mark.slow

WAIT_SECONDS = 240
MOST = 16
Worker = subprocess.Popen[str]


class Crew:
    """Worker processes, which work on any database; each test has a user of its own."""

    def __init__(self) -> None:
        self.url = ""
        self._workers = [_start(f"w{turn}") for turn in range(MOST)]

    def begin(self, user: str, roles: list[tuple[str, ...]], after: int = 0) -> list[Worker]:
        """Give each worker its role, and let them all go when the last is ready; the first `after` are at work."""
        workers = self._workers[after : after + len(roles)]
        for worker, role in zip(workers, roles, strict=True):
            say(worker, json.dumps([self.url, user, *role]))
        assert [hear(worker) for worker in workers] == ["ready"] * len(workers)
        for worker in workers:
            say(worker, "go")
        return workers

    def work(self, user: str, roles: list[tuple[str, ...]]) -> list[Any]:
        """Return what came of each role."""
        return [json.loads(hear(worker)) for worker in self.begin(user, roles)]

    def replace(self) -> None:
        """Start others in the place of those that were killed."""
        for turn, worker in enumerate(self._workers):
            if worker.poll() is not None:
                _end(worker, -signal.SIGKILL)
                self._workers[turn] = _start(f"w{turn}")

    def end(self) -> None:
        """Let every worker end, well and silently."""
        for worker in self._workers:
            _end(worker, 0)


def _start(name: str) -> Worker:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.processes.worker", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(worker: Worker, code: int) -> None:
    _, errors = worker.communicate(timeout=WAIT_SECONDS)
    assert (worker.returncode, errors) == (code, "")


def say(worker: Worker, line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def hear(worker: Worker) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().rstrip("\n")


def has_spoken(worker: Worker) -> bool:
    assert worker.stdout is not None
    return bool(select.select([worker.stdout.fileno()], [], [], 0)[0])


@pytest.fixture(scope="module")
def workers() -> Iterator[Crew]:
    made = Crew()
    yield made
    made.replace()
    made.end()


@pytest.fixture(params=SEPARATE)
def crew(request: pytest.FixtureRequest, workers: Crew, tmp_path: Path, servers: Servers) -> Iterator[Crew]:
    """Workers on an empty database of each engine that several processes can open."""
    workers.replace()
    with address(request.param, tmp_path, servers) as workers.url:
        yield workers


@pytest.fixture
def user() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def store(crew: Crew, user: str) -> Iterator[ConnectedDataStore]:
    with connect(crew.url, user=user, agent="reader") as connected:
        yield connected


@pytest.mark.parametrize("by", [1, 0.5])
def test_eight_that_add_two_hundred_times_to_a_new_key_end_at_exactly_all_of_it(
    crew: Crew, user: str, store: ConnectedDataStore, by: float
) -> None:
    numbers = [number for told in crew.work(user, [("count", str(by))] * 8) for number in told]
    assert store.get("n") == 8 * INCREMENTS * by
    assert sorted(numbers) == [by * (turn + 1) for turn in range(8 * INCREMENTS)]


def test_sixteen_that_claim_five_hundred_jobs_claim_each_once(crew: Crew, user: str, store: ConnectedDataStore) -> None:
    wins = crew.work(user, [("claim",)] * MOST)
    assert Counter(job for each in wins for job in each) == dict.fromkeys(range(JOBS), 1)
    held = store.get_all("job:")
    assert {f"job:{job:03}": f"w{turn}" for turn, each in enumerate(wins) for job in each} == held


def test_eight_that_append_to_one_list_lose_nothing(crew: Crew, user: str, store: ConnectedDataStore) -> None:
    crew.work(user, [("append",)] * 8)
    lines = store.get("log")
    assert sorted(lines) == sorted(f"w{turn}:{number}" for turn in range(8) for number in range(LINES))
    for turn in range(8):
        assert [line for line in lines if line.startswith(f"w{turn}:")] == [f"w{turn}:{n}" for n in range(LINES)]


def test_of_eight_that_write_over_one_version_one_does(crew: Crew, user: str, store: ConnectedDataStore) -> None:
    version = store.set("k", "first")
    told = crew.work(user, [("overwrite", version)] * 8)
    assert sum(told) == 1
    assert store.get("k") == f"w{told.index(True)}"


def test_transfers_keep_their_sum_at_every_moment_although_one_is_killed_within(
    crew: Crew, user: str, store: ConnectedDataStore
) -> None:
    store.set_many(dict.fromkeys(COUNTERS, 100))
    *others, dying = crew.begin(user, [*([("transfer",)] * 7), ("die",)])
    looks, told = 0, ""
    while not told:
        assert sum(store.get_many(COUNTERS).values()) == 1000
        looks += 1
        told = hear(others[0]) if has_spoken(others[0]) else ""
    assert dying.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert [json.loads(told), *(json.loads(hear(each)) for each in others[1:])] == [TRANSFERS] * 7
    assert sum(store.get_all("counter:").values()) == 1000
    assert looks > 1


def test_under_one_lock_eight_never_overlap_although_one_is_killed_and_one_stopped_in_it(
    crew: Crew, user: str, store: ConnectedDataStore
) -> None:
    (stalled,) = crew.begin(user, [("stall",)])
    assert hear(stalled) == "claimed"
    *others, dying = crew.begin(user, [*([("guard",)] * 6), ("die_holding",)], after=1)
    first = json.loads(hear(others[0]))
    stalled.send_signal(signal.SIGCONT)
    told = [first, *(json.loads(hear(each)) for each in others[1:]), json.loads(hear(stalled))]
    assert dying.wait(WAIT_SECONDS) == -signal.SIGKILL
    turns = store.get("turns")
    tokens = [token for _, token in turns]
    assert tokens == sorted(set(tokens))
    assert sorted(tokens) == sorted(token for each in told for token in each)
    assert len(tokens) == 7 * TURNS
    # The one who was stopped gave a token up, and the one who was killed had one, which may have been the last of all.
    assert tokens[-1] - len(tokens) in (1, 2)
