"""Runs agents: a process, a socket and a broker for each run, and the verdict on how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, Self

from datastore import values
from datastore.entry import pack_value, unpack_value
from datastore.errors import DataStoreError, InvalidArgument, SandboxUnavailable, StoreUnavailable
from datastore.models import Scope
from datastore.service.store import Store
from sandbox.broker import Broker
from sandbox.bundle import bootstrap
from sandbox.guest.wire import ProtocolError
from sandbox.isolation import Guest, Level, choose
from sandbox.limits import RunLimits
from sandbox.record import Record
from sandbox.result import Event, RunResult, Stats
from sandbox.tools import Callables, ToolBox

_EXITS: Final[dict[int, str]] = {signal.SIGXCPU: "cpu_seconds", signal.SIGKILL: "memory_bytes or cpu_seconds"}
_ENDS: Final = {"store_unavailable": "store_unavailable", "run_limit_exceeded": "limit", "memory": "limit"}

_LEAVE_SECONDS: Final = 1.0

Message = dict[str, Any]


class Sandbox:
    """Runs untrusted agents on one store, each in a process of its own that holds no credentials.

    Use it as `async with`. Starting checks what this machine can isolate.

    Args:
        store: an open store; the sandbox does not close it.
        isolation: `strict` (bubblewrap), or `unsafe_process` with `accept_no_isolation=True`; never a fallback.
        accept_no_isolation: the second yes that `unsafe_process` needs.
        run_as: the user (name or number) that launches guests; needed where the host is root.
        python: the guest's interpreter; default: the host's, or the system's where guests may not read the host's.
        limits: of each run, unless the run has its own.

    Raises:
        SandboxUnavailable: on entering; this machine cannot give that isolation; the message has the remedy.
    """

    def __init__(
        self,
        store: Store,
        *,
        isolation: str = "strict",
        accept_no_isolation: bool = False,
        run_as: str | int | None = None,
        python: str | None = None,
        limits: RunLimits | None = None,
    ) -> None:
        self._store = store
        self._limits = limits or RunLimits()
        self._level = choose(isolation, accept_no_isolation=accept_no_isolation, run_as=run_as, python=python)
        self._runs: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._level.prepare()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel the runs that are left, which kills them, and wait for their ends."""
        for task in self._runs:
            task.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)

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
        scope = scope if scope.run else scope.model_copy(update={"run": uuid.uuid4().hex})
        run = _Run(
            self._store,
            scope,
            limits or self._limits,
            ToolBox(scope, tools, names, modules),
            on_event,
            _start(code, input, file or f"{scope.agent}.py", environment),
            threads_bounded=self._level.name == "strict",
        )
        task = asyncio.ensure_future(run.go(self._level))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise


def _start(code: str, given: Any, file: str, environment: Mapping[str, str] | None) -> Message:
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


