"""What a host does under faults: roles that each make one kind of promise, and write down what they were told."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from datastore import Limits, Scope
from datastore.errors import DataStoreError
from datastore.service.store import Store
from sandbox import connect
from sandbox.guest.verbs import AsyncDataStore
from tests.faults.checkers import ACCOUNTS, MOST_KEYS
from tests.faults.histories import Recorder

USER: Final = "alice"
LIMITED_USER: Final = "bob"
LOCK_SECONDS: Final = 3.0
CLAIMS: Final = 10_000
_PAUSE_SECONDS: Final = 0.1


class Host:
    """The state that the roles of one worker share."""

    def __init__(self, store: Store, name: str, recorder: Recorder, seconds: float) -> None:
        self.store = store
        self.name = name
        self.recorder = recorder
        self.chance = random.Random(name)  # noqa: S311 - which account is not a secret
        self._until = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._until

    @contextmanager
    def agent(self, user: str = USER, limits: Limits | None = None) -> Iterator[AsyncDataStore]:
        with connect(
            self.store, scope=Scope(user=user, agent=self.name, run="faults", limits=limits or Limits())
        ) as made:
            yield made.aio

    async def names(self) -> AsyncIterator[str]:
        """Give names that no other operation has, a few every second, until it is over."""
        for number in itertools.count():
            if self.is_over:
                return
            yield f"{self.name}-{number}"
            await asyncio.sleep(_PAUSE_SECONDS)


async def write(host: Host) -> None:
    """Write keys once, in every way there is, and read some of them again."""
    with host.agent() as store:
        ways: list[Callable[[dict[str, Any]], Awaitable[Any]]] = [
            lambda values: store.set(*next(iter(values.items()))),
            lambda values: store.set(*next(iter(values.items())), {"way": "merged"}),
            lambda values: store.add(*next(iter(values.items()))),
            store.set_many,
            lambda values: store.set_many(values, {"way": "merged"}),
            lambda values: _together(store, values),
        ]
        async for name in host.names():
            way = host.chance.randrange(len(ways))
            values = {f"w:{name}:{part}": f"{name}:{part}" for part in range(3 if way > 2 else 1)}
            with host.recorder.operation("write", values=values):
                await ways[way](values)
            key = next(iter(values))
            with host.recorder.operation("read", key=key) as attempt:
                attempt.result = await store.get(key)


async def _together(store: AsyncDataStore, values: dict[str, Any]) -> None:
    async with store.atomic() as changes:
        for key, value in values.items():
            changes.set(key, value)


async def delete(host: Host) -> None:
    with host.agent() as store:
        async for name in host.names():
            try:
                await store.set(f"d:{name}", name)
            except DataStoreError:
                continue
            with host.recorder.operation("delete", key=f"d:{name}"):
                await store.delete(f"d:{name}")


async def count(host: Host) -> None:
    with host.agent() as store:
        async for _ in host.names():
            with host.recorder.operation("count") as attempt:
                attempt.result = await store.incr("counter")


async def claim(host: Host) -> None:
    with host.agent() as store:
        for number in range(CLAIMS):
            if host.is_over:
                return
            with host.recorder.operation("claim", key=f"claim:{number:05}") as attempt:
                attempt.result = await store.add(f"claim:{number:05}", host.name)
            await asyncio.sleep(_PAUSE_SECONDS)


async def append(host: Host) -> None:
    with host.agent() as store:
        async for name in host.names():
            with host.recorder.operation("append", item=name):
                await store.update("list", functools.partial(_appended, name), default=[])


def _appended(item: str, items: list[str]) -> list[str]:
    return [*items, item]


async def transfer(host: Host) -> None:
    with host.agent() as store:
        async for name in host.names():
            source, target = host.chance.sample(ACCOUNTS, 2)
            amount = host.chance.randrange(1, 100)
            with host.recorder.operation("transfer", name=name, source=source, target=target, amount=amount):
                async with store.atomic() as changes:
                    changes.incr(source, -amount).incr(target, amount).add(f"receipt:{name}", 1)


async def fence(host: Host) -> None:
    with host.agent() as store:
        async for _ in host.names():
            with host.recorder.operation("fence", name=host.name) as attempt:
                await _fenced(store, host.name, attempt.facts)


async def _fenced(store: AsyncDataStore, name: str, facts: dict[str, Any]) -> None:
    """Write one key under the lock; that it cannot be given back takes nothing from what was written."""
    lock = store.lock("fence", ttl_seconds=LOCK_SECONDS, wait_seconds=LOCK_SECONDS)
    lease = await lock.__aenter__()
    facts["token"] = lease.token
    try:
        async with store.atomic(lease=lease) as changes:
            changes.add(f"fence:{lease.token}:{name}", 1)
    finally:
        with suppress(DataStoreError):
            await lock.__aexit__(None, None, None)


async def replace(host: Host) -> None:
    with host.agent() as store:
        async for name in host.names():
            try:
                entry = await store.get_entry("register")
                over = entry.version if entry else store.ABSENT
            except DataStoreError:
                continue
            with host.recorder.operation("replace", name=name, over=entry.version if entry else "") as attempt:
                attempt.result = await store.set("register", name, if_version=over)


async def write_watched(host: Host) -> None:
    with host.agent() as store:
        async for name in host.names():
            with host.recorder.operation("watched write", key=f"seen:{name}") as attempt:
                attempt.result = await store.set(f"seen:{name}", name)


async def fill(host: Host) -> None:
    """Fill a quota, make room, and count."""
    limits = Limits(user_keys=MOST_KEYS)
    with host.agent(LIMITED_USER, limits) as store:
        async for name in host.names():
            with host.recorder.operation("fill", key=f"full:{name}"):
                await store.set(f"full:{name}", name)
            with host.recorder.operation("count of full") as attempt:
                attempt.result = await store.count("full:")
            if host.chance.random() < 0.3:
                with host.recorder.operation("make room"):
                    keys = await store.list_keys("full:", limit=3)
                    await store.delete_many(keys)


ROLES: Final = (write, delete, count, claim, append, transfer, fence, replace, write_watched, fill)
