"""What a run is: its input and tools, its outcome, and what the platform gets back."""

from __future__ import annotations

import asyncio
import textwrap
import threading
from typing import Any

import pytest

from datastore import DataStoreError, Grant, Scope, Store
from sandbox import Event, RunLimits, RunResult, Sandbox, ToolContext
from sandbox.inject import connect
from tests.uids import RUN_AS

ALICE = Scope(user="alice", agent="worker")


async def run(sandbox: Sandbox, code: str, given: Any = None, **options: Any) -> RunResult:
    """Run an agent's source as alice's worker, unless told otherwise."""
    options.setdefault("scope", ALICE)
    return await asyncio.wait_for(sandbox.run(textwrap.dedent(code), given, **options), 60)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("def run(): return 'none'", "none"),
        ("def run(given): return given", {"a": 1}),
        ("def run(given, tools): return [given, sorted(tools)]", [{"a": 1}, ["t"]]),
        ("async def run(given): return given", {"a": 1}),
        ("def run(*args): return len(args)", 2),
        ("def run(given, tools, more=3): return more", 3),
        ("run = lambda given: given['a']", 1),
    ],
)
async def test_run_is_called_with_as_many_arguments_as_it_takes(
    strict: Sandbox, definition: str, expected: Any
) -> None:
    result = await run(strict, definition, {"a": 1}, tools={"t": len})
    assert (result.outcome, result.output, result.error) == ("done", expected, None)


async def test_globals_imports_and_helpers_work_at_top_level(confined: Sandbox) -> None:
    result = await run(
        confined,
        """
        import data_store as imported
        from data_store import Conflict
        from dataclasses import dataclass

        @dataclass
        class Job:
            name: str

        def helper():
            return Job("x").name

        def run():
            assert imported is data_store and issubclass(Conflict, data_store.DataStoreError)
            return [helper(), json.dumps({}), bool(re.match("a", "a")), asyncio.__name__, __name__, __file__]
        """,
        file="job.py",
    )
    assert result.output == ["x", "{}", True, "asyncio", "agent", "job.py"]


async def test_what_a_run_writes_is_recorded_as_its_agent_and_run(strict: Sandbox, store: Store) -> None:
    scope = Scope(user="alice", agent="summarizer", run="run-7")
    await run(strict, "def run(): data_store.set('k', 1)", scope=scope)
    entry = await connect(store, user="alice", agent="reader").aio.get_entry("k")
    assert entry is not None
    assert (entry.created_by_agent, entry.created_by_run) == ("summarizer", "run-7")


async def test_a_run_without_an_id_gets_one_of_its_own(strict: Sandbox, store: Store) -> None:
    for key in ("a", "b"):
        await run(strict, f"def run(): data_store.set({key!r}, 1)")
    reader = connect(store, user="alice", agent="reader")
    entries = [await reader.aio.get_entry(key) for key in ("a", "b")]
    assert len({entry.created_by_run for entry in entries if entry}) == 2


async def test_counted_reads_are_written_when_the_run_has_ended(strict: Sandbox, store: Store) -> None:
    await run(strict, "def run():\n    data_store.set('k', 1)\n    data_store.get('k')")
    entry = await connect(store, user="alice", agent="reader").aio.get_entry("k")
    assert entry is not None
    assert entry.access_count == 1


async def test_two_users_with_the_same_code_never_meet(confined: Sandbox) -> None:
    code = """
    def run(name):
        data_store.add("k", name)
        data_store.private().set("p", name)
        return [data_store.get("k"), data_store.private().get("p"), data_store.list_namespaces()]
    """
    users = ["alice", "bob", "carol", "dave"]
    results = await asyncio.gather(*(run(confined, code, user, scope=Scope(user=user, agent="same")) for user in users))
    assert [result.output for result in results] == [[user, user, ["default"]] for user in users]


