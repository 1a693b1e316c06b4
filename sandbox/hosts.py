"""The hosts of connected data_stores: a broker in a thread of its own, or in the loop of a store that is open.

A connection lives until it is closed, until nobody holds it any more, or until the main thread ends.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - registers its own end before ours is registered
import os
import socket
import threading
import weakref
from concurrent.futures import Future
from typing import Any, Final

from datastore.assembly import open_store
from datastore.errors import NotSupported
from datastore.models import Scope
from datastore.service.store import Store
from datastore.settings import Settings, load
from sandbox.broker import Broker
from sandbox.guest.channel import Channel
from sandbox.limits import RunLimits

_UNBOUNDED: Final = RunLimits(
    wall_seconds=10**9, calls=2**53, bytes=2**53, in_flight=64, long_polls=32, memory_bytes=2**53, log_bytes=0
)
"""The limits of a peer in the host's own process, which no limit could hold anyway."""


class Hosted:
    """A thread with an event loop, a store of its own, and the broker of one connection."""

    def __init__(self, url: str | None, scope: Scope, settings: Settings | None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._begun: Future[socket.socket] = Future()
        self._stop: asyncio.Event | None = None
        self._stopped = False
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(url, scope, settings)), name="datastore connection"
        )
        _exit.add(self, self._thread, early=_needs_executors(url, settings))
        self.socket = self._begun.result()

    async def _serve(self, url: str | None, scope: Scope, settings: Settings | None) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopped:
            self._stop.set()
        try:
            async with open_store(url, settings=settings) as store:
                broker = Broker(store, scope, _UNBOUNDED)
                self._begun.set_result(await _attach(broker))
                await self._stop.wait()
                await broker.close()
        except BaseException as error:
            if self._begun.done():
                raise
            self._begun.set_exception(error)

    def stop(self) -> None:
        """Ask the thread to end; from any thread, any number of times, also before it has begun."""
        self._stopped = True
        if self._stop is not None and self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        """End the thread and wait for it."""
        self.stop()
        if self._thread is not threading.current_thread():
            self._thread.join()


class Attached:
    """The broker of one connection to a store that somebody else opened, in the store's own event loop."""

    def __init__(self, store: Store, scope: Scope) -> None:
        self.loop = store.loop
        if not self.loop.is_running():
            raise NotSupported("the store's event loop is not running. Connect while it runs, or connect(url, ...).")
        broker = Broker(store, scope, _UNBOUNDED)
        self.socket, theirs = socket.socketpair()
        theirs.send(broker.hello())
        self._serving = asyncio.run_coroutine_threadsafe(serve(broker, theirs, store), self.loop)

    def stop(self) -> None:
        """Nothing to ask: the broker ends when this end of the socket closes."""

    def close(self) -> None:
        """Leave the store open; its owner closes it."""


class HostedChannel(Channel):
    """A channel whose host is in this process."""

    def __init__(self, host: Hosted | Attached) -> None:
        super().__init__(host.socket)
        self._host = host
        weakref.finalize(self, _abandon, host)

    def call(self, request: dict[str, Any]) -> Any:
        """Send a request and wait, unless that would hold up the loop that is to answer it.

        Raises:
            NotSupported: the caller runs in the loop of the store itself.
        """
        if asyncio._get_running_loop() is self._host.loop:  # noqa: SLF001 - as get_running_loop, without an exception
            raise NotSupported(
                "a synchronous verb would hold up the event loop that its store runs in. "
                "Write await data_store.aio..., or connect(url, ...)."
            )
        return super().call(request)

    def close(self) -> None:
        """Close the socket, then the host behind it."""
        super().close()
        self._host.close()


async def serve(broker: Broker, sock: socket.socket, store: Store) -> None:
    """Serve a greeted peer until it leaves or the store closes.

    Raises:
        StoreUnavailable: the store is closed already.
    """
    await broker.attach(sock)
    try:
        store.attach(broker)
        await broker.lost.wait()
    finally:
        store.detach(broker)
        await broker.close()


def _abandon(host: Hosted | Attached) -> None:
    """Let go of a connection that nobody closed and nobody holds any more."""
    host.socket.close()
    host.stop()


async def _attach(broker: Broker) -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.send(broker.hello())
    await broker.attach(theirs)
    return ours


def _needs_executors(url: str | None, settings: Settings | None) -> bool:
    """Say whether the store's driver works in an executor: Motor's, which takes no work once the main thread ends."""
    settings = settings or load(url=url)
    return settings.mongo_driver == "motor" and (url or settings.url).startswith("mongodb")


class _Exit:
    """Ends hosts with the main thread, since their own threads would keep the process alive.

    A host is told to stop when the main thread has ended, after work that was left in executors. A host that needs an
    executor itself is closed before that, while executors still take work. An `atexit` function would run too late for
    both: only after threads and executors have ended.
    """

    def __init__(self) -> None:
        self._early: weakref.WeakSet[Hosted] = weakref.WeakSet()
        self._late: weakref.WeakSet[Hosted] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._has_closed = False
        self._watching = False
        # The one way to run before executors end, which they use themselves. Those that register last run first.
        threading._register_atexit(self._close)  # type: ignore[attr-defined]  # noqa: SLF001
        os.register_at_fork(after_in_child=self._forget)

    def add(self, host: Hosted, thread: threading.Thread, *, early: bool) -> None:
        """Start a host's thread, and end it with the main thread.

        Raises:
            NotSupported: that has ended.
        """
        with self._lock:
            if self._has_closed if early else not threading.main_thread().is_alive():
                raise NotSupported(
                    "the main thread has ended, and connections end with it. Let it wait for this one: thread.join()."
                )
            thread.start()
            (self._early if early else self._late).add(host)
            if not early and not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, daemon=True, name="datastore exit watch").start()

    def _forget(self) -> None:
        """Leave hosts to the process that made them: threads do not survive a fork."""
        self._early, self._late = weakref.WeakSet(), weakref.WeakSet()
        self._lock, self._watching = threading.Lock(), False

    def _watch(self) -> None:
        threading.main_thread().join()
        with self._lock:
            for host in self._late:
                host.stop()

    def _close(self) -> None:
        with self._lock:
            self._has_closed = True
            hosts = list(self._early)
        for host in hosts:
            host.stop()
        for host in hosts:
            host.close()


_exit: Final = _Exit()
