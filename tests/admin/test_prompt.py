"""`datastore prompt`: it names every verb, is short, and every line of code in it runs as it says, in the sandbox.

A line `EXPRESSION  # -> LITERAL; words` claims what the expression gives; here it becomes that comparison. Every
statement must have been executed, which a trace in the guest proves.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from admin.cli.cell import UNPRIVILEGED
from admin.cli.main import main
from datastore import Scope, Store, names, open_store, values
from sandbox import RunLimits, RunResult, Sandbox
from sandbox.guest.verbs import DataStore

CLAIM: Final = re.compile(r"^(?P<indent> +)(?P<expression>.+?)  # -> (?P<literal>[^;]+)(;.*)?$")
HARNESS: Final = """
import inspect as _inspect, sys as _sys
_executed = set()

def _expect(line, got, wanted):
    if repr(got) != repr(wanted):
        raise AssertionError(f"line {line}: got {got!r}, the prompt says {wanted!r}")

def _trace(frame, event, _):
    if frame.f_code.co_filename == "prompt.py":
        if event == "line":
            _executed.add(frame.f_lineno)
        return _trace

_run = run

async def run(input_dict, tools):
    _sys.settrace(_trace)
    answer = _run(input_dict, tools)
    answer = await answer if _inspect.isawaitable(answer) else answer
    _sys.settrace(None)
    return {"answer": answer, "executed": sorted(_executed)}
"""


@pytest.fixture
def prompt(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["prompt"]) == 0
    return capsys.readouterr().out


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite://") as opened:
        yield opened


def blocks(prompt: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", prompt, re.MULTILINE | re.DOTALL)


def checked(block: str) -> str:
    """The block with its claims as comparisons, on the same lines, and what watches it behind."""
    lines = block.splitlines()
    for index, line in enumerate(lines):
        if "# ->" in line:
            claim = CLAIM.match(line)
            assert claim is not None, f"a claim that no test can read: {line}"
            call = f"_expect({index + 1}, {claim['expression']}, {claim['literal']})"
            lines[index] = claim["indent"] + call
    return "\n".join(lines) + HARNESS


def statements(block: str) -> set[int]:
    """The lines on which a statement inside a function begins; nothing is left of a `pass` at run time."""
    functions = [
        node for node in ast.walk(ast.parse(block)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    inside = [node for each in functions for part in each.body for node in ast.walk(part)]
    return {node.lineno for node in inside if isinstance(node, ast.stmt)}


async def call_llm(prompt: str) -> str:
    return f"answer to {prompt!r}"


async def run_block(store: Store, block: str, given: object) -> RunResult:
    run_as = UNPRIVILEGED if os.geteuid() == 0 else None
    async with Sandbox(store, isolation="strict", run_as=run_as) as sandbox:
        return await sandbox.run(
            checked(block),
            given,
            scope=Scope(user="alice", agent="reader"),
            file="prompt.py",
            tools={"call_llm": call_llm},
        )


async def test_the_first_agent_does_what_its_comments_say(prompt: str, store: Store) -> None:
    first, _ = blocks(prompt)
    result = await run_block(store, first, {"text": "hello"})
    assert (result.error, result.traceback) == (None, None)
    expected: dict[str, Any] = {"config": {"lang": "en"}, "seen": True}
    assert result.output["answer"] == expected | {"keys": result.output["answer"]["keys"]}
    assert result.output["answer"]["keys"] == 7  # config, claim, note, visits, log, the backup, the private state
    assert set(result.output["executed"]) >= statements(first)


async def test_the_second_agent_does_what_its_comments_say(prompt: str, store: Store) -> None:
    _, second = blocks(prompt)
    result = await run_block(store, second, {})
    assert (result.error, result.traceback) == (None, None)
    assert result.output["answer"] == {"asked": True, "colour": "answer to 'Name a colour'"}
    assert set(result.output["executed"]) >= statements(second)


async def test_a_wrong_comment_would_be_noticed(prompt: str, store: Store) -> None:
    first, _ = blocks(prompt)
    result = await run_block(store, first.replace('get("nope")  # -> None', 'get("nope")  # -> 0'), {})
    assert "the prompt says 0" in str(result.error)


def test_every_verb_is_named(prompt: str) -> None:
    verbs = {name for name in dir(DataStore) if name[0].islower() and not inspect.isclass(getattr(DataStore, name))}
    named = set(re.findall(r"\w+", prompt))
    assert verbs - named == set()
    assert "ABSENT" in named


def test_every_error_that_it_names_is_one_of_data_store(prompt: str) -> None:
    _, _, words = prompt.partition("All are `data_store.DataStoreError`:")
    named = set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", words)) - {"TypeError"}
    assert len(named) > 5
    assert all(hasattr(DataStore, name) for name in named)


def test_the_limits_that_it_names_are_the_hosts(prompt: str) -> None:
    limits, mib = RunLimits(), 1024 * 1024
    assert f"{limits.wall_seconds:g} s, {limits.cpu_seconds} s of CPU, {limits.calls:,} calls" in prompt
    assert f"{limits.bytes // mib} MiB of traffic" in prompt
    assert f"up to {names.NAME_BYTES['key']:,} bytes" in prompt
    assert f"namespaces up to {names.DEFAULT_NAME_BYTES}" in prompt
    assert f"values up to {values.VALUE_BYTES // mib} MiB, metadata {values.METADATA_BYTES // 1024} KiB" in prompt


def test_it_is_at_most_60_lines_that_fit_a_wide_terminal(prompt: str) -> None:
    lines = prompt.splitlines()
    assert len(lines) <= 60
    assert max(len(line) for line in lines) <= 140