async def test_the_agent_raised_is_told_with_its_own_frames_only(strict: Sandbox) -> None:
    result = await run(strict, "def helper():\n    return 1 / 0\n\nasync def run():\n    helper()", file="a.py")
    assert (result.outcome, result.error) == ("raised", "ZeroDivisionError: division by zero")
    assert result.traceback is not None
    assert [line for line in result.traceback.splitlines() if "File" in line] == [
        '  File "a.py", line 5, in run',
        '  File "a.py", line 2, in helper',
    ]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("def run(:", "SyntaxError"),
        ("def go(): pass", "defines no run. Write: def run(input_dict, tools): ..."),
        ("def run():\n    import os\n    os._exit(3)", "ended before it gave a result (status 3)"),
        ("def run():\n    raise SystemExit(2)", "SystemExit: 2"),
        ("def run():\n    raise Exception('\\ud800')", "Exception: ?"),
        ("import nothing_like_this\ndef run(): pass", "No module named 'nothing_like_this'"),
        ("def run(): return {1, 2}", "ValueNotStorable: result: set is not JSON; store sorted(...) as a list"),
        ("def run(): return {'store': data_store}", "result.store: data_store is a handle, not data; return values"),
        (
            "def run():\n    data_store.set('k', 1)\n    return [data_store.get_entry('k')]",
            "result[0]: Entry is a handle",
        ),
        ("def run(): return 'x' * 5_000_000", "result is 5,000,002 bytes; the limit is 4,194,304"),
    ],
)
async def test_an_agent_that_fails_is_told_why(strict: Sandbox, code: str, error: str) -> None:
    result = await run(strict, code)
    assert result.outcome == "raised"
    assert error in (result.error or "")


@pytest.mark.parametrize(
    ("body", "error", "stored"),
    [
        (
            "async def run():\n    await data_store.set('k', 1)",
            (
                'line 2: data_store.set is not awaitable: its verbs are synchronous. Remove "await", '
                'or write "await data_store.aio.set(...)".'
            ),
            False,
        ),
        (
            "def run():\n    return await data_store.get('k')",
            (
                'line 2: data_store.get is not awaitable: its verbs are synchronous. Remove "await", '
                'or write "await data_store.aio.get(...)".'
            ),
            False,
        ),
        (
            "async def run():\n    other = data_store.use_namespace('default')\n    await other.set('k', 1)",
            (
                'line 3: data_store.set is not awaitable: its verbs are synchronous. Remove "await", '
                'or write "await data_store.aio.set(...)". The call itself was done.'
            ),
            True,
        ),
        (
            "async def run():\n    await data_store.atomic().set('k', 1).commit()",
            (
                "line 2: data_store.atomic().commit is not awaitable: its verbs are synchronous. "
                'Remove "await", or write "await data_store.aio.atomic().commit(...)".'
            ),
            False,
        ),
        (
            "async def run():\n    changes = data_store.atomic().set('k', 1)\n    await changes.commit()",
            (
                "line 3: data_store.atomic().commit is not awaitable: its verbs are synchronous. "
                'Remove "await", or write "await data_store.aio.atomic().commit(...)". The call itself was done.'
            ),
            True,
        ),
        (
            "def run():\n    data_store.atomic().use_namespace('n').add('k', 1).delete('l')",
            (
                "data_store.atomic() with add('k') was never committed, so nothing was changed. "
                'Write "with data_store.atomic() as changes:", or "changes.commit()" at its end.'
            ),
            False,
        ),
        (
            "async def run():\n    kept = data_store.aio.atomic().check('k', '1')\n    kept.commit()",
            (
                "data_store.aio.atomic() with check('k') was never committed, so nothing was changed. "
                'Write "async with data_store.aio.atomic() as changes:", or "await changes.commit()" at its end.'
            ),
            False,
        ),
        (
            "async def run():\n    data_store.aio.atomic().commit()",
            (
                "data_store.aio.atomic().commit() was called but never awaited, so nothing was changed. "
                'Write "await data_store.aio.atomic().commit(...)".'
            ),
            False,
        ),
        (
            "async def run():\n    data_store.aio.set('k', 1)",
            (
                "data_store.aio.set('k') was called but never awaited, so nothing was stored. "
                'Write "await data_store.aio.set(...)".'
            ),
            False,
        ),
        (
            "def run():\n    kept = [data_store.aio.get('k')]\n    globals()['kept'] = kept",
            (
                "data_store.aio.get('k') was called but never awaited, so nothing was read. "
                'Write "await data_store.aio.get(...)".'
            ),
            False,
        ),
    ],
)
async def test_awaiting_wrongly_is_explained(
    strict: Sandbox,
    store: Store,
    body: str,
    error: str,
    stored: bool,  # noqa: FBT001 - a case
) -> None:
    result = await run(strict, body)
    assert (result.outcome, result.error) == ("raised", f"InvalidArgument: {error}")
    assert await connect(store, user="alice", agent="reader").aio.exists("k") is stored


@pytest.mark.parametrize(
    "code",
    [
        (
            "async def work(data_store):\n    await data_store.set('k', 1)\n"
            "async def run():\n    await work(data_store.aio)\n    return data_store.get('k')"
        ),
        (
            "data_store = data_store.aio\nasync def run():\n    await data_store.set('k', 1)\n"
            "    return await data_store.get('k')"
        ),
    ],
)
async def test_a_name_that_the_agent_gives_to_the_asynchronous_face_is_not_judged(strict: Sandbox, code: str) -> None:
    result = await run(strict, code)
    assert (result.output, result.error) == (1, None)


