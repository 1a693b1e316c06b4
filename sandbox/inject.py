"""The same data_store without a sandbox: for notebooks, trusted scripts, and hosts with a sandbox of their own.

A connected data_store talks to a broker over a socketpair: the same frames and rules as a sandboxed guest, and no
isolation, since code in one process can reach everything in it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import uuid
import weakref
from collections.abc import MutableMapping
from concurrent.futures import Future
from typing import Any, Final, Self

from datastore.assembly import open_store
from datastore.errors import InvalidArgument, NotSupported
from datastore.models import Scope
from datastore.service.store import Store
from datastore.settings import Settings
from sandbox.broker import Broker
from sandbox.guest.channel import Channel
from sandbox.guest.verbs import DataStore
from sandbox.limits import RunLimits

_UNBOUNDED: Final = RunLimits(
    wall_seconds=10**9, calls=2**53, bytes=2**53, in_flight=64, memory_bytes=2**53, log_bytes=0
)
"""The limits of a peer in the host's own process, which no limit could hold anyway."""


class ConnectedDataStore(DataStore):
    """A data_store with an end: `close()`, or `with connect(...) as data_store`; else the end of the script."""

    def close(self) -> None:
        """Write what was counted and release the store; later calls raise StoreUnavailable."""
        channel = self._channel
        assert isinstance(channel, _HostedChannel)  # noqa: S101 - connect makes no other
        channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    url_or_store: str | Store | None = None,
    *,
    user: str | None = None,
    agent: str | None = None,
    scope: Scope | None = None,
    settings: Settings | None = None,
) -> ConnectedDataStore:
    """Return a data_store in this process, usable from any thread and inside a running event loop.

    Args:
        url_or_store: where the documents are (default: the settings' URL), or an open store.
        user: whose data it is; with `agent`, instead of `scope`.
        agent: the name that is recorded on every write and read.
        scope: user, agent, grants and limits together.
        settings: of the store that is opened; default: from the environment.

    Raises:
        InvalidArgument: neither scope nor user and agent, or both.
        ConfigurationError, StoreUnavailable: the store cannot be opened.
    """
    scope = _scope(user, agent, scope)
    host = _Attached(url_or_store, scope) if isinstance(url_or_store, Store) else _Hosted(url_or_store, scope, settings)
    return ConnectedDataStore(_HostedChannel(host))


def inject(namespace: MutableMapping[str, Any], url_or_store: str | Store | None = None, **given: Any) -> DataStore:
    """Put a connected data_store into a dict of globals as `data_store`, and return it; arguments as for `connect`."""
    namespace["data_store"] = connect(url_or_store, **given)
    store: DataStore = namespace["data_store"]
    return store


async def serve(sock: socket.socket, scope: Scope, *, store: Store, limits: RunLimits | None = None) -> None:
    """Serve one connected stream socket until its peer closes it: the door for a sandbox of your own.

    Nothing listens here: whoever holds the other end acts as `scope`. The guest's side is `sandbox.guest`.

    Args:
        sock: connected; the call owns it.
        scope: who the peer is.
        store: open, in this event loop.
        limits: budgets of the connection; its wall time, processor time and memory are yours to bound.
    """
    broker = Broker(store, scope, limits or RunLimits())
    sock.setblocking(False)
    sock.send(broker.hello())
    await _serve(broker, sock, store)


def _scope(user: str | None, agent: str | None, scope: Scope | None) -> Scope:
    if (scope is None) == (user is None or agent is None):
        raise InvalidArgument(
            "connect needs user= and agent=, or scope=. Write connect(url, user='alice', agent='notes')."
        )
    scope = scope or Scope(user=str(user), agent=str(agent))
    return scope if scope.run else scope.model_copy(update={"run": f"connect-{os.getpid()}-{uuid.uuid4().hex[:12]}"})


class _Hosted:
    """A thread with an event loop, a store of its own, and the broker of one connection."""

    def __init__(self, url: str | None, scope: Scope, settings: Settings | None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._begun: Future[socket.socket] = Future()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(url, scope, settings)), name="datastore connection"
        )
        _exit_watch.add(self)
        self._thread.start()
        self.socket = self._begun.result()

    async def _serve(self, url: str | None, scope: Scope, settings: Settings | None) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
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
        """Ask the thread to end; from any thread, any number of times."""
        if self._stop is not None and self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        """End the thread and wait for it."""
        self.stop()
        if self._thread is not threading.current_thread():
            self._thread.join()


class _Attached:
    """The broker of one connection to a store that somebody else opened, in the store's own event loop."""

    def __init__(self, store: Store, scope: Scope) -> None:
        self.loop = store.loop
        if not self.loop.is_running():
            raise NotSupported("the store's event loop is not running. Connect while it runs, or connect(url, ...).")
        broker = Broker(store, scope, _UNBOUNDED)
        self.socket, theirs = socket.socketpair()
        theirs.send(broker.hello())
        self._serving = asyncio.run_coroutine_threadsafe(_serve(broker, theirs, store), self.loop)

    def stop(self) -> None:
        """Nothing to ask: the broker ends when this end of the socket closes."""

    def close(self) -> None:
        """Leave the store open; its owner closes it."""


class _HostedChannel(Channel):
    """A channel whose host is in this process."""

    def __init__(self, host: _Hosted | _Attached) -> None:
        super().__init__(host.socket)
        self._host = host
        weakref.finalize(self, _abandon, host)

    def call(self, request: dict[str, Any]) -> Any:
        if asyncio._get_running_loop() is self._host.loop:  # noqa: SLF001 - as get_running_loop, without an exception
            raise NotSupported(
                "a synchronous verb would hold up the event loop that its store runs in. "
                "Write await data_store.aio..., or connect(url, ...)."
            )
        return super().call(request)

    def close(self) -> None:
        super().close()
        self._host.close()


async def _serve(broker: Broker, sock: socket.socket, store: Store) -> None:
    """Serve a greeted peer until it leaves or the store closes."""
    await broker.attach(sock)
    store.attach(broker)
    try:
        await broker.lost.wait()
    finally:
        store.detach(broker)
        await broker.close()


def _abandon(host: _Hosted | _Attached) -> None:
    """Let go of a connection that nobody closed and nobody holds any more."""
    host.socket.close()
    host.stop()


async def _attach(broker: Broker) -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.send(broker.hello())
    await broker.attach(theirs)
    return ours


class _ExitWatch:
    """Stops hosts when the main thread ends.

    A host's own thread would keep the process alive, and an `atexit` hook runs only after such threads have ended.
    """

    def __init__(self) -> None:
        self._hosts: weakref.WeakSet[_Hosted] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._watching = 0

    def add(self, host: _Hosted) -> None:
        with self._lock:
            self._hosts.add(host)
            if self._watching != os.getpid():  # Threads do not survive a fork.
                self._watching = os.getpid()
                threading.Thread(target=self._watch, daemon=True, name="datastore exit watch").start()

    def _watch(self) -> None:
        threading.main_thread().join()
        for host in list(self._hosts):
            host.stop()


_exit_watch: Final = _ExitWatch()
