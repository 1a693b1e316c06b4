"""A connection, a server or a neighbour that fails: what the error says of the write is true, and it says no more."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from datastore.backends.sql import SqlBackend, atomics, garbage, postgres
from datastore.backends.sql.runner import Job
from datastore.document import Interest, Span
from datastore.errors import MAYBE_WRITTEN, NOTHING_WRITTEN, StoreUnavailable
from datastore.operations import Applied
from datastore.ports import Actor, Removal, Requirement, Step
from datastore.quotas import Ceiling, Quota
from tests.servers.postgres import Server, fresh_postgres
from tests.sql.test_concurrency import until
from tests.sql.wire import Wire, between
from tests.sql.words import HERE, Clock, actor, apply, at, opened, put, read

BOUND_SECONDS = 60
MOST_ROUNDS = 500  # until batches have met
NOTHING, MAYBE = NOTHING_WRITTEN, MAYBE_WRITTEN


@pytest.fixture
async def wire(postgres_url: str) -> AsyncIterator[tuple[Wire, str]]:
    async with between(postgres_url) as (wire, url):
        yield wire, url


@pytest.fixture
async def backend(wire: tuple[Wire, str]) -> AsyncIterator[SqlBackend]:
    store = await opened(wire[1], operation_timeout_seconds=2)
    yield store
    await store.aclose()


def stored(url: str) -> list[str]:
    """Return the keys that the server holds."""
    with psycopg.connect(url) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM datastore.entries ORDER BY key")]


@contextmanager
def other(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Be another client of the server, in a transaction."""
    with psycopg.connect(url, options=f"-c search_path={postgres.SCHEMA}") as connection:
        yield connection


def failures_of(store: SqlBackend) -> list[str]:
    """Return a list to which every failure of a statement from now on adds its code."""
    codes: list[str] = []

    def note(context: Any) -> None:
        codes.append(str(getattr(context.original_exception, "sqlstate", "")))

    for engine in set(store._runner._engines):
        event.listen(engine.sync_engine, "handle_error", note)
    return codes


# A broken wire.


async def test_a_write_whose_answer_was_lost_may_have_happened(
    backend: SqlBackend, wire: tuple[Wire, str], postgres_url: str
) -> None:
    wire[0].break_answers("cut", "INSERT")
    with pytest.raises(StoreUnavailable) as caught:
        await apply(backend, put("k", "secret"))

    assert str(caught.value) == f"the store cannot be reached now. {MAYBE}"
    assert stored(postgres_url) == ["k"]


async def test_a_write_that_is_never_answered_may_have_happened(
    backend: SqlBackend, wire: tuple[Wire, str], postgres_url: str
) -> None:
    wire[0].break_answers("hold", "INSERT")
    with pytest.raises(StoreUnavailable) as caught:
        await apply(backend, put("k"))

    assert str(caught.value) == f"the store did not answer in time. {MAYBE}"
    assert stored(postgres_url) == ["k"]


async def test_a_commit_whose_answer_was_lost_may_have_happened(
    backend: SqlBackend, wire: tuple[Wire, str], postgres_url: str
) -> None:
    wire[0].break_answers("cut", "COMMIT")
    with pytest.raises(StoreUnavailable) as caught:
        await apply(backend, put("k"), Removal("l"))

    assert str(caught.value) == f"the store cannot be reached now. {MAYBE}"
    assert stored(postgres_url) == ["k"]


@pytest.mark.parametrize("sign", ["BEGIN", "INSERT", "DELETE"])
async def test_a_batch_cut_off_before_its_commit_is_made_again(
    backend: SqlBackend, wire: tuple[Wire, str], postgres_url: str, sign: str
) -> None:
    wire[0].break_answers("cut", sign)
    applied = await apply(backend, put("k"), Removal("l"))

    assert (applied.changed, wire[0].times, stored(postgres_url)) == (1, 0, ["k"])


async def test_a_batch_that_is_never_answered_before_its_commit_wrote_nothing(
    backend: SqlBackend, wire: tuple[Wire, str], postgres_url: str
) -> None:
    wire[0].break_answers("hold", "DELETE")
    with pytest.raises(StoreUnavailable) as caught:
        await apply(backend, put("k"), Removal("l"))

    assert str(caught.value).endswith(f". {NOTHING}")
    assert stored(postgres_url) == []


async def test_a_read_whose_answer_was_lost_is_made_again(backend: SqlBackend, wire: tuple[Wire, str]) -> None:
    await apply(backend, put("k", 1))
    wire[0].break_answers("cut", "SELECT", times=3)

    entry = await read(backend, "k")

    assert (entry and entry.value, wire[0].times) == (1, 0)


async def test_unanswered_operations_give_their_connections_back(backend: SqlBackend, wire: tuple[Wire, str]) -> None:
    many = 2 * postgres.CONNECTIONS
    wire[0].break_answers("hold", "SELECT", times=postgres.CONNECTIONS)
    ends = await asyncio.gather(*(read(backend, f"k{number}") for number in range(many)), return_exceptions=True)
    assert {type(end) for end in ends} <= {StoreUnavailable, type(None)}
    assert [str(end) for end in ends if end].count(f"the store did not answer in time. {NOTHING}") >= 1

    wire[0].times = 0
    assert await asyncio.gather(*(read(backend, f"k{number}") for number in range(many))) == [None] * many


