"""Runs example agents of one user together, each in a sandbox of its own, started in any order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from datastore import Grant, Scope, Store
from sandbox import Event, RunLimits, RunResult, Sandbox
from tests.docs.pages import ROOT

AGENTS: Final = ROOT / "docs" / "examples" / "cross_agent"
USER: Final = "alice"


@dataclass(frozen=True)
class Agent:
    """One run: an example and its input, and what its host sets."""

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    limits: RunLimits | None = None
    grants: tuple[Grant, ...] = (Grant.own(),)


class Together:
    """Runs agents of one user on one store."""

    def __init__(self, store: Store, sandbox: Sandbox) -> None:
        self.store = store
        self._sandbox = sandbox

    async def run(self, name: str, /, **given: Any) -> RunResult:
        """Run one."""
        return await self._run(Agent(name, given), asyncio.Event())

    async def at_once(self, *agents: Agent) -> list[RunResult]:
        """Start all, wait for all."""
        return list(await asyncio.gather(*(self._run(agent, asyncio.Event()) for agent in agents)))

    async def in_order(self, *agents: Agent) -> list[RunResult]:
        """Start each when the one before has ended, or waits for what is not there yet; wait for all."""
        running: list[asyncio.Task[RunResult]] = []
        async with asyncio.TaskGroup() as group:
            for agent in agents:
                waits = asyncio.Event()
                running.append(group.create_task(self._run(agent, waits)))
                await waits.wait()
        return [task.result() for task in running]

    async def see(self, expression: str) -> Any:
        """What an expression over the user's data_store gives."""
        scope = Scope(user=USER, agent="test")
        return (await self._sandbox.run(f"def run():\n    return {expression}", scope=scope)).output

    async def _run(self, agent: Agent, waits: asyncio.Event) -> RunResult:
        def listen(event: Event) -> None:
            if event.operation and event.operation.name == "watch":
                waits.set()

        code = (AGENTS / f"{agent.name}.py").read_text(encoding="utf-8")
        scope = Scope(user=USER, agent=agent.name, grants=agent.grants)
        try:
            return await self._sandbox.run(code, agent.given, scope=scope, limits=agent.limits, on_event=listen)
        finally:
            waits.set()
