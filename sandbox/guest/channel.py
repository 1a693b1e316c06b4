"""One connected socket, shared by every face, thread and event loop of a client.

A caller sends its request and waits for the reply with its number. Whoever waits reads for all: one thread at a time
pumps the socket and hands each reply to its waiter, so no reader thread is needed and a single caller pays nothing for
the others. An event loop listens on the same socket; a synchronous call inside a coroutine pumps by itself, and so
never waits for the loop that it holds up. One subject, so longer than most files.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import select
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from datastore.errors import DataStoreError, NotSupported, StoreUnavailable, ValueTooLarge, from_dict
from sandbox.guest import wire
from sandbox.guest.batches import too_many_values
from sandbox.guest.hints import Unawaited
from sandbox.guest.loader import Loader, is_one_read

_CHUNK: Final = 64 * 1024
"""Bytes of one read: for more, the allocator would map memory anew, which takes longer than all the rest."""
_RECONNECT: Final = "This connection has ended, so make a new one, and read before you repeat a write."
_HUNG_UP: Final = "the host closed the connection"

Message = dict[str, Any]


class _Waiter:
    """Someone who waits for one reply; `wake` tells them, from whichever thread read it."""

    __slots__ = ("reply", "wake")

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self.reply: Message | None = None
        self.wake = wake


class Channel:
    """Requests and replies over one socket.

    Args:
        sock: a connected stream socket; the channel owns it. The first frame from the host is its hello.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = wire.Decoder(2**31)  # The host is trusted, and bounds its replies by itself.
        self._inbox: list[Message] = []
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Waiter] = {}
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._news = threading.Condition()
        self._sleepers = 0
        self._ended: str | None = None
        self._loops: dict[asyncio.AbstractEventLoop, _Listener] = {}
        self._pid = os.getpid()
        self.unawaited: dict[int, Unawaited] = {}
        self.unfinished: dict[int, DataStoreError] = {}
        self.locks: dict[tuple[str | None, str, str], object] = {}
        self.limits: dict[str, int] = self._greet()

    def _greet(self) -> dict[str, int]:
        hello = (self.receive() or {}).get("hello", {})
        if hello.get("protocol") != wire.PROTOCOL:
            raise wire.ProtocolError(f"the host speaks protocol {hello.get('protocol')!r}, not {wire.PROTOCOL}")
        limits: dict[str, int] = hello["limits"]
        return limits

    def receive(self) -> Message | None:
        """Return the next message that answers no request, or None at the end; for the start of a run."""
        while not self._inbox and self._ended is None:
            self._pump(wait=True)
        return self._inbox.pop(0) if self._inbox else None

    def post(self, message: Message) -> None:
        """Send a message that has no reply.

        Raises:
            ValueTooLarge: it does not fit into a frame; nothing was sent.
        """
        self._send(self._pack(message))

    def tell(self, request: Message) -> None:
        """Send a request whose answer nobody needs, where the connection still is."""
        with contextlib.suppress(OSError, DataStoreError):
            self._send(self._pack({"id": next(self._numbers), **request}))

    def call(self, request: Message) -> Any:
        """Send a request and wait for its reply, from any thread.

        Raises:
            DataStoreError: the host refused or failed.
        """
        waiter = _Waiter()
        number, frame = self._enrol(request, waiter)
        try:
            try:
                if waiter.reply is None:
                    self._send(frame)
            except OSError:
                self._end(_HUNG_UP)
            self._wait(waiter)
        finally:
            self._pending.pop(number, None)
        return _open(waiter.reply)

    def acall(self, request: Message) -> Awaitable[Any]:
        """Send a request; await its reply. Concurrent calls share the socket, and reads of one turn a request.

        Raises:
            DataStoreError: the host refused or failed; raised by the awaitable.
        """
        listener = self._listener()
        return listener.loader.ask(request) if is_one_read(request) else self._ask(listener, request)

    async def _ask(self, listener: _Listener, request: Message) -> Any:
        async with listener.polls if request.get("wait_seconds") else listener.slots:
            arrived = listener.loop.create_future()
            waiter = _Waiter(functools.partial(listener.wake, arrived))
            number, frame = self._enrol(request, waiter)
            try:
                try:
                    if waiter.reply is None:
                        await self._asend(frame)
                except OSError:
                    self._end(_HUNG_UP)
                if waiter.reply is None:
                    with listener:
                        await arrived
            finally:
                self._pending.pop(number, None)
        return _open(waiter.reply)

    @property
    def has_ended(self) -> bool:
        """Whether no call can be made any more."""
        return self._ended is not None

    def close(self) -> None:
        """Close the socket; whoever waits gets an error."""
        self._end("the data_store was closed")
        for listener in self._loops.values():
            listener.leave()
        with contextlib.suppress(OSError):  # Closing alone does not end what another thread is reading.
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._sending:
            self._socket.close()

    def _enrol(self, request: Message, waiter: _Waiter) -> tuple[int, bytes]:
        if os.getpid() != self._pid:
            raise NotSupported("this data_store was made before a fork. Connect again in the child.")
        number = next(self._numbers)
        frame = self._pack({"id": number, **request})
        self._pending[number] = waiter
        if self._ended is not None:
            waiter.reply = _gone(self._ended, may_have_written=False)
        return number, frame

    def _pack(self, message: Message) -> bytes:
        """Return a frame that the host will take: what it would end the run for is refused here."""
        frame = wire.pack(message)
        limit = self.limits["frame_bytes"]
        if len(frame) > limit:
            raise ValueTooLarge(
                f"one call would send {len(frame):,} bytes; the limit is {limit:,}. Send less at once.",
                bytes=len(frame),
                limit_bytes=limit,
            )
        if wire.nodes(frame) > wire.MOST_NODES:
            raise too_many_values()
        return frame

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._finish(memoryview(frame), begun=False)

    async def _asend(self, frame: bytes) -> None:
        """Send without holding up the loop, in which the host may live too: a thread sends what does not fit."""
        if not self._sending.acquire(blocking=False):
            await asyncio.shield(asyncio.to_thread(self._send, frame))
            return
        rest = memoryview(frame)
        try:
            rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            pass
        except BaseException:
            self._sending.release()
            raise
        if rest:
            await asyncio.shield(asyncio.to_thread(self._finish_and_release, rest))
        else:
            self._sending.release()

    def _finish_and_release(self, rest: memoryview) -> None:
        try:
            self._finish(rest, begun=True)
        finally:
            self._sending.release()

    def _finish(self, rest: memoryview, *, begun: bool) -> None:
        """Send all of it; while the host does not read, read what it says, so that neither waits for the other."""
        try:
            while rest:
                begun, before = True, begun  # An interruption may come between the sending and this line.
                try:
                    rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    begun = before
                    readable, _, _ = select.select([self._socket], [self._socket], [])
                    if readable:
                        self._pump_if_free()
        except BaseException:
            if begun and rest:  # Half a frame is out, so whatever followed it would be taken for its other half.
                self._end("a call was interrupted while it was being sent")
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            raise

    def _wait(self, waiter: _Waiter) -> None:
        while waiter.reply is None:
            if not self._reading.acquire(blocking=False):
                self._sleep(waiter)
                continue
            try:
                while waiter.reply is None:
                    self._pump(wait=True)
            finally:
                self._release()

    def _sleep(self, waiter: _Waiter) -> None:
        """Wait until the thread that reads has this reply, or reads no more."""
        with self._news:
            self._sleepers += 1  # Before it looks, while readers look for sleepers last: one of both sees the other.
            try:
                self._news.wait_for(lambda: waiter.reply is not None or not self._reading.locked())
            finally:
                self._sleepers -= 1

    def _tell_sleepers(self) -> None:
        if self._sleepers:
            with self._news:
                self._news.notify_all()

    def _pump_if_free(self) -> None:
        """Read what has come, unless another thread is reading; it hands every reply on."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._pump(wait=False)
        finally:
            self._release()

    def _release(self) -> None:
        self._reading.release()
        self._tell_sleepers()

    def _pump(self, *, wait: bool) -> None:
        try:
            data = self._socket.recv(_CHUNK, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(_HUNG_UP)
            return
        for payload in self._decoder.feed(data):
            self._deliver(wire.decode(payload))

    def _deliver(self, message: Message) -> None:
        if "id" not in message:
            self._inbox.append(message)
        elif (waiter := self._pending.pop(message["id"], None)) is not None:
            self._hand(waiter, message)

    def _hand(self, waiter: _Waiter, message: Message) -> None:
        waiter.reply = message
        if waiter.wake is not None:
            waiter.wake()
        else:
            self._tell_sleepers()

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        while self._pending:
            _, waiter = self._pending.popitem()
            self._hand(waiter, _gone(self._ended, may_have_written=True))

    def _listener(self) -> _Listener:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops = {each: known for each, known in self._loops.items() if not each.is_closed()}
            self._loops[loop] = _Listener(loop, self._socket.fileno(), self._pump_if_free, self.limits, self._ask)
        return self._loops[loop]


class _Listener:
    """One event loop's interest in the socket: it listens while a call of it waits, and for a turn after.

    The next of several calls one after another so finds it listening still.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptor: int,
        read: Callable[[], None],
        limits: dict[str, int],
        ask: Callable[[_Listener, Message], Coroutine[Any, Any, Any]],
    ) -> None:
        self.loop = loop
        self.loader = Loader(loop, functools.partial(ask, self), limits["frame_bytes"])
        self.slots = asyncio.Semaphore(limits["in_flight"])
        self.polls = asyncio.Semaphore(limits["long_polls"])  # Others must not wait for a slot as long as these do.
        self._descriptor = descriptor
        self._read = read
        self._waiting = 0
        self._listening = False
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        self._waiting += 1
        if not self._listening:
            self._listening = True
            self.loop.add_reader(self._descriptor, self._read)

    def __exit__(self, *_: object) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self.loop.call_soon(self._rest)

    def _rest(self) -> None:
        if self._waiting == 0:
            self.leave()

    def leave(self) -> None:
        """Listen no more: before the socket closes too, since its number may soon be another's."""
        if self._listening and threading.get_ident() == self._thread and not self.loop.is_closed():
            self._listening = False
            self.loop.remove_reader(self._descriptor)

    def wake(self, arrived: asyncio.Future[None]) -> None:
        """Tell a call of this loop, from whichever thread, that its reply is there."""
        if threading.get_ident() == self._thread:
            _resolve(arrived)
            return
        with contextlib.suppress(RuntimeError):  # The loop was closed with the call in flight.
            self.loop.call_soon_threadsafe(_resolve, arrived)


def _resolve(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)


def _gone(reason: str, *, may_have_written: bool) -> Message:
    return {"error": StoreUnavailable(reason, may_have_written=may_have_written, advice=_RECONNECT).as_dict()}


def _open(reply: Message | None) -> Any:
    if reply is None:
        raise StoreUnavailable("a reply was lost", may_have_written=True)
    if "error" in reply:
        raise from_dict(reply["error"])
    return reply["ok"]
