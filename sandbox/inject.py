"""The same data_store without a sandbox: for notebooks, trusted scripts, and hosts with a sandbox of their own.

A connected data_store talks to a broker over a socketpair: the same frames and rules as a sandboxed guest, and no
isolation, since code in one process can reach everything in it.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import MutableMapping
from typing import Any, Self

from datastore import names
from datastore.errors import InvalidArgument
from datastore.models import Scope
from datastore.service.store import Store
from datastore.settings import Settings
from sandbox import hosts
from sandbox.broker import Broker
from sandbox.guest.verbs import DataStore
from sandbox.hosts import Attached, Hosted, HostedChannel
from sandbox.limits import RunLimits


class ConnectedDataStore(DataStore):
    """A data_store with an end: `close()`, or `with connect(...) as data_store`; else the end of the script."""

    def close(self) -> None:
        """Write what was counted and release the store; later calls raise StoreUnavailable."""
        channel = self._channel
        assert isinstance(channel, HostedChannel)  # noqa: S101 - connect makes no other
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
        InvalidName: user or agent is no usable name.
        ConfigurationError, StoreUnavailable: the store cannot be opened.
    """
    scope = _scope(user, agent, scope)
    host = Attached(url_or_store, scope) if isinstance(url_or_store, Store) else Hosted(url_or_store, scope, settings)
    return ConnectedDataStore(HostedChannel(host))


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

    Raises:
        StoreUnavailable: the store is closed.
    """
    broker = Broker(store, scope, limits or RunLimits())
    sock.setblocking(False)
    sock.send(broker.hello())
    await hosts.serve(broker, sock, store)


def _scope(user: str | None, agent: str | None, scope: Scope | None) -> Scope:
    named = (user is not None, agent is not None)
    if named != ((True, True) if scope is None else (False, False)):
        raise InvalidArgument(
            "connect needs user= and agent=, or scope=. Write connect(url, user='alice', agent='notes')."
        )
    scope = scope or Scope(user=names.name("user", user), agent=names.name("agent", agent))
    return scope if scope.run else scope.model_copy(update={"run": f"connect-{os.getpid()}-{uuid.uuid4().hex[:12]}"})
