"""A store that was built in bulk is as the store would have made it, and is asked as operators ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datastore import open_store, values
from datastore.document import Interest, Place
from datastore.errors import PastGone
from sandbox import connect
from tests.admin.words import environment, process
from tests.benchmarks import bench_scale, questions, records
from tests.benchmarks.figures import engine_of
from tests.benchmarks.questions import COMMAND_SECONDS, COMMANDS, VERBS, Answer
from tests.benchmarks.records import AGENT
from tests.benchmarks.scale import ARCHIVE, LARGE, RECORDS, Shape, build
from tests.servers.fresh import fresh
from tests.world import SEPARATE

SHAPE = Shape(2000)


@pytest.fixture(params=SEPARATE)
def built(request: pytest.FixtureRequest, tmp_path: Path, server_of: Callable[[str], str]) -> Iterator[str]:
    """The URL of a store that was built in bulk, on each engine in turn."""
    with fresh(engine_of(request.param), tmp_path, server_of) as url:
        build(request.param, url, SHAPE)
        yield url


@pytest.mark.slow
def test_a_store_built_in_bulk_is_what_was_meant(built: str) -> None:
    checked = process(["admin", "check"], environment(DATASTORE_URL=built))
    assert (checked.code, checked.err) == (0, f"datastore: looked at {SHAPE.records:,} records; nothing is wrong\n")
    with connect(built, user=LARGE, agent=AGENT) as large, connect(built, user="user-0000003", agent=AGENT) as small:
        assert large.usage()["keys"] == SHAPE.large_keys == 1000
        assert large.list_namespaces() == [ARCHIVE, "part-0000"]
        archive = large.use_namespace(ARCHIVE)
        assert archive.list_keys() == [records.key(number) for number in range(SHAPE.archived)]
        assert small.usage()["keys"] == 5
        assert (small.count(), small.use_namespace("notes").count()) == (3, 2)
        entry = small.get_entry(records.key(2))
        assert entry is not None
        assert (len(entry.value), entry.size_bytes) == (20, values.size(entry.value))
        assert (entry.created_at, entry.created_by_agent, entry.access_count) == (entry.updated_at, AGENT, 0)
    shown = process(["admin", "users"], environment(DATASTORE_URL=built))
    assert len(shown.lines) == 1 + SHAPE.users == 202


@pytest.mark.slow
async def test_changes_go_on_after_those_of_a_build(built: str) -> None:
    async with open_store(built) as store:
        before = await store.engine.head()
        with connect(store, user="alice", agent=AGENT) as data_store:
            await data_store.aio.set("k", 1)
        assert await store.engine.head() > before


@pytest.mark.slow
@pytest.mark.parametrize("built", ["sqlite", "postgresql"], indirect=True)
async def test_changes_of_a_build_are_as_after_garbage_collection(built: str) -> None:
    *_, (owner, namespace, many) = SHAPE.places()
    last = Interest(Place(owner, namespace))
    async with open_store(built) as store:
        assert await store.engine.head() == (SHAPE.records, 0)
        changes, _ = await store.engine.past(last, (SHAPE.records - 1, 0), 10)
        assert [(each.key, each.position) for each in changes] == [(records.key(many - 1), (SHAPE.records, 0))]
        with pytest.raises(PastGone):
            await store.engine.past(last, (SHAPE.records - 2, 0), 10)


def test_the_whole_shape_is_two_million_records() -> None:
    shape = Shape(RECORDS)
    assert sum(many for _, _, many in shape.places()) == RECORDS == 2_000_000
    assert (shape.large_keys, shape.namespaces + 1, shape.archived) == (1_000_000, 1001, 500_000)
    assert shape.users == 200_001


@pytest.mark.slow
def test_a_small_scale_run_answers_every_question(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    assert bench_scale.main(["--only", "sqlite", "--records", "2000", "--json", str(file)]) == 0
    answers = json.loads(file.read_text(encoding="utf-8"))["answers"]
    asked = [" ".join(("datastore admin", *words)) for words in COMMANDS]
    assert [each["question"] for each in answers][1:] == [*asked, *VERBS]
    assert all(each["seconds"] > 0 and each["error"] is None for each in answers)


def test_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    answer = questions.command("sqlite", f"sqlite:///{tmp_path / 'store.db'}", tmp_path, ("users",), 2, 0.001)
    assert (answer.seconds, answer.error) == (None, None)
    assert str(answer).endswith(" more than 0.001 s  at most 2 s  MISSED")


def test_a_command_that_fails_says_how(tmp_path: Path) -> None:
    answer = questions.command("sqlite", f"sqlite:///{tmp_path}", tmp_path, ("users",), 2)
    assert answer.seconds is None
    assert "failed: exit code 2 after" in str(answer)
    assert "is not a file" in str(answer)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer("sqlite", "users", 1.5, 2), "1.50 s  at most 2 s"),
        (Answer("sqlite", "users", 2.5, 2), "2.50 s  at most 2 s  MISSED"),
        (Answer("sqlite", "users", None, 2), f"more than {COMMAND_SECONDS:g} s  at most 2 s  MISSED"),
        (Answer("sqlite", "users", None, None), f"more than {COMMAND_SECONDS:g} s"),
        (Answer("sqlite", "users", None, limit_seconds=0.5), "more than 0.5 s"),
        (Answer("sqlite", "users", None, 2, "exit code 3"), "failed: exit code 3"),
    ],
)
def test_an_answer_says_how_long_it_took(answer: Answer, shown: str) -> None:
    assert str(answer).endswith(f" {shown}")
