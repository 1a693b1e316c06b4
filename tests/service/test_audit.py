"""What the audit log notes, and that nothing is done that it could not note, on the way to the log and at its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datastore import Grant, Scope, Settings, Store, open_store
from datastore.assembly import open_engine
from datastore.chain import Deed, Row
from datastore.errors import AccessDenied, ConfigurationError, DataStoreError, StoreUnavailable
from datastore.operations import (
    Apply,
    Check,
    Clear,
    Copy,
    Count,
    Delete,
    Get,
    GetUsage,
    Incr,
    Namespaces,
    Operation,
    Put,
    Scan,
    Touch,
)
from datastore.service.audit import Audit
from datastore.settings import Auditing

ALICE = Scope(user="alice", agent="writer", run="run-1", grants=(Grant.own(), Grant(namespace="*", space="team")))
BOUNDED = Scope(user="alice", agent="reader", run="run-1", grants=(Grant(namespace="notes", access="read"),))
VALUE = "what nobody may find in the log"


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


@asynccontextmanager
async def audited(notes: Auditing = "writes", **how: Any) -> AsyncIterator[Store]:
    """A store in memory whose log is written by hand, unless the time between is given."""
    engine = await open_engine("sqlite://", Settings(), Clock())
    audit = Audit(engine, Clock(), notes, **{"flush_seconds": 3600, **how})
    store = Store(engine, clock=Clock(), flush_seconds=3600, audit=audit)
    try:
        yield store
    finally:
        await store.aclose()


async def noted(store: Store) -> list[Deed]:
    await store.audit.flush()
    return [row.deed for row in await store.engine.trail("", 1000)]


def put(*keys: str, **facts: Any) -> Apply:
    return Apply(namespace="notes", mutations=tuple(Put(key=key, value=VALUE, **facts) for key in keys))


def said(deed: Deed) -> tuple[Any, ...]:
    """What a row says besides who did it, without the version, which is new each time."""
    return deed.operation, deed.owner, deed.namespace, deed.key, deed.size_bytes, deed.number, deed.outcome


SIZE = len(json.dumps(VALUE))
HERE = ("alice", "notes")
OPERATIONS: list[tuple[Operation, list[tuple[Any, ...]], list[tuple[Any, ...]]]] = [
    (put("a", "b"), [("put", *HERE, "a", SIZE, None, "done"), ("put", *HERE, "b", SIZE, None, "done")], []),
    (put("a", if_absent=True), [("put", *HERE, "a", None, None, "not_applied")], []),
    (
        Apply(namespace="notes", mutations=(Incr(key="n", by=2),)),
        [("incr", *HERE, "n", 24, None, "done")],
        [],
    ),
    (
        Apply(namespace="notes", mutations=(Delete(key="b"), Touch(key="none"))),
        [("delete", *HERE, "b", None, None, "done"), ("touch", *HERE, "none", None, None, "not_applied")],
        [],
    ),
    (
        Apply(
            namespace="notes",
            atomic=True,
            mutations=(Check(key="none", version=None), Put(namespace="self", key="mine", value=1)),
        ),
        [("put", "alice", "@agent/writer", "mine", 24, None, "done")],
        [("check", *HERE, "none", None, None, "done")],
    ),
    (
        Apply(space="team", namespace="plans", mutations=(Put(key="next", value=1),)),
        [("put", "@team", "plans", "next", 24, None, "done")],
        [],
    ),
    (
        Copy(namespace="notes", target="other", prefix="a"),
        [
            ("copy_from", *HERE, "a", None, 1, "done"),
            ("copy_to", "alice", "other", "a", None, 1, "done"),
        ],
        [],
    ),
    (Clear(namespace="other"), [("clear", "alice", "other", None, None, 1, "done")], []),
    (
        Get(namespace="notes", keys=("none", "a")),
        [],
        [("get", *HERE, "a", SIZE, None, "done"), ("get", *HERE, "none", None, None, "absent")],
    ),
    (Get(namespace="notes", keys=("a",), detail="key"), [], [("get", *HERE, "a", None, None, "done")]),
    (Scan(namespace="notes", prefix="a"), [], [("scan", *HERE, "a", SIZE, None, "done")]),
    (Scan(namespace="notes", detail="key"), [], [("scan", *HERE, None, None, 2, "done")]),
    (Scan(namespace="empty"), [], [("scan", "alice", "empty", None, None, 0, "done")]),
    (Count(namespace="notes", prefix="a"), [], [("count", *HERE, "a", None, 1, "done")]),
    (Namespaces(), [], [("namespaces", "alice", None, None, None, None, "done")]),
    (GetUsage(), [], [("usage", "alice", None, None, None, None, "done")]),
]


@pytest.mark.parametrize("notes", ["none", "writes", "all"])
async def test_each_deed_is_noted_without_its_value_and_reads_when_asked_for(notes: Auditing) -> None:
    async with audited(notes) as store:
        written = 0
        for operation, writes, reads in OPERATIONS:
            await store.execute(ALICE, operation)
            rows = (await noted(store))[written:]
            written += len(rows)
            expected = {"none": [], "writes": writes, "all": [*reads, *writes]}[notes]
            assert [said(each) for each in rows] == expected, operation
            assert {(each.by_user, each.by_agent, each.by_run) for each in rows} <= {("alice", "writer", "run-1")}
            assert VALUE not in repr(rows)


@pytest.mark.parametrize(
    ("operation", "key", "number"),
    [
        (put("a"), "a", None),
        (put("a", "b"), None, 2),
        (Get(namespace="other", keys=("a",)), "a", None),
        (Get(namespace="other", keys=("a", "b")), None, 2),
        (Clear(namespace="notes", prefix="a"), "a", None),
        (Get(namespace="@locks/other", keys=("a",), detail="key"), "a", None),
        (GetUsage(space="team"), None, None),
    ],
)
async def test_a_refusal_is_noted_once_whatever_was_asked(
    operation: Operation, key: str | None, number: int | None
) -> None:
    async with audited() as store:
        with pytest.raises(AccessDenied):
            await store.execute(BOUNDED, operation)
        [deed] = await noted(store)
    assert (deed.by_agent, deed.operation, deed.key, deed.number) == ("reader", operation.op, key, number)
    assert (deed.namespace, deed.outcome) == (getattr(operation, "namespace", None), "access_denied")


async def test_a_failure_is_noted_for_every_key_that_it_may_have_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async with audited() as store:
        for failure, outcome in (
            (StoreUnavailable("away"), "store_unavailable"),
            (ZeroDivisionError(), "internal"),
            (asyncio.CancelledError(), "unknown"),
        ):

            async def fail(*_: object, failure: BaseException = failure) -> None:
                raise failure

            monkeypatch.setattr(store.engine, "apply", fail)
            with pytest.raises(type(failure)):
                await store.execute(ALICE, put("a", "b"))
            assert [(each.key, each.outcome) for each in (await noted(store))[-2:]] == [("a", outcome), ("b", outcome)]


class Held:
    """An engine's `append` that waits until it is let go."""

    def __init__(self, store: Store) -> None:
        self._append = store.engine.append
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        store.engine.append = self  # type: ignore[method-assign]  # held up, as by a slow engine

    async def __call__(self, rows: Sequence[Row]) -> None:
        self.begun.set()
        await self.go.wait()
        await self._append(rows)


