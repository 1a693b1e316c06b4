"""The agents of the patterns are right when several of them run at once, each in a sandbox of its own.

The runs of a team begin together: each waits in a tool of the host until all are there.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Scope, open_store
from sandbox import RunResult, Sandbox
from sandbox.guest.verbs import DataStore
from tests.docs.pages import ROOT, blocks
from tests.uids import RUN_AS

PATTERNS: Final = ROOT / "docs" / "examples" / "patterns"
PAGE: Final = ROOT / "docs" / "patterns.md"
PATTERNS_SHOWN: Final = (
    "Cache-aside",
    "Write-through",
    "Counters",
    "Append",
    "Aggregate statistics",
    "State machine",
    "Checkpointed batch",
    "Lock",
    "Keyword index",
    "Idempotency key",
    "Sequence numbers",
    "Sliding-window rate limit",
    "Newest-first history",
)
AGENTS_SHOWN: Final = (
    "Producer and consumer",
    "Pipeline",
    "Fan-out and collect",
    "Repository ingestion and search",
    "Hand-off",
    "Error propagation",
    "Shared configuration",
)
TEAM: Final = 4
TOGETHER: Final = """

_once = run


def run(input_dict, tools):
    tools["begin"]()
    return [_tried(each) for each in input_dict["inputs"]]


def _tried(given):
    try:
        return _once(given, {})
    except ValueError as error:
        return str(error)
"""
"""An agent's own code goes on so: it is run once for each input, when the others are there too."""


class Team:
    """Runs of one user that begin together."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def one(self, pattern: str, **given: Any) -> RunResult:
        return await self._run(pattern, given, code(pattern))

    async def answer(self, pattern: str, **given: Any) -> Any:
        return done(await self.one(pattern, **given))

    async def all(self, pattern: str, *inputs: list[dict[str, Any]]) -> list[list[Any]]:
        """Run the agent over each list of inputs, all at the same time; return what each gave for each of its own."""
        gate = asyncio.Barrier(len(inputs))

        async def begin() -> None:
            await gate.wait()

        runs = (self._run(pattern, {"inputs": each}, code(pattern) + TOGETHER, {"begin": begin}) for each in inputs)
        return [done(result) for result in await asyncio.gather(*runs)]

    async def see(self, expression: str) -> Any:
        """What an expression over the user's data_store gives."""
        return done(await self._run("test", {}, f"def run():\n    return {expression}"))

    async def _run(self, agent: str, given: Any, text: str, tools: dict[str, Any] | None = None) -> RunResult:
        return await self._sandbox.run(text, given, scope=Scope(user="alice", agent=agent), tools=tools)


def code(pattern: str) -> str:
    return (PATTERNS / f"{pattern}.py").read_text(encoding="utf-8")


def done(result: RunResult) -> Any:
    assert result.outcome == "done", result.traceback
    return result.output


def flat(answers: list[list[Any]]) -> list[Any]:
    return [answer for each in answers for answer in each]


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store, Sandbox(store, run_as=RUN_AS) as sandbox:
        yield Team(sandbox)


def test_the_page_shows_each_agent_as_it_is() -> None:
    shown = {block.option("agent"): block.text for block in blocks(PAGE) if block.kind == "agent"}
    assert shown == {path.stem: path.read_text(encoding="utf-8") for path in PATTERNS.glob("*.py")}


