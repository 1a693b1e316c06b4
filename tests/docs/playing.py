"""Plays a page: executes its blocks in order, on one store, and compares what they say with what the page shows."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from datastore import Scope, Store, open_store
from datastore.errors import DataStoreError
from sandbox import RunResult, Sandbox, connect
from tests.docs.pages import ROOT, Block
from tests.uids import RUN_AS
from tests.world import Loop

USER: Final = "alice"
COMMAND_SECONDS: Final = 60
NOT_TYPED: Final = ("demo", "make")
"""Console blocks that other tests compare: the demo's output, and targets of the Makefile."""
_WIDTH: Final = 100
_PROMISE: Final = "# -> "


class Player:
    """One reader of one page, who types everything in: into one folder, one store, as one user."""

    def __init__(self, folder: Path, loop: Loop, packages: Path) -> None:
        self._folder = folder
        self._loop = loop
        self._url = f"sqlite:///{folder / 'datastore.db'}"
        self._stack = AsyncExitStack()
        self._opened: tuple[Store, Sandbox] | None = None
        self._globals: dict[str, Any] = {}
        self._status = 0
        (folder / "docs").symlink_to(ROOT / "docs")
        (folder / "packages").symlink_to(packages)

    def close(self) -> None:
        if "data_store" in self._globals:
            self._globals["data_store"].close()
        self._loop.run(self._stack.aclose())

    def play(self, block: Block) -> None:
        """Execute a block.

        Raises:
            AssertionError: it says something else than the page shows, or nobody knows how to execute it.
        """
        if (name := block.option("file")) is not None:
            (self._folder / name).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            if block.kind not in NOT_TYPED:
                self._type(block)
        elif block.language == "python":
            way = self._ways().get(block.kind)
            assert way is not None, f"{block}: write ```python {' or '.join(self._ways())}, or file=NAME"
            compare(block, way(block), block.shown or "")

    def _ways(self) -> dict[str, Callable[[Block], str]]:
        return {"agent": self._run_agent, "host": self._run_script, "data_store": self._run_here}

    # An agent, in a sandbox.

    def _run_agent(self, block: Block) -> str:
        scope = Scope(user=USER, agent=block.option("agent") or "agent")
        given = json.loads(block.option("input") or "{}")
        _, sandbox = self._world()
        return shown(self._loop.run(sandbox.run(block.text, given, scope=scope, file="agent.py")))

    def _world(self) -> tuple[Store, Sandbox]:
        if self._opened is None:
            self._opened = self._loop.run(self._open())
        return self._opened

    async def _open(self) -> tuple[Store, Sandbox]:
        store = await self._stack.enter_async_context(open_store(self._url))
        return store, await self._stack.enter_async_context(Sandbox(store, run_as=RUN_AS))

    # A host's script, in a process.

    def _run_script(self, block: Block) -> str:
        script = self._folder / "host.py"
        script.write_text(block.text, encoding="utf-8")
        return self._command([sys.executable, str(script)], block, fine=True)

    # Lines with a connected `data_store`, in this process.

    def _run_here(self, block: Block) -> str:
        if not self._globals:
            self._globals["data_store"] = connect(self._world()[0], user=USER, agent="notebook")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            try:
                for statement, promise in statements(block):
                    answer = execute(statement, self._globals)
                    if promise is not None:
                        compare(block, f"{answer!r}\n", promise, line=statement.lineno)
            except DataStoreError as error:
                print(f"{type(error).__name__}: {error}")  # noqa: T201 - what a traceback's last line says
        return said.getvalue()

    # A terminal.

    def _type(self, block: Block) -> None:
        for command, expected in commands(block):
            known = f"(exit {self._status}); {command}"
            compare(block, self._command(["bash", "-c", known], block), expected)

    def _command(self, words: list[str], block: Block, *, fine: bool = False) -> str:
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=environment(self._url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert not fine or done.returncode == 0, f"{block}: it ended with {done.returncode}:\n{done.stdout}"
        self._status = done.returncode
        return done.stdout


def environment(url: str) -> dict[str, str]:
    """What a reader's shell would have: the venv's commands, the store's URL, and no other setting of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATASTORE_")}
    given = {"DATASTORE_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100"}
    return kept | given | ({"DATASTORE_RUN_AS": RUN_AS} if RUN_AS else {})


def shown(result: RunResult) -> str:
    """A run as a page shows it: what the agent printed, then its result as JSON, or its error."""
    if result.outcome != "done":
        return f"{result.log}{result.error}\n"
    if result.output is None:
        return result.log
    line = json.dumps(result.output, ensure_ascii=False)
    return f"{result.log}{line if len(line) <= _WIDTH else json.dumps(result.output, ensure_ascii=False, indent=2)}\n"


def statements(block: Block) -> Iterator[tuple[ast.stmt, str | None]]:
    """Give the statements of a block, each with what its comment `# -> ...` promises as its value."""
    tokens = tokenize.generate_tokens(io.StringIO(block.text).readline)
    promises = {
        token.start[0]: token.string.removeprefix(_PROMISE) + "\n"
        for token in tokens
        if token.type == tokenize.COMMENT and token.string.startswith(_PROMISE)
    }
    for statement in ast.parse(block.text).body:
        promise = promises.pop(statement.end_lineno or statement.lineno, None)
        assert promise is None or isinstance(statement, ast.Expr), f"{block}: only an expression can keep a promise"
        yield statement, promise
    assert not promises, f"{block}: no statement ends in the lines {list(promises)}, so nothing keeps their promises"


def execute(statement: ast.stmt, names: dict[str, Any]) -> Any:
    """Execute a statement, which may `await`; return its value if it is an expression."""
    expression = isinstance(statement, ast.Expr)
    tree = ast.Expression(statement.value) if isinstance(statement, ast.Expr) else ast.Module([statement], [])
    code = compile(tree, "page", "eval" if expression else "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    answer = eval(code, names)  # noqa: S307 - executing the documentation is the purpose
    return asyncio.run(_awaited(answer)) if code.co_flags & inspect.CO_COROUTINE else answer


async def _awaited(answer: Any) -> Any:
    return await answer


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Give each command of a console block with the output that is shown below it; `> ` goes on with a command."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0], f"{block}: a console block begins with a command, `$ ...`"
    for part in parts[1:]:
        lines = part.splitlines(keepends=True)
        length = 1
        while length < len(lines) and lines[length].startswith("> "):
            length += 1
        yield "".join(line.removeprefix("> ") for line in lines[:length]), "".join(lines[length:])


def compare(block: Block, said: str, expected: str, *, line: int = 0) -> None:
    """Compare what was said with what is shown, where `...` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in expected.rstrip().split("..."))
    where = f"{block.page.name}:{block.line + line}" if line else str(block)
    assert re.fullmatch(pattern, said.rstrip(), re.DOTALL), (
        f"{where}: the page shows\n{expected}\nbut the block says\n{said}"
    )
