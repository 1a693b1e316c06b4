"""Runs agents, each in a process of its own, and ends those that are left when it is left itself.

One subject, so longer than most files.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Self

from datastore import values
from datastore.entry import pack_value
from datastore.errors import ConfigurationError, InvalidArgument
from datastore.models import Scope
from datastore.service.store import Store
from sandbox.isolation import Level, choose
from sandbox.limits import PoolLimits, RunLimits
from sandbox.pool import Pool
from sandbox.result import Event, RunResult
from sandbox.run import Run
from sandbox.slot import finish
from sandbox.tools import Callables, ToolBox


class Sandbox:
    """Runs untrusted agents on one store, each in a process of its own that holds no credentials.

    Use it as `async with`. Starting checks what this machine can isolate.

    Args:
        store: an open store; the sandbox does not close it.
        isolation: `strict` (bubblewrap), `landlock` (without namespaces), or `unsafe_process` with
            `accept_no_isolation=True`; never a fallback. Or a Level, such as External(["/path/to/launcher"]), which has
            such settings itself.
        accept_no_isolation: the second yes that `unsafe_process` needs.
        run_as: the user (name or number) that launches guests; needed where the host is root. At `landlock` a range of
            uids, such as 200000-200063, with one for each guest.
        python: the guest's interpreter; default: the host's, or the system's where guests may not read the host's.
        site_packages: a folder of packages that agents may import, read-only; its `.pth` files are not executed.
        limits: of each run, unless the run has its own.
        zygote: fork guests from a sandboxed parent instead of starting each anew: many more runs a second, for a bit
            less distance between them (they share a hash seed and an address layout).
        pool_size: guests kept warm for runs to come. 0 starts one for each run, which suits a script; a service that
            runs agents all day keeps as many as runs arrive together. Each holds some 11 MiB.
        runs_at_once: runs that have a guest at the same time; more wait.
        queue_size: runs that wait, while users take turns; of more, the newest of the user who has most ends at once
            with the outcome `no_slot`.
        queue_seconds: how long a run waits before it ends with `no_slot`.
        slot_idle_seconds: after how long a guest that nobody took is replaced.

    Raises:
        SandboxUnavailable: on entering; this machine cannot give that isolation; the message has the remedy.
    """

    def __init__(
        self,
        store: Store,
        *,
        isolation: str | Level = "strict",
        accept_no_isolation: bool = False,
        run_as: str | int | None = None,
        python: str | None = None,
        site_packages: str | os.PathLike[str] | None = None,
        limits: RunLimits | None = None,
        zygote: bool = False,
        pool_size: int = 0,
        runs_at_once: int = 64,
        queue_size: int = 256,
        queue_seconds: float = 10.0,
        slot_idle_seconds: float = 300.0,
    ) -> None:
        self._store = store
        self._limits = limits or RunLimits()
        self._level = _level(
            isolation,
            runs_at_once + 2 * pool_size,  # A run's guest, a warm one, and one that is being replaced.
            accept_no_isolation=accept_no_isolation,
            run_as=run_as,
            python=python,
            zygote=zygote,
            site_packages=None if site_packages is None else os.fspath(site_packages),
        )
        bounds = PoolLimits(
            size=pool_size,
            runs_at_once=runs_at_once,
            queue_size=queue_size,
            queue_seconds=queue_seconds,
            slot_idle_seconds=slot_idle_seconds,
            start_seconds=self._limits.start_seconds,
        )
        self._pool = Pool(self._level, bounds)
        self._is_open = False
        self._runs: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._level.prepare()
        self._pool.open()
        self._is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel the runs that are left, which kills them, and wait until nothing of them or of the pool is left."""
        self._is_open = False
        await finish(self._close())

    async def _close(self) -> None:
        for task in self._runs:
            task.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self._pool.close()
        await self._level.close()

    async def run(
        self,
        code: str,
        input: Any = None,  # noqa: A002 - the agent's word for it
        *,
        scope: Scope,
        file: str | None = None,
        tools: Callables | None = None,
        names: Callables | None = None,
        modules: Mapping[str, Callables] | None = None,
        environment: Mapping[str, str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        limits: RunLimits | None = None,
    ) -> RunResult:
        """Run an agent's source and say how it ended; whatever the agent does, this returns.

        Args:
            code: the module's source, with `run(input_dict, tools)`, async or not.
            input: JSON, or bytes, given to `run`; None gives an empty dict.
            scope: who acts; a run id is minted where it has none.
            file: the name in tracebacks; default: the agent's name.
            tools: host callables, as `tools["name"]`.
            names: host callables bound as globals, dotted if need be.
            modules: host callables as importable modules.
            environment: added to the agent's `os.environ`, which holds nothing of the host.
            on_event: told of log and operations while the run goes on.
            limits: of this run.

        Raises:
            DataStoreError: the host's own mistake: an input that is not JSON, a tool that is not callable, no
                isolation on this machine.
        """
        if not self._is_open:
            raise InvalidArgument("this sandbox is not open. Write: async with Sandbox(store) as sandbox: ...")
        scope = scope if scope.run else scope.model_copy(update={"run": uuid.uuid4().hex})
        run = Run(
            self._store,
            scope,
            limits or self._limits,
            ToolBox(scope, tools, names, modules),
            on_event,
            _start(code, input, file or f"{scope.agent}.py", environment),
            threads_bounded=self._level.name in {"strict", "landlock"},
        )
        task = asyncio.ensure_future(run.go(self._pool))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise


def _level(isolation: str | Level, guests: int, **settings: Any) -> Level:
    if isinstance(isolation, str):
        return choose(isolation, guests=guests, **settings)
    given = [name for name, each in settings.items() if each not in (None, False)]
    if given:
        raise ConfigurationError(f"{', '.join(given)} must be given to the level itself, not beside isolation=Level.")
    return isolation


def _start(code: str, given: Any, file: str, environment: Mapping[str, str] | None) -> dict[str, Any]:
    if not isinstance(code, str):
        raise InvalidArgument(f"code must be the agent's source text, got {type(code).__name__}.")
    content = values.plain({} if given is None else given, "input")
    values.check_size(values.size(content), values.VALUE_BYTES, "input")
    filled = dict(environment or {})
    if not all(isinstance(part, str) for pair in filled.items() for part in pair):
        raise InvalidArgument("environment holds strings only. Write str(...) for each value.")
    return {
        "code": values.plain(code, "code"),
        "file": file,
        "input": pack_value({"value": content}),
        "environment": filled,
    }