# A server that ends.


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that this test may kill."""
    with Server.made() as server:
        yield server


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["shut down", "crashed"])
async def test_a_store_survives_a_restart_of_its_server(server: Server, how: signal.Signals) -> None:
    with fresh_postgres(server.url) as url:
        store = await opened(url)
        await asyncio.gather(*(apply(store, put(f"k{number}", number)) for number in range(20)))

        await asyncio.to_thread(server.stop, how)
        assert await asyncio.to_thread(server.start)
        answers = await asyncio.gather(*(apply(store, put(f"k{number}", "new")) for number in range(20)))
        assert [answer.changed for answer in answers] == [1] * 20

        await asyncio.to_thread(server.stop, how)
        waiting = asyncio.create_task(apply(store, put("k1", "newer")))
        assert await asyncio.to_thread(server.start)
        assert (await waiting).changed == 1
        await store.aclose()


async def test_a_server_that_is_gone_is_named_in_no_message_and_nothing_was_written(server: Server) -> None:
    store = await opened(server.url, operation_timeout_seconds=1)
    await apply(store, put("k"))
    await asyncio.to_thread(server.stop)

    with pytest.raises(StoreUnavailable) as reading:
        await read(store, "k")
    with pytest.raises(StoreUnavailable) as writing:
        await apply(store, put("k", "secret"))
    with pytest.raises(StoreUnavailable) as clearing:
        await store.clear(HERE, "", at(0))
    await store.aclose()

    said = "the store cannot be reached now"
    assert {str(each.value) for each in (reading, writing, clearing)} == {f"{said}. {NOTHING}"}


async def test_a_session_that_an_operator_ends_under_a_read_is_replaced(
    server_store: SqlBackend, postgres_url: str
) -> None:
    started = 0

    async def slowly(job: Job) -> None:
        nonlocal started
        started += 1
        if started == 1:
            await job.command("SELECT pg_sleep(60)")

    sleeping = asyncio.create_task(server_store._runner.run(slowly, writes=False))
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        await until(lambda: operator.execute(ended).fetchall())
    await sleeping

    assert started == 2


# Deadlines that the server enforces.


async def test_the_server_itself_ends_a_statement_at_the_deadline(postgres_url: str) -> None:
    store = await opened(postgres_url, operation_timeout_seconds=1)
    runner = store._runner

    async def slowly(job: Job) -> None:
        await job.command("SELECT pg_sleep(600)")

    with pytest.raises(StoreUnavailable) as caught:
        await runner.run(slowly, writes=True, until=runner.deadline(600))
    assert str(caught.value) == f"the store did not answer in time. {NOTHING}"
    await store.aclose()


@pytest.mark.parametrize("keys", [["k"], ["k", "l"]])
async def test_a_row_that_is_locked_for_too_long_says_that_nothing_was_written(
    postgres_url: str, keys: list[str]
) -> None:
    store = await opened(postgres_url, operation_timeout_seconds=1)
    await apply(store, *(put(key) for key in keys))
    with other(postgres_url) as neighbour:
        neighbour.execute("SELECT 1 FROM entries FOR UPDATE")
        with pytest.raises(StoreUnavailable) as caught:
            await apply(store, *(put(key, "new") for key in keys))
    assert str(caught.value) == f"the store was busy with other writers all the time. {NOTHING}"

    assert (await apply(store, *(put(key) for key in keys))).changed == len(keys)
    await store.aclose()


async def test_a_host_gone_silent_inside_a_transaction_holds_nobody_up_for_longer_than_its_deadline(
    postgres_url: str,
) -> None:
    silent = await opened(postgres_url, operation_timeout_seconds=1)
    waiting = await opened(postgres_url, operation_timeout_seconds=30)
    await apply(silent, put("k", 1))
    inside = asyncio.Event()
    tries = 0

    async def hold(job: Job) -> None:
        nonlocal tries
        tries += 1
        if tries > 1:
            return
        async with job.transaction():
            await job.command("DELETE FROM entries")
            inside.set()
            await done.wait()

    done = asyncio.Event()
    runner = silent._runner
    holding = asyncio.create_task(runner.run(hold, writes=True, until=runner.deadline(BOUND_SECONDS)))
    await inside.wait()
    assert (await apply(waiting, put("k", 2))).changed == 1
    done.set()
    await holding

    entry = await read(waiting, "k")
    assert (entry and entry.value, tries) == (2, 2)
    await silent.aclose()
    await waiting.aclose()


# Neighbours in the way.


async def test_batches_that_deadlock_are_made_again(server_store: SqlBackend) -> None:
    failures = failures_of(server_store)
    for rounds in range(MOST_ROUNDS):
        if failures:
            break
        await apply(server_store, put("a", 0), put("b", 0))
        ends = await asyncio.gather(
            *(apply(server_store, put("a", rounds), Removal("b")) for _ in range(4)),
            *(apply(server_store, put("b", rounds), Removal("a")) for _ in range(4)),
        )
        assert all(outcome.applied for applied in ends for outcome in applied.outcomes)
        assert len((await server_store.keys(HERE, Span(), at(0)))[0]) <= 1

    assert set(failures) in ({"40001"}, {"40P01"}, {"40001", "40P01"})


async def test_batches_of_the_same_keys_in_any_order_never_meet_a_deadlock(server_store: SqlBackend) -> None:
    failures = failures_of(server_store)
    keys = [f"k{number}" for number in range(50)]

    answers = await asyncio.gather(
        *(apply(server_store, *(put(key) for key in keys[turn:] + keys[:turn])) for turn in range(20))
    )

    assert [answer.changed for answer in answers] == [50] * 20
    assert failures == []


async def test_writers_of_one_key_beyond_a_lowered_limit_never_meet_a_deadlock(server_store: SqlBackend) -> None:
    await apply(server_store, put("a", size_bytes=40), put("b", size_bytes=40))
    limited = replace(actor(), quota=Quota(each=Ceiling(bytes=60)))
    assert (await server_store.apply(HERE, [put("a", size_bytes=40)], limited)).changed == 1
    failures = failures_of(server_store)

    for _ in range(5):
        await asyncio.gather(*(server_store.apply(HERE, [put("a", size_bytes=40)], limited) for _ in range(20)))

    assert failures == []


async def test_a_batch_that_fails_half_way_writes_nothing(server_store: SqlBackend, postgres_url: str) -> None:
    with other(postgres_url) as operator:
        operator.execute("ALTER TABLE entries ADD CHECK (key <> 'k50')")
    with pytest.raises(Exception, match="CheckViolation"):
        await apply(server_store, *(put(f"k{number:02}") for number in range(100)))

    assert stored(postgres_url) == []


async def test_an_entry_revived_while_garbage_is_collected_stays(
    server_store: SqlBackend, postgres_url: str, clock: Clock
) -> None:
    await apply(server_store, put("revived", 1, expires_at=at(1)), put("old", 1, expires_at=at(1)))
    clock.time = at(1000)
    with other(postgres_url) as neighbour:
        neighbour.execute("UPDATE entries SET expires_at = %s WHERE key = 'revived'", [2**53])
        assert await server_store._collector.collect() == 1

    assert stored(postgres_url) == ["revived"]
    assert garbage.BATCH_ROWS > 1


async def test_a_clear_waits_for_writers_and_is_complete_whatever_they_did(
    server_store: SqlBackend, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "CLEAR_ROWS", 2)
    await apply(server_store, *(put(key) for key in "abcde"))
    with other(postgres_url) as neighbour:
        neighbour.execute("DELETE FROM entries WHERE key = 'a'")
        neighbour.execute("UPDATE entries SET version = 'v2' WHERE key = 'b'")
        clearing = asyncio.create_task(server_store.clear(HERE, "", at(0)))
        with psycopg.connect(postgres_url, autocommit=True) as watching:
            blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            await until(lambda: watching.execute(blocked).fetchall())
        neighbour.commit()

    assert await clearing == 4
    assert stored(postgres_url) == []


async def test_a_change_has_its_number_when_it_is_committed_so_that_none_comes_late(
    server_store: SqlBackend, postgres_url: str
) -> None:
    await apply(server_store, put("a"), put("b"))
    with other(postgres_url) as neighbour:
        neighbour.execute("UPDATE entries SET version = 'late' WHERE key = 'a'")
        await apply(server_store, put("b", version="v2"))
        head = await server_store.head()

    told, _ = await server_store.past(Interest(HERE), head, 10)
    assert [(each.key, each.version) for each in told] == [("a", "late")]


@pytest.mark.parametrize("absent", [False, True])
async def test_two_that_each_require_what_the_other_writes_never_both_commit(
    server_store: SqlBackend, monkeypatch: pytest.MonkeyPatch, *, absent: bool
) -> None:
    make, both, tries = atomics._make, asyncio.Barrier(2), 0

    async def met(job: Job, steps: Sequence[Step], who: Actor) -> Applied:
        nonlocal tries
        tries += 1
        first = tries <= 2
        applied = await make(job, steps, who)
        if first:
            await both.wait()
        return applied

    monkeypatch.setattr(atomics, "_make", met)
    version = None if absent else "v1"
    if not absent:
        await apply(server_store, put("x"), put("y"))
    one: list[Step] = [(HERE, Requirement("x", version)), (HERE, put("y", "one", "v2"))]
    two: list[Step] = [(HERE, Requirement("y", version)), (HERE, put("x", "two", "v3"))]

    ends = await asyncio.gather(server_store.atomic(one, actor()), server_store.atomic(two, actor()))

    assert sorted(end.changed for end in ends) == [0, 1]
    assert tries == 3