async def test_returning_the_data_store_itself_is_told_as_what_it_is(strict: Sandbox) -> None:
    result = await run(strict, "def run(): return data_store")
    assert "data_store is a handle, not data" in (result.error or "")


async def test_a_tool_is_cancelled_with_its_run_and_stands_in_the_record(strict: Sandbox) -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    code = "async def run(_, tools): await tools['endless']()"
    result = await run(strict, code, tools={"endless": endless}, limits=RunLimits(wall_seconds=0.5))
    assert (result.outcome, result.limit) == ("limit", "wall_seconds")
    assert cancelled.is_set()
    assert [(each.name, each.outcome) for each in result.operations] == [("tool endless", "cancelled")]


async def test_an_awaited_gather_and_a_task_are_not_mistaken_for_forgotten(strict: Sandbox) -> None:
    result = await run(
        strict,
        """
        async def run():
            store = data_store.aio
            await asyncio.gather(*(store.set(f"k{i}", i) for i in range(40)))
            task = asyncio.create_task(store.get("k3"))
            found = await asyncio.gather(*(store.get(f"k{i}") for i in range(40)))
            pairs = [pair async for pair in store.items("k1")]
            return [await task, sum(found), len(pairs), data_store.count()]
        """,
    )
    assert result.output == [3, sum(range(40)), 11, 40]


async def test_sync_verbs_work_inside_coroutines_and_threads_of_the_agent(confined: Sandbox) -> None:
    result = await run(
        confined,
        """
        import threading

        async def run():
            waiting = [asyncio.create_task(data_store.aio.set(f"a{i}", i)) for i in range(10)]
            await asyncio.sleep(0)
            data_store.set("sync", 1)
            threads = [threading.Thread(target=data_store.set, args=(f"t{i}", i)) for i in range(8)]
            for each in threads:
                each.start()
            await asyncio.gather(*waiting)
            await asyncio.to_thread(lambda: [each.join() for each in threads])
            return data_store.count()
        """,
    )
    assert (result.output, result.error) == (19, None)


async def test_timeouts_and_cancellation_inside_an_agent_work(strict: Sandbox) -> None:
    async def slow() -> None:
        await asyncio.Event().wait()

    result = await run(
        strict,
        """
        async def run(_, tools):
            try:
                async with asyncio.timeout(0.05):
                    await tools["slow"]()
            except TimeoutError:
                await data_store.aio.set("after", 1)
                return data_store.get("after")
        """,
        tools={"slow": slow},
    )
    assert (result.output, result.error) == (1, None)


async def test_tools_get_json_and_the_hosts_context_alone(confined: Sandbox) -> None:
    async def whoami(prompt: str, *, context: ToolContext) -> dict[str, Any]:
        return {"prompt": prompt, "user": context.scope.user}

    def plain(value: bytes, times: int = 1) -> bytes:
        return value * times

    result = await run(
        confined,
        """
        async def run(_, tools):
            return [await tools["whoami"]("hi"), await tools.whoami(prompt="x"), len(tools["plain"](b"ab", times=3))]
        """,
        tools={"whoami": whoami, "plain": plain},
    )
    assert result.output == [{"prompt": "hi", "user": "alice"}, {"prompt": "x", "user": "alice"}, 6]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("tools['fails']()", "ToolError: fails: ValueError: no luck"),
        (
            "tools['missing']()",
            "KeyError: \"no tool 'missing'; the host gave: cancels, exits, fails, mute, odd, stops, wants\"",
        ),
        ("tools['odd']()", "ToolError: odd: result: set is not JSON; store sorted(...) as a list"),
        ("tools['fails'](object())", "ValueNotStorable: fails: argument 0: object is not JSON"),
        ("tools['wants'](context='bob')", "InvalidArgument: wants: the host gives 'context'. Leave it out."),
        ("tools['fails'](1, 2, 3)", "ToolError: fails: TypeError"),
        ("tools['exits']()", "ToolError: exits: RuntimeError: SystemExit: 2"),
        ("tools['stops']()", "ToolError: stops: RuntimeError: StopIteration: "),
        ("tools['mute']()", "ToolError: mute: Mute: it has no text"),
        ("await tools['cancels']()", "ToolError: cancels: it was cancelled"),
    ],
)
async def test_a_tool_that_fails_says_which_and_why(strict: Sandbox, call: str, error: str) -> None:
    def fails() -> None:
        raise ValueError("no luck")

    def wants(context: ToolContext) -> str:
        return context.scope.user

    def exits() -> None:
        raise SystemExit(2)

    async def cancels() -> None:
        raise asyncio.CancelledError

    def stops() -> None:
        next(iter(()))

    class Mute(Exception):  # noqa: N818 - a case
        def __str__(self) -> str:
            raise RuntimeError

    def mute() -> None:
        raise Mute

    tools = {"fails": fails, "odd": lambda: {1}, "wants": wants, "exits": exits, "stops": stops, "mute": mute}
    result = await run(strict, f"async def run(_, tools): {call}", tools={**tools, "cancels": cancels})
    assert result.outcome == "raised"
    assert (result.error or "").startswith(error)