@pytest.mark.parametrize(
    ("page", "says", "patterns"),
    [
        ("patterns.md", "**Safe by** ", PATTERNS_SHOWN),
        ("cross-agent.md", "**What makes it safe:** ", AGENTS_SHOWN),
    ],
)
def test_every_pattern_runs_and_says_what_makes_it_safe(page: str, says: str, patterns: tuple[str, ...]) -> None:
    _, *parts = re.split("^## ", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = dict(part.split("\n", 1) for part in parts)
    assert set(patterns) <= set(sections)
    for pattern in patterns:
        _, _, reason = sections[pattern].partition(says)
        verbs = re.findall(r"`(\w+)", reason.partition("\n")[0])
        assert any(hasattr(DataStore, verb) for verb in verbs), pattern
        assert re.search("^```python.* (agent=|file=)", sections[pattern], re.MULTILINE), pattern


async def test_cache_aside_makes_a_value_once_for_all_who_ask_at_the_same_time(team: Team) -> None:
    cities = [f"city {number}" for number in range(20)]
    answers = await team.all("cache_aside", *[[{"city": city} for city in cities]] * TEAM)
    assert answers == [[f"All is well in {city}." for city in cities]] * TEAM
    entries = f'map(data_store.use_namespace("cache:reports").get_entry, {cities})'
    assert await team.see(f"[each.key for each in {entries} if each.updated_at > each.created_at]") == []
    assert 3500 < await team.see('data_store.use_namespace("cache:reports").expires_in("city 0")') <= 3600
    result = await team.one("cache_aside", city="city 0")
    assert (result.output, result.log) == ("All is well in city 0.", "")


async def test_write_through_leaves_the_card_of_the_profile_that_stands(team: Team) -> None:
    cities = [[{"name": f"A{n}", "city": f"C{i}"} for i in range(20)] for n in range(TEAM)]
    await team.all("write_through", *([{"user": "ann", "profile": each} for each in profiles] for profiles in cities))
    assert (await team.one("write_through", user="ann", profile={"name": "cut short"})).outcome == "raised"
    profile = await team.see('data_store.use_namespace("profiles").get("ann")')
    card = await team.see('data_store.use_namespace("cache:cards").get("ann")')
    assert card == f"{profile['name']} ({profile['city']})"


async def test_counters_lose_no_visit(team: Team) -> None:
    answers = await team.all("counters", *[[{"page": "home"}] * 50] * TEAM)
    assert sorted(flat(answers)) == list(range(1, 50 * TEAM + 1))


async def test_append_loses_no_line_and_keeps_the_order_of_each_writer(team: Team) -> None:
    await team.all("append", *[[{"log": "x", "line": [n, i]} for i in range(20)] for n in range(TEAM)])
    lines = await team.see('data_store.use_namespace("logs").get("x")')
    assert len(lines) == 20 * TEAM
    assert [[line for line in lines if line[0] == n] for n in range(TEAM)] == [
        [[n, i] for i in range(20)] for n in range(TEAM)
    ]


async def test_append_keeps_the_last_thousand_lines(team: Team) -> None:
    await team.see('data_store.use_namespace("logs").set("x", list(range(1000)))')
    assert await team.answer("append", log="x", line="new") == {"lines": 1000}
    assert await team.see('data_store.use_namespace("logs").get("x")[::999]') == [1, "new"]


async def test_statistics_include_each_value_once(team: Team) -> None:
    await team.all("statistics", *[[{"kind": "x", "value": 20 * n + i} for i in range(20)] for n in range(TEAM)])
    values = [*range(20 * TEAM), -1]
    assert await team.answer("statistics", kind="x", value=-1) == {
        "count": len(values),
        "sum": sum(values),
        "least": -1,
        "most": 20 * TEAM - 1,
        "mean": sum(values) / len(values),
    }


async def test_a_state_machine_makes_each_move_once(team: Team) -> None:
    pays = [{"order": f"{number}", "event": "pay"} for number in range(10)]
    answers = Counter(flat(await team.all("state_machine", *[pays] * TEAM)))
    assert answers == {"paid": 10, "cannot pay an order that is paid": 10 * (TEAM - 1)}
    ships = [{**each, "event": "ship"} for each in pays]
    cancels = [{**each, "event": "cancel"} for each in pays]
    either = Counter(flat(await team.all("state_machine", ships, cancels)))
    assert either["shipped"] + either["refunded"] == 10
    states = await team.see('data_store.use_namespace("orders").get_all()')
    assert Counter(states.values()) == {state: n for state, n in either.items() if not state.startswith("cannot")}


async def test_a_checkpointed_batch_counts_each_text_once_however_many_runs_share_it(team: Team) -> None:
    await team.see('data_store.use_namespace("texts").set_many({f"{n:03}": "a b c" for n in range(60)})')
    totals = await team.all("checkpointed_batch", *[[{"texts_at_a_time": 2}]] * TEAM)
    assert totals == [[180]] * TEAM


async def test_a_checkpointed_batch_goes_on_where_it_stopped(team: Team) -> None:
    await team.see('data_store.use_namespace("texts").set_many({"1": "a b", "2": "c", "3": None, "4": "d"})')
    assert (await team.one("checkpointed_batch", texts_at_a_time=1)).outcome == "raised"
    assert await team.see('data_store.use_namespace("batch:words").get_all()') == {"mark": "2", "words": 3}
    await team.see('data_store.use_namespace("texts").set_many({"1": "counted already", "3": "e f"})')
    assert await team.answer("checkpointed_batch") == 6


async def test_a_lock_lets_one_run_at_a_time_write_the_next_edition(team: Team) -> None:
    editions = await team.all("lock", *[[{"title": "Sales"}] * 5] * TEAM)
    assert sorted(flat(editions)) == list(range(1, 5 * TEAM + 1))


async def test_a_keyword_index_is_that_of_the_text_that_was_indexed_last(team: Team) -> None:
    shared = [[{"document": "d", "text": f"Tea w{n}{i}"} for i in range(10)] for n in range(TEAM)]
    own = [[{"document": f"d{n}", "text": "tea and milk"}] for n in range(TEAM)]
    await team.all("keyword_index", *(a + b for a, b in zip(shared, own, strict=True)))
    words = await team.see('data_store.use_namespace("documents").get("d")')
    assert await team.answer("keyword_index", find="Tea") == ["d", *(f"d{n}" for n in range(TEAM))]
    index = await team.see('data_store.use_namespace("index").list_keys()')
    assert sorted(key for key in index if key.endswith(" d")) == sorted(f"{word} d" for word in words)
    assert await team.answer("keyword_index", document="d", text="Coffee") == {"words": 1, "gone": 2}
    assert "d" not in await team.answer("keyword_index", find="tea")


async def test_an_idempotency_key_pays_once_for_each_request(team: Team) -> None:
    requests = [{"request": f"r{number}", "account": "ann", "amount": 5} for number in range(20)]
    answers = Counter(flat(await team.all("idempotency_key", *[requests] * TEAM)))
    assert answers == {"paid": 20, "paid before": 20 * (TEAM - 1)}
    accounts = 'data_store.use_namespace("accounts")'
    assert await team.see(f'{accounts}.get("balance:ann")') == 100
    assert 86_000 < await team.see(f'{accounts}.expires_in("request:r0")') <= 86_400


async def test_a_sequence_gives_each_number_once(team: Team) -> None:
    numbers = flat(await team.all("sequence", *[[{"customer": f"{n}", "total": 1}] * 20 for n in range(TEAM)]))
    assert sorted(numbers) == list(range(1, 20 * TEAM + 1))
    keys = await team.see('data_store.use_namespace("invoices").list_keys()')
    assert [int(key) for key in keys] == sorted(numbers)


async def test_a_rate_limit_admits_exactly_as_many_as_it_says(team: Team) -> None:
    assert Counter(flat(await team.all("rate_limit", *[[{"caller": "ann"}] * 5] * TEAM)))[True] == 10
    assert await team.answer("rate_limit", caller="bob")


async def test_the_window_of_a_rate_limit_slides(team: Team) -> None:
    now = time.time()
    await team.see(f'data_store.use_namespace("rates").set("ann", {[now - 61] * 3 + [now] * 8})')
    answers = [await team.answer("rate_limit", caller="ann") for _ in range(3)]
    assert answers == [True, True, False]


async def test_a_history_keeps_the_latest_in_order_and_shows_the_newest_first(team: Team) -> None:
    await team.all("history", *[[{"say": [n, i]} for i in range(30)] for n in range(TEAM)])
    latest = await team.answer("history", latest=1000)
    assert len(latest) == 100
    for n in range(TEAM):
        said = [i for who, i in latest if who == n]
        assert said == list(range(29, 29 - len(said), -1))
    assert await team.answer("history", say="last", latest=2) == ["last", latest[0]]
