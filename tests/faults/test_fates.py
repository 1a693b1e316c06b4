"""Every error of every writing verb says whether something may have been written, and is right.

Each verb meets each fault on each engine, as a user of its own. What stands afterwards is read past the fault.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Scope, Settings, names, open_store
from datastore.document import Place, Span, moment
from datastore.errors import DataStoreError
from datastore.service.store import Store
from sandbox import connect
from sandbox.guest.verbs import AsyncDataStore
from tests.faults.histories import outcome_of
from tests.faults.wires import BOUND_SECONDS, ENGINES, Breaking, breaking, over_a_wire
from tests.servers.wire import Fault, Wire
from tests.world import Servers, address

pytestmark = pytest.mark.faults

DEADLINE_SECONDS: Final = 1.5
SEED: Final = {"a": 1, "b": 2}
Verb = Callable[[AsyncDataStore], Awaitable[Any]]
State = dict[str, Any]


async def atomic(store: AsyncDataStore) -> None:
    async with store.atomic() as changes:
        changes.incr("a", -1).incr("b", 1)


async def lock(store: AsyncDataStore) -> None:
    async with store.lock("job", wait_seconds=1):
        pass


async def at_a_version(store: AsyncDataStore) -> None:
    entry = await store.get_entry("a")
    assert entry is not None
    await store.set("a", 2, if_version=entry.version)


VERBS: Final[dict[str, Verb]] = {
    "set": lambda store: store.set("new", 1),
    "set of metadata": lambda store: store.set("a", 2, {"source": "crm"}),
    "set at a version": at_a_version,
    "add": lambda store: store.add("new", 1),
    "incr": lambda store: store.incr("a"),
    "update": lambda store: store.update("a", lambda value: value + 1),
    "delete": lambda store: store.delete("a"),
    "touch": lambda store: store.touch("a", 3600),
    "set_many": lambda store: store.set_many({"a": 2, "new": 1}),
    "set_many of metadata": lambda store: store.set_many({"a": 2, "new": 1}, {"source": "crm"}),
    "delete_many": lambda store: store.delete_many(["a", "b"]),
    "clear": lambda store: store.clear(),
    "copy_to": lambda store: store.copy_to("copied"),
    "atomic": atomic,
    "lock": lock,
}


ANSWERS: Final[dict[str, Fault]] = {"not answered": "hold", "cut off": "cut"}
FAULTS: Final[dict[str, Breaking]] = {
    "the server is gone": Wire.leave,
    **{
        f"{what} are {said}": breaking(fault, what)
        for what in ("reads", "writes", "commits")
        for said, fault in ANSWERS.items()
    },
    "it leaves at a write": breaking("leave", "writes"),
    "it leaves at a commit": breaking("leave", "commits"),
}


NOTHING_CAN_BE_WRITTEN: Final = {"the server is gone", "reads are not answered"}
"""Faults at which each user's first look for a block fails."""


def scope(verb: str) -> Scope:
    return Scope(user=verb, agent="writer")


async def seed(store: Store) -> None:
    for verb in VERBS:
        with connect(store, scope=scope(verb)) as data_store:
            await data_store.aio.set_many(SEED)


async def state(store: Store, user: str) -> State:
    """Return all that stands of a user: every entry of every namespace, without the counts of reads."""
    now = moment(store.clock.now())
    found: State = {}
    for namespace in await store.engine.namespaces(user, "", now):
        entries, more = await store.engine.scan(Place(user, namespace), Span(), now)
        assert more is None
        for each in entries:
            if not each.key.startswith(names.TOKEN):  # Counts holders of a lock, also if giving it back fails.
                found[f"{namespace} {each.key}"] = (each.value, each.metadata, each.version, each.expires_at)
    return found


async def ended(store: Store, verb: str) -> DataStoreError | None:
    """Do a verb; return its error."""
    with connect(store, scope=scope(verb)) as data_store:
        try:
            await VERBS[verb](data_store.aio)
        except DataStoreError as error:
            return error
    return None


def check(error: DataStoreError, before: State, after: State) -> list[str]:
    """Return what is wrong with an error, given what stood before and stands after it."""
    outcome = outcome_of(error)
    if outcome == "unsaid":
        return [f"does not say what became of it, or may_have_written={error.may_have_written} is another: {error}"]
    changed = {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}
    return [f"says that nothing was written, and {changed}: {error}"] if outcome == "failed" and changed else []


@pytest.mark.usefixtures("forgetful_driver")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("engine", ENGINES)
async def test_an_error_says_truly_what_became_of_the_write(
    engine: str, fault: str, tmp_path: Path, servers: Servers
) -> None:
    with address(engine, tmp_path, servers) as url:
        async with asyncio.timeout(BOUND_SECONDS), open_store(url) as truth:
            await seed(truth)
            before = {verb: await state(truth, verb) for verb in VERBS}
            async with over_a_wire(engine, url, DEADLINE_SECONDS) as (store, wire):
                FAULTS[fault](wire)
                errors = dict(zip(VERBS, await asyncio.gather(*(ended(store, verb) for verb in VERBS)), strict=True))
            after = {verb: await state(truth, verb) for verb in VERBS}
    wrong = {
        verb: found for verb, error in errors.items() if error and (found := check(error, before[verb], after[verb]))
    }
    assert wrong == {}
    assert any(errors.values())
    if fault in NOTHING_CAN_BE_WRITTEN:
        assert {verb for verb, error in errors.items() if error is None or error.may_have_written} == set()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of all writers, as another process may."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


async def test_an_error_of_a_locked_file_is_true(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    settings = Settings(operation_timeout_seconds=DEADLINE_SECONDS, flush_seconds=60)
    async with asyncio.timeout(BOUND_SECONDS), open_store(f"sqlite:///{path}", settings=settings) as store:
        await seed(store)
        before = {verb: await state(store, verb) for verb in VERBS}
        with locked(path):
            errors = dict(zip(VERBS, await asyncio.gather(*(ended(store, verb) for verb in VERBS)), strict=True))
        after = {verb: await state(store, verb) for verb in VERBS}
    found = {
        verb: ["it succeeded"] if error is None else check(error, before[verb], after[verb])
        for verb, error in errors.items()
    }
    assert found == {verb: [] for verb in VERBS}
    assert after == before