async def test_names_modules_and_environment_serve_agents_of_other_hosts(strict: Sandbox) -> None:
    async def call_llm(prompt: str) -> str:
        return prompt.upper()

    result = await run(
        strict,
        """
        import os
        from services.llm import complete
        from services import llm

        async def run():
            said = [await call_llm("a"), gofannon_client.call(1), await complete("b"), await llm.complete("c")]
            return said + [os.environ["KEY"]]
        """,
        names={"call_llm": call_llm, "gofannon_client.call": lambda x: x + 1},
        modules={"services.llm": {"complete": call_llm}},
        environment={"KEY": "value"},
    )
    assert (result.output, result.error) == (["A", 2, "B", "C", "value"], None)


@pytest.mark.parametrize(
    "options",
    [
        {"tools": {"t": 5}},
        {"names": {"not a name": len}},
        {"modules": {"services.class": {"f": len}}},
        {"environment": {"A": 1}},
        {"given": {1, 2}},
        {"given": "x" * 5_000_000},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_the_hosts_own_mistakes_raise_before_anything_runs(strict: Sandbox, options: dict[str, Any]) -> None:
    options = dict(options)
    given = options.pop("given", None)
    with pytest.raises(DataStoreError):
        await run(strict, "def run(): pass", given, **options)


async def test_log_and_operations_come_back_and_are_streamed(strict: Sandbox) -> None:
    events: list[Event] = []
    result = await run(
        strict,
        """
        import logging, sys

        def run():
            print("one")
            print("no newline", end="")
            logging.warning("warned")
            print("err", file=sys.stderr)
            data_store.use_namespace("n").set("k", "v" * 500)
            data_store.get_many(["a", "b"])
            data_store.read_only()
        """,
        on_event=events.append,
    )
    assert result.log == "one\nWARNING:root:warned\nerr\nno newline"
    assert [(each.name, each.namespace, each.keys, each.outcome) for each in result.operations] == [
        ("apply", "n", "k", "ok"),
        ("get", "default", "a, b", "ok"),
    ]
    assert result.operations[0].value == '"' + "v" * 199
    assert "".join(event.log for event in events if event.log) == result.log
    assert tuple(event.operation for event in events if event.operation) == result.operations
    assert result.stats.calls == 2
    assert result.stats.bytes_in > 500 > result.stats.bytes_out > 0
    assert result.stats.run_seconds > 0


async def test_an_observer_that_raises_does_not_end_the_run(strict: Sandbox) -> None:
    def broken(_: Event) -> None:
        raise RuntimeError

    result = await run(strict, "def run():\n    print('x')\n    return 1", on_event=broken)
    assert (result.outcome, result.output) == ("done", 1)


async def test_refusals_are_recorded_with_their_code(strict: Sandbox) -> None:
    scope = Scope(user="alice", agent="bounded", grants=(Grant(namespace="mine"),))
    result = await run(strict, "def run():\n    data_store.use_namespace('other').get('k')", scope=scope)
    assert result.outcome == "raised"
    assert (result.error or "").startswith("AccessDenied: reading namespace 'other' is not granted")
    assert [each.outcome for each in result.operations] == ["access_denied"]


async def test_the_sandbox_ends_its_runs_when_it_is_left(store: Store) -> None:
    started = threading.Event()

    async def begun() -> None:
        started.set()

    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        endless = asyncio.create_task(
            sandbox.run(
                "async def run(_, tools):\n    await tools['begun']()\n    while True: pass",
                scope=ALICE,
                tools={"begun": begun},
                limits=RunLimits(wall_seconds=60, cpu_seconds=60),
            )
        )
        async with asyncio.timeout(30):
            await asyncio.to_thread(started.wait, 30)
    with pytest.raises(asyncio.CancelledError):
        await endless