async def test_where_the_buffer_is_full_callers_wait_and_nothing_is_dropped() -> None:
    async with audited(flush_seconds=0.01, most=4) as store:
        held = Held(store)
        await store.execute(ALICE, put("a", "b", "c"))
        waiting = [asyncio.create_task(store.execute(ALICE, put(key, key + "2"))) for key in "de"]
        small = asyncio.create_task(store.execute(ALICE, put("f")))
        await held.begun.wait()
        assert not any(each.done() for each in (*waiting, small)), "also the small one, which must not overtake"
        held.go.set()
        async with asyncio.timeout(30):
            await asyncio.gather(*waiting, small)
        assert [deed.key for deed in await noted(store)] == ["a", "b", "c", "d", "d2", "e", "e2", "f"]


async def test_what_cannot_be_noted_in_time_is_refused_before_it_is_done() -> None:
    async with audited(flush_seconds=0.01, most=2, wait_seconds=0.05) as store:
        held = Held(store)
        await store.execute(ALICE, put("a", "b"))
        with pytest.raises(StoreUnavailable, match=r"not at all\. Nothing was written"):
            await store.execute(ALICE, put("c"))
        held.go.set()
        store.audit._wait_seconds = 60  # From here on nothing is refused, however busy the machine is.
        await store.audit.flush()
        await store.execute(ALICE, put("d"))
        assert [deed.key for deed in await noted(store)] == ["a", "b", "d"]
        keys = await store.execute(ALICE, Scan(namespace="notes", detail="key"))
        assert keys.items == ("a", "b", "d")  # type: ignore[union-attr]  # what a scan answers


async def test_who_gets_room_while_the_store_is_closed_is_noted() -> None:
    async with audited(most=2) as store:
        await store.execute(ALICE, put("a", "b"))
        late = asyncio.create_task(store.execute(ALICE, put("c")))
        await asyncio.sleep(0)
        await asyncio.gather(late, store.audit.aclose())
        assert [row.deed.key for row in await store.engine.trail("", 1000)] == ["a", "b", "c"]


