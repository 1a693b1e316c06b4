"""A thousand races of renewal and expiry between two hosts: what is expired stays gone, and no limit is passed."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from datastore import Scope, Store, open_store
from datastore.errors import QuotaExceeded
from datastore.operations import Apply, Page, Put, Scan
from tests.processes.racing import KEYS, LIMITS, key
from tests.world import SEPARATE, Servers, address

pytestmark = [pytest.mark.slow, pytest.mark.alone]

RACES = 4
"""Each of `KEYS` keys: a thousand on each engine."""
TTL_SECONDS = 1.5
WAIT_SECONDS = 120
SCOPE = Scope(user="alice", agent="watcher", limits=LIMITS)


class Renewer:
    """Another host, which renews."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.processes.renewer", url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.hear() == "ready"

    def start(self, namespace: str, ends: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([namespace, KEYS, ends]) + "\n")
        self._process.stdin.flush()

    def hear(self) -> object:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        try:
            self._process.communicate(timeout=WAIT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
        assert self._process.returncode == 0


@pytest.fixture(params=SEPARATE)
def url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[str]:
    with address(request.param, tmp_path, servers) as url:
        yield url


@pytest.fixture
def renewer(url: str) -> Iterator[Renewer]:
    started = Renewer(url)
    yield started
    started.stop()


async def alive(store: Store, namespace: str) -> set[str]:
    page = await store.execute(SCOPE, Scan(namespace=namespace, detail="key"))
    assert isinstance(page, Page)
    assert page.next is None
    return {str(each) for each in page.items}


async def watch(store: Store, namespace: str, over: asyncio.Event) -> set[str]:
    """Return the keys that were seen as gone at any time."""
    gone: set[str] = set()
    while not over.is_set():
        gone |= {key(number) for number in range(KEYS)} - await alive(store, namespace)
    return gone


async def fill(store: Store, namespace: str, over: asyncio.Event) -> None:
    """Write new entries wherever there is room."""
    for number in itertools.count():
        if over.is_set():
            return
        with suppress(QuotaExceeded):
            await store.execute(SCOPE, Apply(namespace=namespace, mutations=(Put(key=f"new:{number}"),)))


async def race(store: Store, renewer: Renewer, namespace: str) -> None:
    puts = tuple(Put(key=key(number), ttl_seconds=TTL_SECONDS) for number in range(KEYS))
    ends = time.time() + TTL_SECONDS
    await store.execute(SCOPE, Apply(namespace=namespace, mutations=puts))
    renewer.start(namespace, ends)
    over = asyncio.Event()
    others = asyncio.gather(watch(store, namespace, over), fill(store, namespace, over))
    renewed = await asyncio.to_thread(renewer.hear)
    over.set()
    gone, _ = await others
    standing = await alive(store, namespace)
    assert isinstance(renewed, list)
    assert gone & standing == set(), "entries were seen as gone, and then again"
    assert len(standing) <= KEYS, "the limit was passed"
    assert set(renewed) <= standing


async def test_what_is_expired_stays_gone_and_no_limit_is_passed(url: str, renewer: Renewer) -> None:
    async with open_store(url) as store:
        for number in range(RACES):
            await race(store, renewer, f"race {number}")
