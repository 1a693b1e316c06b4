"""Modules that a guest loads when they are used: agents see them as they always are."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from datastore import Scope, Store
from sandbox import Sandbox
from sandbox.guest import later
from tests.uids import RUN_AS

pytestmark = pytest.mark.timeout(60)

ALICE = Scope(user="alice", agent="worker")
KIND = "type(globals()['asy' 'ncio']).__name__"
"""In pieces: for an agent whose text has the word in it, it is loaded."""
ALL = ["ast", "asyncio", "difflib", "inspect", "random"]


def in_python(code: str) -> str:
    """Run code in a Python of its own, in which asyncio is deferred, and return what it prints."""
    setup = f"import sys\nsys.path.append({str(Path(later.__file__).parent)!r})\nimport later\nlater.defer('asyncio')\n"
    words = [sys.executable, "-I", "-S", "-c", setup + textwrap.dedent(code)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "use",
    [
        "asyncio.run",
        "from asyncio import run",
        "from asyncio import *\nassert 'run' in globals()",
        "assert hasattr(asyncio, 'run')",
        "assert 'run' in dir(asyncio)",
        "import unittest.mock\nunittest.mock.AsyncMock()",
    ],
)
def test_any_use_loads_it_and_it_stays_the_same_module(use: str) -> None:
    printed = in_python(
        f"""
import asyncio
before = asyncio
assert not later.is_loaded(asyncio)
{use}
assert asyncio is before is sys.modules["asyncio"]
asyncio.run(asyncio.sleep(0))
print(type(asyncio).__name__, later.is_loaded(asyncio))
"""
    )
    assert printed == "module True"


def test_what_it_has_not_is_an_attribute_error() -> None:
    printed = in_python(
        """
        import asyncio
        try:
            asyncio.nothing
        except AttributeError as error:
            print(error)
        """
    )
    assert printed == "module 'asyncio' has no attribute 'nothing'"


def test_threads_that_use_it_first_at_the_same_time_all_get_it() -> None:
    printed = in_python(
        """
        import asyncio, threading
        sys.setswitchinterval(1e-6)
        start, got = threading.Barrier(8), []
        def use():
            start.wait()
            got.append(asyncio.run)
        threads = [threading.Thread(target=use) for _ in range(8)]
        for each in threads: each.start()
        for each in threads: each.join()
        print(len(got), len(set(got)))
        """
    )
    assert printed == "8 1"


async def test_an_agent_that_needs_none_of_it_runs_without(store: Store) -> None:
    code = f"""
    import dataclasses
    def run():
        data_store.update('k', lambda n: n + 1, 0)
        return [data_store.get('k'), {KIND}, type(getattr(dataclasses, 'in' 'spect')).__name__]
    """
    outputs = []
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        for number in range(1, 11):  # On a busy machine a guest may wait for its run so long that it loads it.
            outputs.append((await sandbox.run(textwrap.dedent(code), scope=ALICE)).output)
            if outputs[-1] == [number, "_Later", "_Later"]:
                return
    raise AssertionError(outputs)


@pytest.mark.parametrize(
    ("text", "loaded"),
    [
        ("def run(): return data_store.get('last')", []),
        ("import random", ["random"]),
        ("from difflib import get_close_matches\nimport ast as tree", ["ast", "difflib"]),
        ("import inspect", ["ast", "inspect"]),  # The one imports the other, and uses it.
        ("async def run(): pass", ALL),
        ("import asyncio.tasks", ALL),
        ("import sys\nfor each in sys.modules: pass", ALL),
        ("exec('import random')", ALL),
        ("eval(expression)", ALL),
        ("import importlib", ALL),
        ("__import__(name)", ALL),
    ],
)
def test_what_a_text_may_meet_is_loaded_before_it_runs(text: str, loaded: list[str]) -> None:
    printed = in_python(
        f"""
for name in {ALL!r}:
    later.defer(name)
later.load_for({text!r})
print([name for name in {ALL!r} if later.is_loaded(sys.modules[name])])
"""
    )
    assert printed == repr(loaded)


async def test_what_the_host_puts_into_modules_stays_there(store: Store) -> None:
    code = """
    import logging, random
    def run():
        return [random.choice("abc"), logging.info("hello"), logging.getLogger("a").name]
    """
    modules = {"random": {"choice": lambda _: "mine"}, "logging": {"info": lambda text: text + "!"}}
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        result = await sandbox.run(textwrap.dedent(code), scope=ALICE, modules=modules)
    assert (result.output, result.error) == (["mine", "hello!", "a"], None)


async def test_what_an_agent_puts_into_a_module_stays_there(store: Store) -> None:
    code = (
        "import random\ndef run():\n    random.random = lambda: 7\n    random.choice('a')\n    return random.random()"
    )
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        assert (await sandbox.run(code, scope=ALICE)).output == 7


def test_a_module_may_have_attributes_of_its_own_making(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text("def __getattr__(name):\n    return name.upper()\n", encoding="utf-8")
    printed = in_python(
        f"""
        sys.path.append({str(tmp_path)!r})
        later.defer("made")
        import made
        print(made.first, made.second)
        """
    )
    assert printed == "FIRST SECOND"


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_agent_can_use_all_that_is_deferred(store: Store, asynchronous: bool) -> None:  # noqa: FBT001 - a case
    code = """
    import ast, difflib, inspect, random
    def run():
        tree = ast.parse("1 + 1")
        close = difflib.get_close_matches("appel", ["apple"])
        return [type(tree).__name__, close, str(inspect.signature(lambda a, b=1: a)), 0 <= random.random() < 1]
    """
    code = textwrap.dedent(code).replace("def run", "async def run" if asynchronous else "def run")
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        result = await sandbox.run(code, scope=ALICE)
    assert (result.output, result.error) == (["Module", ["apple"], "(a, b=1)", True], None)


async def test_a_guest_that_waits_for_a_run_has_loaded_it_meanwhile(store: Store) -> None:
    async with Sandbox(store, run_as=RUN_AS, pool_size=1) as sandbox:
        await asyncio.wait_for(sandbox._pool.full.wait(), 30)
        await asyncio.sleep(2)
        result = await sandbox.run(f"def run(): return {KIND}", scope=ALICE)
    assert result.output == "module"


async def test_guests_of_a_zygote_have_it_all(store: Store) -> None:
    async with Sandbox(store, run_as=RUN_AS, zygote=True) as sandbox:
        result = await sandbox.run(f"def run(): return {KIND}", scope=ALICE)
    assert result.output == "module"


async def test_annotations_are_what_the_agent_wrote(store: Store) -> None:
    code = "def run():\n    def f(x: int): ...\n    return f.__annotations__['x'] is int"
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        assert (await sandbox.run(code, scope=ALICE)).output is True
