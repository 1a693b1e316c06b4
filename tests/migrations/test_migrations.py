"""Migrations are made in steps, once, by any number of starts that are killed at any moment, and beside running hosts.

The next version is a process of its own; see `next_version`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest

from datastore import Scope, Settings, open_store
from datastore.assembly import open_engine
from datastore.backends.migrations import Migration
from datastore.backends.sql.layouts import SqlLayoutRecord
from datastore.document import Place, Span
from datastore.entry import Entry
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.layout import Layout
from datastore.operations import Apply, Get, Put
from datastore.service.store import Store
from sandbox import connect
from tests.migrations.dumps import ENDINGS
from tests.migrations.next_version import BATCH, MARK, NEXT, SETTINGS
from tests.migrations.recording import stored
from tests.servers.fresh import fresh
from tests.world import NEVER_FLUSH, ManualClock, bare

ENTRIES = 10 * BATCH + 5
WAIT_SECONDS = 120
ALICE = Scope(user="alice", agent="writer", run="run-1")
Process = subprocess.Popen[str]


@pytest.fixture(params=ENDINGS)
def url(request: pytest.FixtureRequest, tmp_path: Path, server_of: Callable[[str], str]) -> Iterator[str]:
    """The URL of a store of its own: other tests could not use what the next version leaves."""
    with fresh(request.param, tmp_path, server_of) as url:
        yield url


@pytest.fixture
def filled(url: str) -> str:
    """A store that holds entries of alice, and one of bob."""
    with connect(url, scope=ALICE) as store:
        store.set_many({f"k{number:04}": number for number in range(ENTRIES)})
    with connect(url, user="bob", agent="writer") as store:
        store.set("k0000", "untouched")
    return url


@contextmanager
def next_version(url: str, *words: str) -> Iterator[Process]:
    """A start of the next version."""
    command = [sys.executable, "-W", "error", "-m", "tests.migrations.next_version", url, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: Process) -> list[str]:
    out, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, errors) == (0, "")
    return out.split()


async def marks(url: str) -> set[str]:
    """Return what every entry has in the place of its mark."""
    engine = await open_engine(url, Settings(), ManualClock())
    try:
        found = [each for each in await stored(engine, ManualClock().now()) if each["namespace"] == "default"]
        assert [each["value"] for each in found if each["owner"] == "bob"] == ["untouched"]
        assert not any(MARK in each["updated_by_run"] for each in found if each["owner"] == "bob")
        layout = await engine.layout()
        assert (layout.number, layout.position) == (NEXT, None)
        return {each["updated_by_run"] for each in found if each["owner"] == "alice"}
    finally:
        await engine.aclose()


async def test_a_record_of_the_layout_that_another_program_changed_is_refused(url: str) -> None:
    engine = await open_engine(url, Settings(), ManualClock())
    try:
        _damage(url)
        with pytest.raises(StoreUnavailable, match=r"does not hold a layout, .* backup\. Nothing was written"):
            await engine.namespaces("alice", "", ManualClock().now())
    finally:
        await engine.aclose()
    refused = r"cannot be used: the store's .* layout, but number=('two'|None), needs=2, position=None\. Restore it"
    with pytest.raises(ConfigurationError, match=refused):
        await open_engine(url, Settings(), ManualClock())


async def test_a_start_that_saw_an_older_layout_changes_nothing(url: str) -> None:
    opened = await open_engine(url, Settings(), ManualClock())
    engine = bare(opened)
    record: Any = engine._layout if url.startswith("mongodb") else SqlLayoutRecord(engine._runner)
    positions = iter(("first", "second"))

    async def step(_entries: Any, _position: str | None) -> str | None:
        return next(positions)

    try:
        seen = await record.read()
        for _ in range(2):  # Two starts that saw the same.
            await record.advance(seen, Migration(NEXT, step, needs=NEXT))
        assert await record.require(seen, NEXT) == Layout(NEXT - 1, NEXT - 1, "first")
    finally:
        await opened.aclose()
    if not url.startswith("mongodb"):  # There a step may run twice.
        assert next(positions) == "second"


def _damage(url: str) -> None:
    engine = url.partition(":")[0]
    if engine == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("UPDATE layout SET number = 'two'")
    elif engine == "postgresql":
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER TABLE datastore.layout ALTER number DROP NOT NULL")
            connection.execute("UPDATE datastore.layout SET number = NULL")
    else:
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            client.get_default_database()["entries_layout"].update_one({}, {"$set": {"number": "two"}})


@pytest.mark.slow
async def test_a_migration_that_is_killed_again_and_again_is_made_once(filled: str) -> None:
    """Each start is killed some steps after its first, in whatever it is about then, until one comes to the end."""
    kills = 0
    for steps in count(2):
        with next_version(filled) as process:
            assert process.stdout is not None
            heard = [process.stdout.readline().strip() for _ in range(steps)]
            process.kill()
            if "done" in heard:
                break
            kills += 1
    assert kills > 2
    assert await marks(filled) == {f"run-1{MARK}"}


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_a_migration_that_is_killed_at_any_moment_is_made_once(filled: str) -> None:
    """Each start is killed a little later than the one before, whatever it has said by then."""
    for milliseconds in range(0, 3000, 40):
        with next_version(filled) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(milliseconds / 1000)
            process.kill()
    with next_version(filled) as process:
        assert said(process)[-1] == "done"
    assert await marks(filled) == {f"run-1{MARK}"}


@pytest.mark.slow
async def test_starts_at_the_same_time_share_the_steps(filled: str) -> None:
    with next_version(filled) as first, next_version(filled) as second, next_version(filled) as third:
        heard = [said(each) for each in (first, second, third)]
    assert [each[-1] for each in heard] == ["done"] * 3
    assert await marks(filled) == {f"run-1{MARK}"}


async def write(store: Store, key: str, value: int) -> None:
    await store.execute(ALICE, Apply(namespace="default", mutations=(Put(key=key, value=value),)))


async def write_until_it_ends(store: Store, process: Process) -> dict[str, int]:
    """Write while a process is at work; return what was written last."""
    written = {}
    for number in count():
        if process.poll() is not None:
            break
        await write(store, key := f"w{number % 100}", number)
        written[key] = number
    return written


async def held(store: Store) -> list[Entry]:
    """Return what alice has, read straight from the engine, without the check of the layout."""
    page: list[Entry]
    page, after = await bare(store.engine).scan(Place("alice", "default"), Span(), store.clock.now())
    assert after is None
    return page


@pytest.mark.slow
async def test_a_host_of_the_previous_layout_works_on(filled: str) -> None:
    async with open_store(filled, settings=SETTINGS) as store:
        with next_version(filled) as process:
            written = await write_until_it_ends(store, process)
            assert said(process)[-1] == "done"
        await write(store, "after", 1)
    async with open_store(filled) as again:
        await write(again, "and again", 2)
        found = {each.key: each.value for each in await held(again)}
    assert written
    assert {key: found[key] for key in written} == written
    assert (found["after"], found["and again"]) == (1, 2)


@pytest.mark.slow
async def test_a_host_that_is_too_old_is_refused_and_writes_nothing(filled: str) -> None:
    refused = rf"has layout {NEXT}, .* Upgrade it on this host.*Nothing was written"
    async with open_store(filled, settings=SETTINGS.model_copy(update={"flush_seconds": NEVER_FLUSH})) as store:
        await store.execute(ALICE, Get(namespace="default", keys=("k0000",)))  # To be counted at the end.
        with next_version(filled, "offline") as process:
            with pytest.raises(StoreUnavailable, match=refused):
                await write_until_it_ends(store, process)
            assert said(process)[-1] == "done"
        for late in (lambda: write(store, "late", 1), store.flush, lambda: store.engine.expunge("alice")):
            with pytest.raises(StoreUnavailable, match=refused):
                await late()
        page = await held(store)
    assert len(page) > ENTRIES
    assert {entry.updated_by_run[-1] for entry in page} == {MARK}
    assert {entry.access_count for entry in page} == {0}
    with pytest.raises(ConfigurationError, match=rf"cannot be used: the store has layout {NEXT}, .* Upgrade it"):
        async with open_store(filled):
            pass
