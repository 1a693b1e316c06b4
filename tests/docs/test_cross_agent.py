"""The agents of docs/cross-agent.md work together in whatever order they start, and failures reach who waits.

One page, so longer than most files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Grant, open_store
from datastore.document import Interest, Place
from sandbox import RunLimits, RunResult, Sandbox
from tests.docs.pages import ROOT, blocks
from tests.docs.together import AGENTS, USER, Agent, Together
from tests.uids import RUN_AS
from tests.world import Servers, address

TEXTS: Final = ["one two", "three", "four five six", "seven"]
FILES: Final = {"loop.py": "class Loop: the loop", "empty.py": ""}


IN_EACH_ORDER: Final = pytest.mark.parametrize("together", ["sqlite"], indirect=True)
"""Many runs, so on the fastest engine alone."""


@pytest.fixture(params=("sqlite", "motor"))
async def together(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> AsyncIterator[Together]:
    with address(request.param, tmp_path, servers) as url:
        async with open_store(url) as store, Sandbox(store, run_as=RUN_AS) as sandbox:
            yield Together(store, sandbox)


def output(result: RunResult) -> Any:
    assert result.outcome == "done", result.traceback
    return result.output


def error(result: RunResult) -> str:
    assert result.outcome == "raised", result
    return str(result.error)


async def in_each_order(together: Together, agents: Callable[[str], list[Agent]]) -> AsyncIterator[list[RunResult]]:
    """Give the results, in the order of the list, of a fresh set of agents for each order to start them in."""
    count = len(agents(""))
    for order in permutations(range(count)):
        fresh = agents("".join(map(str, order)))
        results = await together.in_order(*(fresh[place] for place in order))
        yield [results[order.index(place)] for place in range(count)]
    yield await together.at_once(*agents("once"))


def test_the_page_shows_every_agent_as_it_is() -> None:
    shown = {
        name: block.text
        for block in blocks(ROOT / "docs" / "cross-agent.md")
        if (name := block.option("file")) is not None
    }
    assert shown == {file.name: file.read_text(encoding="utf-8") for file in AGENTS.glob("*.py")}


# Producer and consumer, and a pipeline between them.


def feeds(job: str, readings: list[str]) -> list[Agent]:
    return [
        Agent("produce", {"feed": f"celsius{job}", "readings": readings}),
        Agent("convert", {"from": f"celsius{job}", "to": f"fahrenheit{job}"}),
        Agent("consume", {"feed": f"fahrenheit{job}"}),
    ]


@IN_EACH_ORDER
async def test_a_pipeline_gives_its_sum_in_whatever_order_its_stages_start(together: Together) -> None:
    async for results in in_each_order(together, lambda job: feeds(job, ["10", "20.5"])):
        assert [output(each) for each in results] == [{"written": 2}, {"converted": 2}, {"items": 2, "sum": 118.9}]


@IN_EACH_ORDER
async def test_what_fails_in_a_producer_is_told_at_the_end_of_the_pipeline(together: Together) -> None:
    async for results in in_each_order(together, lambda job: feeds(job, ["10", "warm", "20"])):
        said = "produce: ValueError: could not convert string to float: 'warm'"
        assert [error(results[0]), error(results[2])] == [said.removeprefix("produce: "), f"RuntimeError: {said}"]
        assert output(results[1]) == {"converted": 1}


async def test_what_fails_in_a_stage_is_told_behind_it(together: Together) -> None:
    await together.see('data_store.use_namespace("feed:celsius").set("item:000001", {"value": "hot"})')
    _, convert, consume = feeds("", [])
    results = await together.in_order(consume, convert)
    assert error(results[0]).startswith("RuntimeError: convert: TypeError: can't multiply")
    assert error(results[1]).startswith("TypeError: can't multiply")


async def test_a_consumer_goes_on_where_the_one_before_was_killed(together: Together) -> None:
    output(await together.run("produce", feed="f", readings=["1", "2", "4"]))
    [killed] = await together.at_once(Agent("consume", {"feed": "f"}, RunLimits(calls=4)))
    assert killed.outcome == "limit"
    rest = await together.run("consume", feed="f")
    assert output(rest) == {"items": 3, "sum": 7.0}
    assert len([each for each in rest.operations if "item:" in each.keys]) == 3


# Fan-out and collect.


def job(name: str, texts: list[Any] | None) -> list[Agent]:
    given = {"job": name}
    return [Agent("plan", {**given, "texts": texts}), Agent("work", given), Agent("collect", given)]


@IN_EACH_ORDER
async def test_a_job_is_planned_done_and_collected_in_whatever_order(together: Together) -> None:
    async for results in in_each_order(together, lambda name: job(name, TEXTS)):
        assert [output(each) for each in results] == [{"parts": 4}, {"done": 4}, {"words": 7}]


async def test_workers_at_once_do_every_part_once(together: Together) -> None:
    plan, work, collect = job("j", TEXTS)
    collected, *workers, planned = await together.at_once(collect, work, work, work, plan)
    assert (output(planned), output(collected)) == ({"parts": 4}, {"words": 7})
    assert sum(output(worker)["done"] for worker in workers) == 4
    took = [each.keys for worker in workers for each in worker.operations if each.keys.startswith("part:")]
    assert sorted(took) == [f"part:{number}" for number in range(4)]


async def test_the_first_part_that_fails_reaches_the_collector(together: Together) -> None:
    _, _, collected = await together.at_once(*job("j", ["one two", 3]))
    assert error(collected) == "RuntimeError: done:1: work: AttributeError: 'int' object has no attribute 'split'"


@IN_EACH_ORDER
async def test_a_plan_that_fails_reaches_all_who_wait_for_it(together: Together) -> None:
    async for planned, *others in in_each_order(together, lambda name: job(name, None)):
        said = "TypeError: 'NoneType' object is not iterable"
        assert error(planned) == said
        assert {error(each) for each in others} == {f"RuntimeError: plan: {said}"}


async def test_a_job_without_parts_is_done_at_once(together: Together) -> None:
    assert [output(each) for each in await together.at_once(*job("j", []))] == [{"parts": 0}, {"done": 0}, {"words": 0}]


async def test_another_worker_does_the_part_of_one_that_was_killed(together: Together) -> None:
    plan, work, collect = job("j", TEXTS)
    output(await together.run(plan.name, **plan.given))
    [killed] = await together.at_once(Agent(work.name, work.given, RunLimits(calls=7)))  # With its first part locked.
    assert killed.outcome == "limit"
    assert await together.see('data_store.use_namespace("job:j").list_keys("done:")') == []
    done, collected = await together.at_once(work, collect)
    assert (output(done), output(collected)) == ({"done": 4}, {"words": 7})


# Repository ingestion and search.


def commit(name: str, files: dict[str, str], repo: str = "r") -> list[Agent]:
    given = {"repo": repo, "commit": name}
    return [
        Agent("take_in", {**given, "files": files}),
        Agent("keep_index", given),
        Agent("find", {**given, "word": "Loop"}),
    ]


@IN_EACH_ORDER
async def test_a_search_finds_a_commit_in_whatever_order_the_agents_start(together: Together) -> None:
    async for taken, kept, found in in_each_order(together, lambda order: commit("c1", FILES, f"r{order}")):
        assert [output(taken), output(kept), output(found)] == [{"files": 2}, {"read": 2}, {"loop.py": 2}]


async def test_an_index_reads_only_what_a_commit_changed_and_forgets_what_is_gone(together: Together) -> None:
    await together.in_order(*commit("c1", {**FILES, "old.py": "loop"}))
    taken, kept, found = await together.at_once(*commit("c2", {**FILES, "new.py": "a loop, a loop"}))
    assert [output(taken), output(kept)] == [{"files": 3}, {"read": 1}]
    assert output(found) == {"loop.py": 2, "new.py": 2}
    assert [output(each) for each in await together.at_once(*commit("c2", FILES)[1:])] == [{"read": 0}, output(found)]


async def test_commits_taken_in_and_indexed_at_once_leave_the_index_of_the_last(together: Together) -> None:
    both = [*commit("c1", FILES), *commit("c2", {"loop.py": "loop"})]
    results = await together.at_once(*both)
    assert [output(each) for each in results[::3]] == [{"files": 2}, {"files": 1}]
    stored = await together.see('data_store.use_namespace("files:r").get_all("file:")')
    indexed = await together.see('data_store.use_namespace("index:r").get_all("file:")')
    assert set(indexed) == set(stored)
    assert indexed["file:loop.py"] == {"class": 1, "loop": 2, "the": 1} if len(stored) == 2 else {"loop": 1}


async def test_an_index_begins_anew_where_the_changes_since_its_cursor_are_gone(together: Together) -> None:
    await together.in_order(*commit("c1", {**FILES, "old.py": "loop"}))
    seal = together.store._watching._seal
    assert seal is not None
    beyond = seal.close(Interest(Place(USER, "files:r")), (2**63 - 1, 0))
    await together.see(f'data_store.use_namespace("index:r").set("cursor", {beyond!r})')
    _, kept, found = await together.in_order(*commit("c2", FILES))
    assert (output(kept), output(found)) == ({"read": 2}, {"loop.py": 2})


@IN_EACH_ORDER
async def test_what_fails_at_taking_in_reaches_the_search(together: Together) -> None:
    files = {"x" * 1100: "loop"}
    async for taken, kept, found in in_each_order(together, lambda order: commit("c1", files, f"r{order}")):
        assert error(taken).startswith("InvalidName: key")
        assert error(kept).startswith("RuntimeError: take_in: InvalidName: key")
        assert error(found).startswith("RuntimeError: keep_index: RuntimeError: take_in: InvalidName: key")


# Hand-off.


def ticket(name: str, text: str | None) -> list[Agent]:
    return [
        Agent("triage", {"ticket": name, "text": text}),
        Agent("desk", {"ticket": name, "desk": "refunds", "next": "archive"}),
        Agent("desk", {"ticket": name, "desk": "archive", "next": "nobody"}),
    ]


@IN_EACH_ORDER
async def test_a_ticket_goes_from_desk_to_desk_in_whatever_order_they_start(together: Together) -> None:
    async for triage, *desks in in_each_order(together, lambda name: ticket(f"T{name}", "Refund order 12!")):
        assert output(triage) == {"at": "refunds", "new": True}
        assert output(desks[1]) == {"refunds": "order 12", "archive": "order 12"}
        assert output(desks[0])["refunds"] == "order 12"


@IN_EACH_ORDER
async def test_what_fails_in_triage_reaches_every_desk(together: Together) -> None:
    async for triage, *desks in in_each_order(together, lambda name: ticket(f"T{name}", None)):
        said = "AttributeError: 'NoneType' object has no attribute 'lower'"
        assert error(triage) == said
        assert {error(each) for each in desks} == {f"RuntimeError: triage: {said}"}


async def test_two_runs_of_a_desk_do_its_part_once(together: Together) -> None:
    triage, desk, _ = ticket("T", "Refund order 12!")
    results = await together.at_once(desk, desk, triage, desk)
    writes = [each for result in results for each in result.operations if '"at":"archive"' in str(each.value)]
    assert len([each for each in writes if each.name == "apply"]) == 1


@IN_EACH_ORDER
async def test_what_fails_at_a_desk_reaches_the_next(together: Together) -> None:
    async for _, refunds, archive in in_each_order(together, lambda name: ticket(f"T{name}", "Refund it!")):
        said = "TypeError: 'NoneType' object is not subscriptable"
        assert (error(refunds), error(archive)) == (said, f"RuntimeError: refunds: {said}")


# Error propagation.


def question(name: str, numbers: list[Any]) -> list[Agent]:
    return [
        Agent("compute", {"job": name, "numbers": numbers}),
        Agent("ask", {"job": name}),
        Agent("ask", {"job": name}),
    ]


@IN_EACH_ORDER
async def test_an_answer_reaches_all_who_ask(together: Together) -> None:
    async for computed, *asked in in_each_order(together, lambda name: question(name, [3, 4, 8])):
        assert output(computed) is None
        assert [output(each) for each in asked] == [5.0, 5.0]


@IN_EACH_ORDER
async def test_an_error_reaches_all_who_ask(together: Together) -> None:
    async for computed, *asked in in_each_order(together, lambda name: question(name, [])):
        assert error(computed) == "ZeroDivisionError: division by zero"
        assert {error(each) for each in asked} == {"RuntimeError: compute: ZeroDivisionError: division by zero"}


async def test_who_asks_is_told_of_an_agent_that_was_killed(together: Together) -> None:
    compute, ask, _ = question("j", [1])
    killed, asked = await together.in_order(Agent(compute.name, compute.given, RunLimits(calls=4)), ask)
    assert killed.outcome == "limit"
    assert error(asked) == "RuntimeError: compute died without an outcome"


# Shared configuration.


async def test_settings_changed_at_the_same_time_are_all_kept(together: Together) -> None:
    changes = [Agent("configure", {"change": {f"s{number}": number}}) for number in range(4)]
    for result in await together.at_once(*changes):
        output(result)
    settings = await together.see('data_store.use_namespace("config").get("settings")')
    assert settings == {"model": "small", "paused": False, "s0": 0, "s1": 1, "s2": 2, "s3": 3}


async def test_an_agent_waits_for_settings_and_while_they_say_so(together: Together) -> None:
    pause, go = (
        Agent("configure", {"change": change}) for change in ({"paused": True}, {"paused": False, "model": "large"})
    )
    obey = Agent("obey", {"steps": 2}, grants=(Grant(namespace="config", access="read"),))
    results = await together.in_order(obey, Agent("configure", {"change": {}}))
    assert output(results[0]) == ["small", "small"]
    results = await together.in_order(pause, obey, go)
    assert output(results[1]) == ["large", "large"]


async def test_an_agent_that_may_only_read_the_settings_cannot_change_them(together: Together) -> None:
    read = (Grant(namespace="config", access="read"),)
    results = await together.at_once(Agent("configure", {"change": {"model": "mine"}}, grants=read))
    assert error(results[0]).startswith("AccessDenied: writing namespace 'config' is not granted")