class _Run:
    """One run, from its process to its result."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        limits: RunLimits,
        tools: ToolBox,
        on_event: Callable[[Event], None] | None,
        start: Message,
        *,
        threads_bounded: bool,
    ) -> None:
        self._store = store
        self._limits = limits
        self._record = Record(limits, on_event)
        self._broker = Broker(store, scope, limits, tools=tools, record=self._record, say=self._hear)
        bounds = {
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "threads": limits.threads if threads_bounded else None,
        }
        self._start = {"start": {**start, **tools.listing(), "limits": bounds}}
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._verdict: asyncio.Future[RunResult] = loop.create_future()
        self._stats = Stats()

    async def go(self, level: Level) -> RunResult:
        began = time.perf_counter()
        async with AsyncExitStack() as stack:
            guest = await self._spawn(level, stack)
            await self._until(self._ready, self._limits.start_seconds)
            if not self._ready.done():
                raise await _no_start(guest)
            ready = time.perf_counter()
            self._broker.send(self._start)
            timely = await self._until(self._verdict, self._limits.wall_seconds)
            ended = time.perf_counter()
            if timely and not self._verdict.done():
                await _leave(guest)
        result = await self._judge(guest, timely=timely)
        await self._flush()
        stats = Stats(
            calls=self._record.calls,
            bytes_in=self._record.bytes_in,
            bytes_out=self._record.bytes_out,
            start_seconds=ready - began,
            run_seconds=ended - ready,
        )
        return replace(
            result,
            log=self._record.text(),
            log_dropped=self._record.log_dropped,
            operations=tuple(self._record.operations),
            stats=stats,
        )

    async def _spawn(self, level: Level, stack: AsyncExitStack) -> Guest:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            ours.send(self._broker.hello())
            await self._broker.attach(ours)
            stack.push_async_callback(self._broker.close)
            guest = level.spawn(bootstrap(), theirs)
        stack.push_async_callback(_end, guest)
        return guest

    async def _until(self, future: asyncio.Future[Any], seconds: float) -> bool:
        """Wait for a message of the guest, the end of its connection, or the deadline; say whether it came in time."""
        lost = asyncio.ensure_future(self._broker.lost.wait())
        try:
            done, _ = await asyncio.wait({future, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        return bool(done)

    def _hear(self, message: Message) -> None:
        """Take a message that is neither a call nor log."""
        if not self._ready.done() and message == {"ready": True}:
            self._ready.set_result(None)
        elif self._ready.done() and not self._verdict.done():
            self._verdict.set_result(_verdict(message))
        else:
            raise ProtocolError("a message out of turn")

    async def _judge(self, guest: Guest, *, timely: bool) -> RunResult:
        if self._broker.violation is not None:
            return RunResult("limit", limit="protocol", error=f"the agent broke the protocol: {self._broker.violation}")
        if self._verdict.done():
            return self._verdict.result()
        if not timely:
            late = f"the run did not end within {self._limits.wall_seconds:g} seconds"
            return RunResult("limit", limit="wall_seconds", error=late)
        status = await guest.wait()
        if (limit := _killed(status)) is not None:
            return RunResult("limit", limit=limit, error=f"the run was ended by the kernel: {limit}")
        return RunResult("raised", error=f"the agent's process ended before it gave a result (status {status})")

    async def _flush(self) -> None:
        """Write the reads of this run; where the store is away they wait for it."""
        try:
            await self._store.flush()
        except StoreUnavailable:
            return


async def _leave(guest: Guest) -> None:
    """Let a guest that has closed its socket end by itself, so that its exit status says why."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(guest.wait(), _LEAVE_SECONDS)


async def _end(guest: Guest) -> None:
    guest.kill()
    await guest.wait()


async def _no_start(guest: Guest) -> SandboxUnavailable:
    said = (await guest.stderr()).strip().splitlines()
    reason = f"the guest did not start: {said[-1]}" if said else "the guest did not start in time"
    return SandboxUnavailable(
        reason, "Run `datastore run` again with --isolation unsafe_process to tell machine from agent."
    )


def _killed(status: int) -> str | None:
    """Return the limit whose signal ended the guest; bubblewrap reports one as 128 plus its number."""
    return _EXITS.get(-status if status < 0 else status - 128)


def _verdict(message: Message) -> RunResult:
    """Read the guest's last word, which is as untrusted as every other.

    Raises:
        ProtocolError: it is neither a result nor an error.
    """
    result, raised = message.get("result"), message.get("raised")
    if isinstance(result, dict) and len(message) == 1:
        try:
            return RunResult("done", output=values.plain(unpack_value(result), "result"))
        except (DataStoreError, ValueError, TypeError) as error:
            raise ProtocolError("the result is no value") from error
    if not isinstance(raised, dict) or len(message) != 1:
        raise ProtocolError("the last message is neither a result nor an error")
    return _raised(raised)


def _raised(raised: Message) -> RunResult:
    error, trace, code, fields = (raised.get(name) for name in ("error", "traceback", "code", "fields"))
    if not isinstance(error, str) or not isinstance(trace, str):
        raise ProtocolError("the error is no text")
    outcome = _ENDS.get(code, "raised") if isinstance(code, str) else "raised"
    limit = None
    if outcome == "limit":
        named = fields.get("limit") if isinstance(fields, dict) else None
        limit = "memory_bytes" if code == "memory" else str(named)[:100]
    return RunResult(outcome, error=error, traceback=trace, limit=limit)  # type: ignore[arg-type]  # one of _ENDS
