"""The queue of the patterns finishes and counts each job once: workers race, are killed half-way, and come too late.

Every worker is a process. What has to come first is waited for by a worker's word or by its end; a lease alone ends by
the clock, and that is waited for by the other workers, never by a test.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import ConnectedDataStore, connect
from tests.docs.worker import SETTINGS, agent
from tests.world import SEPARATE, Servers, address

pytestmark = pytest.mark.slow

SOON = 5
"""Seconds of a lease that ends within the test."""
NEVER = 3600
"""Seconds of a lease, and of a wait, that outlive every worker."""


class Worker:
    """A process that works through the queue once it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._stdin, self._stdout = process, process.stdin, process.stdout
        assert self._word() == "ready"

    def next_job(self) -> str:
        """Let it begin, or finish the job that it holds; return the next one when it holds that."""
        self._tell()
        return str(self._word()["working"])

    def go_on(self) -> None:
        """Let it do all the rest without being told."""
        self._tell()
        self._stdin.close()

    def end(self) -> tuple[list[str], dict[str, int]]:
        """Return, when it has ended, what it has worked on since it was let go, and its result."""
        *jobs, result = map(json.loads, self._stdout)
        return [each["working"] for each in jobs], result

    def _tell(self) -> None:
        self._stdin.write("\n")
        self._stdin.flush()

    def _word(self) -> Any:
        return json.loads(self._stdout.readline())


@contextmanager
def worker(url: str, lease_seconds: int) -> Iterator[Worker]:
    command = [sys.executable, "-m", "tests.docs.worker", url, str(lease_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@pytest.fixture(params=SEPARATE)
def url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[str]:
    with address(request.param, tmp_path, servers) as fresh:
        yield fresh


@pytest.fixture
def jobs(url: str) -> Iterator[ConnectedDataStore]:
    with connect(url, user="alice", agent="tests", settings=SETTINGS) as data_store:
        yield data_store.use_namespace("jobs")


def put(jobs: ConnectedDataStore, *names: str) -> int:
    """Put jobs by the example; return how many it put."""
    answer = agent("queue_put", jobs)["run"]({"jobs": {name: f"job {name}" for name in names}}, {})
    return int(answer["put"])


def numbered(count: int) -> list[str]:
    return [f"{number:03}" for number in range(count)]


def all_is_done_once(jobs: ConnectedDataStore, names: list[str], finishes: Iterator[Any]) -> None:
    """Check the results, the count, that nothing is left, and by the changes that no job was finished twice."""
    assert jobs.get_all("done:") == {f"done:{name}": f"job {name} is done" for name in names}
    assert jobs.get("finished") == len(names)
    assert jobs.count("todo:") == 0
    assert sorted(each.key for each in finishes) == [f"done:{name}" for name in names]


def test_workers_that_race_claim_each_job_once(url: str, jobs: ConnectedDataStore) -> None:
    names = numbered(60)
    assert put(jobs, *names) == 60
    finishes = jobs.watch("done:", timeout_seconds=1)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(url, NEVER)) for _ in range(4)]
        for each in workers:
            each.go_on()
        ends = [each.end() for each in workers]
    assert sorted(job for worked, _ in ends for job in worked) == [f"job {name}" for name in names]
    assert [len(worked) for worked, _ in ends] == [result["finished"] for _, result in ends]
    assert jobs.count("lease:") == 0
    all_is_done_once(jobs, names, finishes)


def test_the_jobs_of_two_workers_killed_half_way_are_given_back_and_finished_once(
    url: str, jobs: ConnectedDataStore
) -> None:
    names = numbered(12)
    put(jobs, *names)
    finishes = jobs.watch("done:", timeout_seconds=1)
    with worker(url, SOON) as one, worker(url, SOON) as other:
        held = [(one.next_job(), other.next_job()) for _ in range(3)][-1]
        for each in (one, other):
            each.process.kill()
            assert each.process.wait() == -signal.SIGKILL
    assert len(set(held)) == 2
    finished = jobs.get("finished")
    assert finished == 4
    with worker(url, SOON) as third, worker(url, SOON) as fourth:
        third.go_on()
        fourth.go_on()
        ends = [third.end(), fourth.end()]
    assert set(held) <= {job for worked, _ in ends for job in worked}
    assert sum(result["finished"] for _, result in ends) == len(names) - finished
    all_is_done_once(jobs, names, finishes)


def test_a_worker_who_stalls_beyond_its_lease_finishes_nothing_that_another_has_taken(
    url: str, jobs: ConnectedDataStore
) -> None:
    names = numbered(3)
    put(jobs, *names)
    finishes = jobs.watch("done:", timeout_seconds=1)
    with worker(url, SOON) as late, worker(url, SOON) as other:
        stalled = late.next_job()
        other.go_on()
        worked, result = other.end()
        assert stalled in worked
        assert result == {"finished": 3, "in_all": 3}
        late.go_on()
        assert late.end() == ([], {"finished": 0, "in_all": 3})
    all_is_done_once(jobs, names, finishes)


def test_a_worker_who_stalls_finishes_nothing_that_another_holds(url: str, jobs: ConnectedDataStore) -> None:
    put(jobs, "a")
    with worker(url, SOON) as late, worker(url, SOON) as other:
        assert late.next_job() == "job a"
        assert other.next_job() == "job a"
        put(jobs, "b")
        finishes = jobs.watch("done:", timeout_seconds=1)
        assert late.next_job() == "job b"
        assert jobs.get_all("done:") == {}
        assert jobs.get("finished", 0) == 0
        other.go_on()
        late.go_on()
        assert [late.end()[1]["finished"], other.end()[1]["finished"]] == [1, 1]
    all_is_done_once(jobs, ["a", "b"], finishes)


def test_a_worker_waits_for_a_change_and_not_for_the_clock(url: str, jobs: ConnectedDataStore) -> None:
    put(jobs, "a")
    with worker(url, NEVER) as one, worker(url, NEVER) as waits:
        assert one.next_job() == "job a"
        waits._tell()
        put(jobs, "b")
        assert waits._word() == {"working": "job b"}
        waits.go_on()
        one.go_on()
        assert one.end()[1]["finished"] == 1
        assert waits.end() == ([], {"finished": 1, "in_all": 2})


def test_a_job_is_put_once_also_when_it_is_finished(url: str, jobs: ConnectedDataStore) -> None:
    assert [put(jobs, "a", "b"), put(jobs, "b", "c")] == [2, 1]
    with worker(url, NEVER) as one:
        one.go_on()
        one.end()
    assert put(jobs, "a", "b", "c", "d") == 1
    assert jobs.list_keys("todo:") == ["todo:d"]
