"""One socket and its scope: bytes in, budgets, calls of the store and of tools, bytes out.

The peer is hostile until shown otherwise. Its scope is this object's and no message can name another. A frame is
bounded before it is buffered and again before it is decoded; at most `in_flight` calls run at once and replies that
the peer does not read stop the reading. Of these calls only a few may be long polls; more wait aside, in order, and
hold up nobody else. A refused call is answered; a broken protocol ends the connection, with a
reason. Every call that was begun is ended before `ended` returns.

Workers serve the calls: tasks that take one after another, since a task for each would take longer than most calls.
What is cancelled with the connection, tools and long polls, has a task of its own. One subject, so longer than most
files.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from datastore import dispatch, values
from datastore.errors import DataStoreError, RunLimitExceeded
from datastore.metering import ACCOUNT, Metered
from datastore.models import Scope
from datastore.service.store import Store
from sandbox.guest import wire
from sandbox.leases import Leases
from sandbox.limits import UNSENT_BYTES, RunLimits, gather_bytes
from sandbox.pacing import Meter, meter
from sandbox.polls import LongPolls, is_long_poll
from sandbox.record import Record
from sandbox.tools import ToolBox

_log = logging.getLogger("datastore.broker")

_TURN_SECONDS: Final = 0.0005
"""How long frames of one peer are taken before the others have their turn."""

_READ_BYTES: Final = 64 * 1024
"""Bytes of one read, into memory that is used again: a plain protocol is given a newly mapped piece for each."""

Message = dict[str, Any]
Call = tuple[int, Message, int, DataStoreError | None]
"""The number and the message of a call, its bytes, and its refusal, if that is settled already."""


class Broker(asyncio.BufferedProtocol):
    """Serves one connected peer.

    Args:
        store: where operations go.
        scope: who the peer is.
        limits: budgets and bounds.
        tools: what it may call besides.
        record: counts budgets and takes note of calls and log.
        say: given every message that is neither call nor log; without it, such a message ends the connection.
    """

    def __init__(
        self,
        store: Store,
        scope: Scope,
        limits: RunLimits,
        *,
        tools: ToolBox | None = None,
        record: Record | None = None,
        say: Callable[[Message], None] | None = None,
    ) -> None:
        self._store = store
        self._scope = scope
        self._limits = limits
        self._tools = tools or ToolBox(scope)
        self._say = say
        self.record = record or Record(limits, keep=False)
        self.violation: str | None = None
        self.lost = asyncio.Event()
        self.ended = asyncio.Event()
        self._decoder = wire.Decoder(wire.frame_limit(scope.limits.value_bytes))
        self._room = memoryview(bytearray(_READ_BYTES))
        self._outbox: list[bytes] = []
        self._backlog: deque[bytes] = deque()
        self._ready: deque[Call] = deque()
        self._in_flight = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._cancellable: set[asyncio.Task[None]] = set()
        self._polls = LongPolls(limits)
        self._leases = Leases()
        self._transport: asyncio.Transport | None = None
        self._choked = False
        self._meter: Meter
        self._rest: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket has this kind
        self._transport = transport
        self._meter = meter(self._scope.user)  # Of the loop that serves; who made this may be in another thread.
        transport.set_write_buffer_limits(high=UNSENT_BYTES)

    def hello(self) -> bytes:
        """Return the first frame: the protocol's number and the peer's limits, never the user."""
        limits = {
            "value_bytes": self._scope.limits.value_bytes,
            "metadata_bytes": self._scope.limits.metadata_bytes,
            "frame_bytes": self._decoder.limit,
            "in_flight": self._limits.in_flight,
            "long_polls": self._polls.most,
            "log_bytes": self._limits.log_bytes,
            "gather_bytes": gather_bytes(self._limits),
        }
        return wire.pack({"hello": {"protocol": wire.PROTOCOL, "limits": limits}})

    async def attach(self, sock: socket.socket) -> None:
        """Serve a connected socket; the broker owns it from here on."""
        sock.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: self, sock=sock)

    def send(self, message: Message) -> int:
        """Send a message, unless the peer is gone; return its bytes. Those of one turn of the loop leave together."""
        frame = wire.pack(message)
        self._outbox.append(frame)
        if self._in_flight <= 1:  # Nobody else could say anything in this turn.
            self._post()
        elif len(self._outbox) == 1:
            asyncio.get_running_loop().call_soon(self._post)
        return len(frame)

    def _post(self) -> None:
        frames, self._outbox = self._outbox, []
        if frames and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(frames))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """Say where the next bytes go."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes of the peer."""
        began = time.perf_counter()
        try:
            self._backlog.extend(self._decoder.feed(self._room[:nbytes]))
            self._proceed(began)
        except wire.ProtocolError as error:
            self._violated(error.reason)

    def pause_writing(self) -> None:
        """Stop reading from a peer that does not read."""
        self._choked = True

    def resume_writing(self) -> None:
        """Go on."""
        self._choked = False
        self._proceed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Cancel tools and long polls of a peer that is gone; other operations run to their end."""
        self.lost.set()
        self._backlog.clear()
        if self._rest is not None:
            self._rest.cancel()
        self._meter.leave(self._proceed)
        self._polls.parked.clear()
        for task in self._cancellable:
            task.cancel()
        while self._idle:
            self._wake()
        self._settle()

    async def close(self) -> None:
        """Close the connection; return when every call that was begun has ended, and its locks are given back."""
        self._abort()
        await self.ended.wait()
        await self._leases.give_back(self._store, self._scope)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _proceed(self, began: float | None = None) -> None:
        """Begin calls from the backlog while there is room; read on only when none waits."""
        if self._may_begin() and not self._must_rest():
            try:
                self._take_turn(began or time.perf_counter())
            except wire.ProtocolError as error:
                self._violated(error.reason)
        if self._ready:
            self._wake()
        if len(self._ready) > 1:
            asyncio.get_running_loop().call_soon(self._wake_more)
        if self._may_begin():
            asyncio.get_running_loop().call_soon(self._proceed)
        if self._transport is None or self._transport.is_closing():
            return
        if self._backlog or self._choked:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _take_turn(self, began: float) -> None:
        """Take frames, at least one, until the others should have their turn."""
        try:
            self._take(self._backlog.popleft())
            while self._may_begin() and time.perf_counter() - began < _TURN_SECONDS and not self._must_rest():
                self._take(self._backlog.popleft())
        finally:
            self._meter.spend(began)

    def _must_rest(self) -> bool:
        """Say whether other users come first for a while, after which it goes on."""
        if seconds := self._meter.rest():
            self._rest = asyncio.get_running_loop().call_later(seconds, self._resume)
        return self._rest is not None

    def _resume(self) -> None:
        """Go on, unless there is still reason to rest."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._proceed()

    def _may_begin(self) -> bool:
        ready = not self._choked and self._rest is None
        room = bool(self._backlog) and ready and self._in_flight < self._limits.in_flight
        return room and self._meter.admits(self._proceed)

    def _take(self, payload: bytes) -> None:
        """Take one frame, unless the peer has long been told that its budget is used up, and goes on all the same."""
        if self.record.flooded(len(payload)):
            raise wire.ProtocolError("it went on calling after its budget was used up")
        self._accept(wire.unpack(payload), len(payload))

    def _accept(self, message: Message, size: int) -> None:
        number = message.pop("id", None)
        if number is None:
            return self._accept_note(message, size)
        if type(number) is not int or not 0 < number < 2**53:
            raise wire.ProtocolError("a request has no usable id")
        refusal = self._polls.refusal() if is_long_poll(message) else None
        if is_long_poll(message) and refusal is None:
            self._polls.parked.append((number, message, size))
            self._begin_polls()
        elif "tool" in message:
            self._begin((number, message, size, None))
        else:
            self._in_flight += 1
            self._meter.begin()
            self._ready.append((number, message, size, refusal))
        return None

    def _begin_polls(self) -> None:
        for call in self._polls.ready():
            self._polls.begun(self._begin((*call, None)))

    def _begin(self, call: Call) -> asyncio.Task[None]:
        """Begin a call that is cancelled with the connection."""
        self._in_flight += 1
        return self._start(self._serve(*call), self._cancellable)

    def _start(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(Metered(work, self._meter))
        tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _wake(self) -> None:
        """Let one more worker look for calls, where one more may be."""
        while self._idle:
            if not (idle := self._idle.pop()).done():  # A loop that is shut down has cancelled it.
                return idle.set_result(None)
        if len(self._workers) < self._limits.in_flight:
            self._start(self._work(), self._workers)
        return None

    def _wake_more(self) -> None:
        """Let each call that the worker before has left have one of its own: it waits for the engine."""
        for _ in self._ready:
            self._wake()

    async def _work(self) -> None:
        """Serve the calls that are ready, one after another, and wait for the next, until the peer is gone."""
        loop = asyncio.get_running_loop()
        while True:
            while self._ready:
                await self._operate(self._ready.popleft())
            if self.lost.is_set():
                return
            if self._backlog:
                loop.call_soon(self._resume)  # Not here: what this took is not counted yet.
            idle = loop.create_future()
            self._idle.append(idle)
            await idle

    async def _operate(self, call: Call) -> None:
        try:
            await self._serve(*call)
        finally:
            self._meter.end()

    def _accept_note(self, message: Message, size: int) -> None:
        if self._say is None:
            raise wire.ProtocolError("a frame is no request")
        if isinstance(text := message.get("log"), str):
            self.record.log(text, size)
        else:
            self._say(message)

    async def _serve(self, number: int, message: Message, size: int, refusal: DataStoreError | None) -> None:
        ACCOUNT.set(self._meter)
        started = time.perf_counter()
        try:
            answer = await self._answer(message, size, refusal)
            answer, sent = self._reply(number, message, answer)
        except asyncio.CancelledError:
            self.record.called(message, {"error": {"code": "cancelled"}}, time.perf_counter() - started)
            raise
        finally:
            self._in_flight -= 1
        self.record.spend(0, sent)
        self.record.called(message, answer, time.perf_counter() - started)

    def _reply(self, number: int, message: Message, answer: Message) -> tuple[Message, int]:
        """Send an answer, or that it is none; return what was sent, and its bytes."""
        try:
            return answer, self.send({"id": number, **answer})
        except (ValueError, RecursionError) as error:
            refusal = {"error": dispatch.describe(error, message)}
            return refusal, self.send({"id": number, **refusal})

    async def _answer(self, message: Message, size: int, refusal: DataStoreError | None) -> Message:
        try:
            self.record.begin(size)
        except RunLimitExceeded as error:
            return {"error": error.as_dict()}
        if refusal is not None:
            return {"error": refusal.as_dict()}
        if "tool" not in message:
            answer = await dispatch.dispatch(self._store, self._scope, message)
            self._leases.note(message, answer)
            return answer
        try:
            answer = await self._tools.call(message)
            values.check_size(
                len(values.compact(answer).encode()), self._decoder.limit - wire.FRAME_SLACK, "the tool's result"
            )
        except DataStoreError as error:
            return {"error": error.as_dict()}
        return {"ok": answer}

    def _done(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        self._cancellable.discard(task)
        self._polls.ended(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a call failed outside of its boundary", exc_info=error)
            self._abort()
        self._begin_polls()
        self._resume()
        self._settle()

    def _settle(self) -> None:
        if not self._workers and not self._cancellable and self.lost.is_set():
            while self._ready:  # Where a worker has failed.
                self._ready.popleft()
                self._meter.end()
            self.ended.set()

    def _violated(self, reason: str) -> None:
        self.violation = self.violation or reason
        self._backlog.clear()
        self._abort()
