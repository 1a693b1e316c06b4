"""What this machine can do: run an agent of our own at a level, and open a store. A check answers and never raises."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from datastore.assembly import open_store
from datastore.errors import DataStoreError
from datastore.models import Scope
from datastore.settings import Settings
from sandbox import Sandbox
from sandbox.isolation import Level

_AGENT: Final = "def run(): return data_store.add('checked', True)"
_SCOPE: Final = Scope(user="doctor", agent="doctor")
_REPORT: Final = "This is a mistake of this program; please report it."


@dataclass(frozen=True, slots=True)
class Finding:
    """How one check ended.

    Attributes:
        name: What was checked: a level, or `store`.
        configured: Whether the settings ask for it.
        seconds: How long it took.
        reason: Why it does not work; None if it does.
        remedy: What to do about that; None if nothing, or if the reason says it.
        code: The error's code; None if it works.
    """

    name: str
    configured: bool
    seconds: float
    reason: str | None = None
    remedy: str | None = None
    code: str | None = None

    @property
    def works(self) -> bool:
        """Whether the check was passed."""
        return self.reason is None


async def level(name: str, make: Callable[[], Level], *, configured: bool) -> Finding:
    """Start a level, and run an agent at it on a store in memory."""

    async def run() -> None:
        async with open_store("sqlite://") as store, Sandbox(store, isolation=make()) as sandbox:
            result = await sandbox.run(_AGENT, scope=_SCOPE)
        if result.output is not True:
            raise RuntimeError(f"the agent ended with {result.outcome}: {result.error}")

    return await _check(Finding(name, configured, 0.0), run)


async def store(settings: Settings) -> Finding:
    """Open the store of the settings, which makes its indexes and compares clocks, and look into it."""

    async def look() -> None:
        async with open_store(settings=settings) as opened:
            await opened.engine.owners(None, 1, opened.clock.now())

    return await _check(Finding("store", True, 0.0), look)


async def _check(finding: Finding, work: Callable[[], Awaitable[None]]) -> Finding:
    began = time.perf_counter()
    try:
        await work()
    except DataStoreError as error:
        reason = error.fields.get("reason", error.message)
        finding = replace(finding, reason=reason, remedy=error.fields.get("remedy"), code=error.code)
    except Exception as error:  # noqa: BLE001 - on a machine where nothing works anything may be raised
        finding = replace(finding, reason=f"{type(error).__name__}: {error}", remedy=_REPORT, code="internal")
    return replace(finding, seconds=time.perf_counter() - began)