async def test_a_caller_that_gives_up_waiting_leaves_its_room_to_others() -> None:
    async with audited(flush_seconds=0.01, most=2) as store:
        held = Held(store)
        await store.execute(ALICE, put("a", "b"))
        gone = asyncio.create_task(store.execute(ALICE, put("c", "d")))
        stays = asyncio.create_task(store.execute(ALICE, put("e", "f")))
        await held.begun.wait()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        held.go.set()
        async with asyncio.timeout(30):
            await stays
        assert [deed.key for deed in await noted(store)] == ["a", "b", "e", "f"]


async def test_rows_whose_writing_failed_are_written_once_and_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """The engine takes the first batch, and its answer is lost."""
    async with audited(flush_seconds=0.01) as store:
        append, failures, again = store.engine.append, 3, asyncio.Event()

        async def failing(rows: Sequence[Row]) -> None:
            nonlocal failures
            await append(rows)
            failures -= 1
            if failures >= 0:
                raise StoreUnavailable("the write may have happened")
            again.set()

        store.engine.append = failing  # type: ignore[method-assign]  # an answer that is lost
        await store.execute(ALICE, put("a"))
        async with asyncio.timeout(30):
            await again.wait()
        await store.execute(ALICE, put("b"))
        assert [deed.key for deed in await noted(store)] == ["a", "b"]
        assert [row.seq for row in await store.engine.trail("", 10)] == [1, 2]
        assert "the write may have happened" in caplog.text


async def test_a_clean_stop_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with open_store(url, audit="writes") as store:
        await asyncio.gather(*(store.execute(ALICE, put(f"k{number}")) for number in range(50)))
    async with open_store(url) as store:
        rows = await store.engine.trail("", 100)
    assert {row.deed.key for row in rows} == {f"k{number}" for number in range(50)}


async def test_a_stop_that_fails_at_counted_reads_writes_the_log_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing() -> None:
        raise StoreUnavailable("reads were not counted")

    url = f"sqlite:///{tmp_path / 'store.db'}"
    store_of = open_store(url, audit="writes")
    store = await store_of.__aenter__()
    await store.execute(ALICE, put("a"))
    monkeypatch.setattr(store._tracking, "aclose", failing)
    with pytest.raises(StoreUnavailable, match="reads were not counted"):
        await store_of.__aexit__(None, None, None)
    async with open_store(url) as again:
        assert [row.deed.key for row in await again.engine.trail("", 100)] == ["a"]


async def test_a_stop_that_must_lose_rows_says_how_many() -> None:
    store_of = audited(wait_seconds=0.05)
    store = await store_of.__aenter__()
    await store.execute(ALICE, put("a", "b"))

    async def fail(rows: Sequence[Row]) -> None:
        del rows
        raise StoreUnavailable("away")

    store.engine.append = fail  # type: ignore[method-assign]  # an engine that is away
    with pytest.raises(StoreUnavailable, match="2 rows of the audit log are lost"):
        await store_of.__aexit__(None, None, None)
    with pytest.raises(StoreUnavailable, match="being closed"):
        await store.execute(ALICE, put("c"))


async def test_heads_are_written_down_after_the_rows_that_they_vouch_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "datastore.audit")
    file = tmp_path / "heads.ndjson"
    settings = Settings(url=f"sqlite:///{tmp_path / 'store.db'}", audit="writes", audit_heads=str(file))
    async with open_store(settings=settings) as store:
        await store.execute(ALICE, put("a", "b"))
        await store.audit.flush()
        first, last = await store.engine.trail("", 10)
        [head] = [json.loads(line) for line in file.read_text().splitlines()]
        assert head == {
            "chain": first.chain,
            "seq": 2,
            "at": last.at.isoformat(timespec="milliseconds"),
            "link": last.link,
        }
        assert last.link in caplog.text
        await store.execute(ALICE, put("c"))
    assert [json.loads(line)["seq"] for line in file.read_text().splitlines()] == [2, 3]
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_file_of_heads_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = Settings(url="sqlite://", audit_heads=str(tmp_path / "none" / "heads"))
    with pytest.raises(ConfigurationError, match=r"DATASTORE_AUDIT_HEADS=.*no such file"):
        async with open_store(settings=settings):
            pass


async def test_an_error_of_the_store_is_a_refusal_only_if_nothing_was_tried() -> None:
    async with audited() as store:
        with pytest.raises(DataStoreError):
            await store.execute(ALICE, Apply(namespace="notes", mutations=(Put(key="a", value={1, 2}),)))
        [deed] = await noted(store)
    assert (deed.operation, deed.key, deed.size_bytes, deed.outcome) == ("put", "a", None, "value_not_storable")
