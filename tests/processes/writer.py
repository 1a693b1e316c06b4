"""A process that writes within quotas: `python -m tests.processes.writer NAME`.

It is told tasks as lines of JSON: to open the store of a URL, or a role, a namespace and the role's argument. It prints
what came of each as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from datastore import Limits, Scope
from datastore.backends.mongo.reservations import Reservations
from datastore.backends.sql import quotas
from datastore.errors import QuotaExceeded
from sandbox import ConnectedDataStore, connect

LIMITS: Final = Limits(namespace_bytes=100, namespace_keys=1000)
"""Of a value of 40 bytes two fit, and of empty ones, in another namespace, 1,000."""
BATCH: Final = 7


def tell(told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - how it speaks to the test


def write(store: ConnectedDataStore, name: str, size: int) -> bool:
    """Write a value of a size; say whether there was room."""
    try:
        store.set(name, b"x" * size)
    except QuotaExceeded:
        return False
    return True


def expire(store: ConnectedDataStore, name: str, size: int) -> bool:
    """Let what this process wrote expire; say whether there was anything."""
    del size
    stood = store.touch(name, 0.01)
    while store.exists(name):
        pass
    return stood


def fill(store: ConnectedDataStore, name: str, size: int) -> int:
    """Write empty values until there is no room for another; return how many."""
    written = 0
    for batch in (BATCH, 1):
        for number in itertools.count():
            try:
                store.set_many({f"{name}:{batch}:{number}:{each}": b"x" * size for each in range(batch)})
            except QuotaExceeded:
                break
            written += batch
    return written


def hold(store: ConnectedDataStore, name: str, size: int) -> bool:
    """Write, but wait for a line between the reservation and the write."""
    written = Reservations._written

    async def held(*args: Any) -> Any:
        tell("reserved")
        await asyncio.to_thread(sys.stdin.readline)
        return await written(*args)

    setattr(Reservations, "_written", held)  # noqa: B010 - to stop just there, whatever its type
    try:
        return write(store, name, size)
    finally:
        setattr(Reservations, "_written", written)  # noqa: B010 - once is enough


def die(store: ConnectedDataStore, name: str, size: int) -> bool:
    """Write, and be killed between the two steps: room is reserved, or all is written and nothing committed."""

    async def killed(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    done = quotas._done

    async def written(*args: Any) -> Any:
        await done(*args)
        await killed()

    for owner, method, instead in ((quotas, "_done", written), (Reservations, "_written", killed)):
        setattr(owner, method, instead)
    return write(store, name, size)


ROLES: Final[dict[str, Callable[[ConnectedDataStore, str, int], Any]]] = {
    each.__name__: each for each in (write, expire, fill, hold, die)
}


def work(name: str) -> None:
    scope = Scope(user="alice", agent=name, limits=LIMITS)
    for task in sys.stdin:
        _, url, _ = json.loads(task)
        with connect(url, scope=scope) as store:
            tell("ready")
            _serve(store, name)
        tell("closed")


def _serve(store: ConnectedDataStore, name: str) -> None:
    for task in sys.stdin:
        role, namespace, size = json.loads(task)
        if role == "close":
            break
        tell(ROLES[role](store.use_namespace(namespace), name, size))


if __name__ == "__main__":
    work(*sys.argv[1:])
