"""The attackers: how their source becomes an agent, how one is let loose, and what it tells.

`strike` runs one through `Sandbox.run`, as a platform would; `control` runs the same source in a plain process with
the privileges of the tests, in mount, IPC and name namespaces of its own, so that an attack that succeeds there changes
nothing outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from datastore.models import Scope
from sandbox import RunLimits, RunResult, Sandbox
from tests.attacks.stage import neighbour

AGENTS: Final = Path(__file__).with_name("agents")
KINDS: Final = ("files", "processes", "resources", "network", "kernel", "python", "lifetime", "tenants")
MALLORY: Final = Scope(user="mallory", agent="worker")
LIMITS: Final = RunLimits(wall_seconds=15, cpu_seconds=5)

_PACKAGE: Final = "tests.attacks.agents"
_SECONDS: Final = 20
_LOADER: Final = """
import sys, types
def run(given):
    for name, text in given.pop("sources"):
        module = sys.modules[name] = types.ModuleType(name)
        exec(compile(text, name, "exec"), module.__dict__)
    attack = getattr(module, given.pop("attack"))
    return sys.modules["tests.attacks.agents.attempt"].report(attack, given)
"""
_MEETING: Final = f"""{_LOADER}
alone = run
async def run(given):
    import os
    return alone(given | await meet(os.getuid()))
"""
_PLAIN: Final = f"{_LOADER}\nimport json\nprint(json.dumps(run(json.loads(sys.stdin.readline()))))\n"
_PRIVATE: Final = ("unshare", "--mount", "--ipc", "--uts", "--propagation", "private")


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an attack; `refused` names an errno or an exception, `end` how one ended that said no more."""

    attempted: bool
    refused: str | None = None
    got: str = ""
    end: str | None = None


def level(sandbox: Sandbox) -> str:
    return sandbox._level.name


async def strike(sandbox: Sandbox, name: str, given: Mapping[str, Any], limits: RunLimits = LIMITS) -> Told:
    """Let an attacker loose in a sandbox and return what it told."""
    return told(await sandbox.run(_LOADER, _order(name, given), scope=MALLORY, limits=limits))


async def strike_one_of_its_own(sandbox: Sandbox, name: str, given: Mapping[str, Any], secret: str) -> Told:
    """Let an attacker loose on a neighbour that has its very uid, which no sandbox would give it."""
    async with contextlib.AsyncExitStack() as stack:

        async def meet(uid: int) -> dict[str, int]:
            return await stack.enter_async_context(neighbour(secret, uid))

        source, order = meeting(name, given)
        return told(await sandbox.run(source, order, scope=MALLORY, limits=LIMITS, names={"meet": meet}))


def told(result: RunResult) -> Told:
    if result.outcome == "done":
        return Told(**result.output)
    return Told(attempted="attempted" in result.log, end=result.limit or result.error)


def agent(name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the source and the input of an attacker, for tests that run it themselves."""
    return _LOADER, _order(name, given)


def meeting(name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """As `agent`, for one that awaits `meet(uid)` first, a name that its host binds, and is given what that returns."""
    return _MEETING, _order(name, given)


async def control(
    name: str, given: Mapping[str, Any], *, inherit: Sequence[int] = (), environment: Mapping[str, str] | None = None
) -> Told:
    """Run an attacker without any isolation and with all our privileges: it must succeed, or it cannot attack."""
    process = await asyncio.create_subprocess_exec(
        *(_PRIVATE if os.geteuid() == 0 else ()),
        *(sys.executable, "-I", "-c", _PLAIN),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=inherit,
        env={**os.environ, **(environment or {})},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate(json.dumps(_order(name, given)).encode() + b"\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = said.decode().splitlines()
    assert lines, f"exit {process.returncode}"
    return Told(**json.loads(lines[-1]))


def _order(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    kind, _, attack = name.partition(".")
    assert kind in KINDS
    sources = [
        (f"{_PACKAGE}.{each}", (AGENTS / f"{each}.py").read_text(encoding="utf-8")) for each in ("attempt", kind)
    ]
    return {**given, "sources": sources, "attack": attack}
