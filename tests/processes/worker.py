"""A process that works on a store: `python -m tests.processes.worker NAME`.

It is told tasks as lines of JSON: the URL of a store, a user, a role and the role's arguments. For each it connects,
says "ready", waits for a line, does its work, and prints what came of it as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from datastore.backends.mongo.transactions import Transaction
from datastore.backends.sql import atomics
from datastore.errors import Conflict
from sandbox import ConnectedDataStore, connect

JOBS: Final = 500
INCREMENTS: Final = 200
LINES: Final = 20
TRANSFERS: Final = 30
TURNS: Final = 5
LEASE_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 120.0
COUNTERS: Final = [f"counter:{number}" for number in range(10)]


def count(store: ConnectedDataStore, name: str, by: str) -> list[float]:
    """Add to one key, which nobody has made yet; return every number seen."""
    del name
    return [store.incr("n", json.loads(by)) for _ in range(INCREMENTS)]


def claim(store: ConnectedDataStore, name: str) -> list[int]:
    """Claim every job that is still free."""
    return [number for number in range(JOBS) if store.add(f"job:{number:03}", name)]


def append(store: ConnectedDataStore, name: str) -> int:
    """Append to one list."""
    for number in range(LINES):
        store.update("log", functools.partial(_appended, f"{name}:{number}"), default=[])
    return LINES


def _appended(line: str, lines: list[str]) -> list[str]:
    return [*lines, line]


def overwrite(store: ConnectedDataStore, name: str, version: str) -> bool:
    """Write over one version, which only one may."""
    try:
        store.set("k", name, if_version=version)
    except Conflict:
        return False
    return True


def transfer(store: ConnectedDataStore, name: str) -> int:
    """Move amounts between counters."""
    chance = random.Random(name)  # noqa: S311 - which counters is not a secret
    for _ in range(TRANSFERS):
        source, target = chance.sample(COUNTERS, 2)
        amount = chance.randrange(1, 100)
        with store.atomic() as changes:
            changes.incr(source, -amount).incr(target, amount)
    return TRANSFERS


def die(store: ConnectedDataStore, name: str) -> int:
    """Move amounts, and be killed in the midst of it: all is written, and nothing committed."""
    make, turns = atomics._make, iter([False, False, True])

    def killed() -> None:
        if next(turns):
            os.kill(os.getpid(), signal.SIGKILL)

    async def made(*args: Any) -> Any:
        applied = await make(*args)
        killed()
        return applied

    commit = Transaction._commit

    async def committed(transaction: Transaction) -> None:
        killed()
        await commit(transaction)

    for owner, method, instead in ((atomics, "_make", made), (Transaction, "_commit", committed)):
        setattr(owner, method, instead)
    return transfer(store, name)


def guard(store: ConnectedDataStore, name: str) -> list[int]:
    """Append to one list by reading and writing it, which is right only while nobody else does; return the tokens."""
    tokens = []
    for _ in range(TURNS):
        with store.lock("log", ttl_seconds=LEASE_SECONDS, wait_seconds=WAIT_SECONDS) as lease:
            if not store.add("inside", name):
                raise AssertionError(f"{store.get('inside')} is inside")
            store.set("turns", [*store.get("turns", []), [name, lease.token]])
            store.delete("inside")
            tokens.append(lease.token)
    return tokens


def die_holding(store: ConnectedDataStore, name: str) -> None:
    """Be killed with the lock in hand."""
    del name
    with store.lock("log", ttl_seconds=LEASE_SECONDS, wait_seconds=WAIT_SECONDS):
        os.kill(os.getpid(), signal.SIGKILL)


def stall(store: ConnectedDataStore, name: str) -> list[int]:
    """Be stopped between a claim and its token; once let go, do as the others."""
    call = store._channel.call

    def stopping(request: Any) -> Any:
        if request.get("mutations", [{}])[0].get("kind") == "incr":
            store._channel.call = call  # type: ignore[method-assign]  # once is enough
            print("claimed", flush=True)  # noqa: T201 - how it speaks to the test
            os.kill(os.getpid(), signal.SIGSTOP)
        return call(request)

    store._channel.call = stopping  # type: ignore[method-assign]  # to stop just there
    return guard(store, name)


ROLES: Final[dict[str, Callable[..., Any]]] = {
    each.__name__: each for each in (count, claim, append, overwrite, transfer, die, guard, die_holding, stall)
}


def work(name: str) -> None:
    for task in sys.stdin:
        url, user, role, *arguments = json.loads(task)
        with connect(url, user=user, agent=name) as store:
            store.exists("warm")
            print("ready", flush=True)  # noqa: T201 - how it speaks to the test
            sys.stdin.readline()
            told = ROLES[role](store, name, *arguments)
        print(json.dumps(told), flush=True)  # noqa: T201 - as above; whoever hears it may empty the database


if __name__ == "__main__":
    work(sys.argv[1])
