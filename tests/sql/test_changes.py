"""Changes on SQLite: what triggers note, how long it is kept, and that no gap goes unsaid."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from datastore.backends.sql import SqlBackend, journal, noted
from datastore.backends.sql.runner import Job
from datastore.document import Interest, Place
from datastore.errors import PastGone
from datastore.ports import Access, Position, Removal, Renewal
from tests.sql.words import HERE, Clock, actor, apply, at, opened, put, read

ALL = Interest(HERE)
WAIT_SECONDS = 60


async def told(store: SqlBackend, after: Position = (0, 0), interest: Interest = ALL) -> list[tuple[str, str | None]]:
    found, _ = await store.past(interest, after, 1000)
    return [(each.key, each.version) for each in found]


async def test_every_insertion_removal_and_new_version_is_noted_and_nothing_else(store: SqlBackend) -> None:
    await apply(store, put("a"), put("b", expires_at=at(10)))
    await apply(store, Renewal("a", at(5)), put("b", version="v2", if_version="v1"), put("a", if_absent=True))
    await store.record([Access(HERE, "a", at(0), "reader", 3, at(1))])
    await apply(store, Removal("absent"), Removal("b", if_version="v0"))
    await apply(store, Removal("b"))
    await apply(store, put("a", version="v9"), seconds=6)
    await store.clear(HERE, "", at(6))
    assert await told(store) == [("a", "v1"), ("b", "v1"), ("b", "v2"), ("b", None), ("a", "v9"), ("a", None)]


async def test_what_expired_is_removed_at_the_latest_with_the_garbage(store: SqlBackend, clock: Clock) -> None:
    await apply(store, put("a", expires_at=at(1)))
    clock.time = at(100)
    await store._collector.collect()
    assert await told(store) == [("a", "v1"), ("a", None)]


async def test_a_write_of_any_other_program_is_noted_too(file_store: SqlBackend, path: Path) -> None:
    await apply(file_store, put("a"), put("b"))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE entries SET version = 'by hand' WHERE key = 'a'")
    connection.execute("DELETE FROM entries WHERE key = 'b'")
    connection.close()
    assert await told(file_store, (2, 0)) == [("a", "by hand"), ("b", None)]


@pytest.mark.parametrize(
    ("interest", "keys"),
    [
        (Interest(HERE, "a"), ["a", "aa", "a%"]),
        (Interest(HERE, "a", exact=True), ["a"]),
        (Interest(HERE, "a%"), ["a%"]),
        (Interest(HERE, "\U0010ffff"), ["\U0010ffff\U0010ffff"]),
    ],
)
async def test_a_prefix_is_literal_text(store: SqlBackend, interest: Interest, keys: list[str]) -> None:
    await apply(store, *(put(key) for key in ("a", "aa", "a%", "b", "\U0010ffff\U0010ffff")))
    assert sorted(key for key, _ in await told(store, interest=interest)) == sorted(keys)


async def test_the_past_comes_in_pages_that_say_where_they_end(store: SqlBackend) -> None:
    for number in range(5):
        await apply(store, put(f"k{number}"))
    first, reached = await store.past(ALL, (0, 0), 2)
    rest, end = await store.past(ALL, reached, 10)
    assert [each.key for each in first + rest] == [f"k{number}" for number in range(5)]
    assert end == await store.head() == (5, 0)


async def test_changes_go_after_a_day_and_a_cursor_from_before_is_told_so(store: SqlBackend) -> None:
    await apply(store, put("a"), put("b"))
    before = await store.head()
    await apply(store, put("c"))
    tomorrow = datetime.now(UTC) + journal.RETENTION
    assert await store._journal.trim(tomorrow - timedelta(hours=1)) == 0
    assert await store._journal.trim(tomorrow + timedelta(hours=1)) == 2
    assert await told(store, before) == [("c", "v1")]
    with pytest.raises(PastGone):
        await told(store, (1, 0))
    await apply(store, put("d"))
    assert await told(store, before) == [("c", "v1"), ("d", "v1")]
    assert await store._journal.trim(tomorrow + timedelta(hours=1)) == 1
    with pytest.raises(PastGone):
        await told(store, before)


async def test_what_another_process_writes_while_it_is_found_what_is_old_stays(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, other = await opened(url), await opened(url)
    await apply(other, put("a"), put("b"))
    before = await other.head()
    head = journal._head

    async def late(job: Job) -> int:
        await apply(other, put("c"), put("d"))
        return await head(job)

    monkeypatch.setattr(journal, "_head", late)
    trimmed = await host._journal.trim(datetime.now(UTC) + journal.RETENTION + timedelta(hours=1))
    monkeypatch.undo()
    assert trimmed == 1
    assert await told(other, before) == [("c", "v1"), ("d", "v1")]
    await host.aclose()
    await other.aclose()


async def test_an_owner_who_is_forgotten_while_garbage_is_collected_is_not_named_again(
    store: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply(store, put("a"), put("b"))

    async def decided(_job: Job, _before: int) -> list[tuple[str, int]]:
        return [(HERE.owner, 1)]

    monkeypatch.setattr(journal, "_cuts", decided)
    while await store.forget(HERE.owner):
        pass
    assert await store._journal.trim(at(0)) == 0

    async def owners(job: Job) -> list[str]:
        return list((await job.execute(select(noted.horizons.c.owner))).scalars())

    assert HERE.owner not in await store._runner.run(owners, writes=False)


async def test_an_owner_with_many_changes_loses_the_oldest_and_nobody_else_does(
    store: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_ROWS", 3)
    monkeypatch.setattr(journal, "BATCH_ROWS", 2)
    other = Interest(Place("bob", "notes"))
    await store.apply(other.place, [put("first")], actor())
    for number in range(8):
        await apply(store, put(f"k{number}"))
    assert await store._journal.trim(at(0)) == 5
    assert await told(store, (6, 0)) == [(f"k{number}", "v1") for number in (5, 6, 7)]
    with pytest.raises(PastGone):
        await told(store, (5, 0))
    assert await told(store, (0, 0), other) == [("first", "v1")]


async def test_who_follows_is_told_of_a_gap(store: SqlBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_ROWS", 1)
    await apply(store, put("a"), put("b"), put("c"))
    await store._journal.trim(at(0))
    async with aclosing(store.follow((0, 0), list)) as batches:
        with pytest.raises(PastGone):
            await anext(batches)


async def test_a_commit_of_this_process_wakes_who_follows_and_another_is_found_by_looking(
    file_store: SqlBackend, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await opened(url)
    async with asyncio.timeout(WAIT_SECONDS), aclosing(file_store.follow((0, 0), list)) as batches:
        assert await anext(batches) == ([], (0, 0))
        monkeypatch.setattr(journal, "LOOK_SECONDS", 3600.0)
        waiting = asyncio.ensure_future(anext(batches))
        await apply(file_store, put("a"))
        found, reached = await waiting
        assert ([each.key for each in found], reached) == (["a"], (1, 0))
        monkeypatch.setattr(journal, "LOOK_SECONDS", 0.01)
        await apply(other, put("b"))
        found = []
        while not found:
            found, reached = await anext(batches)
        assert ([each.key for each in found], reached) == (["b"], (2, 0))
    await other.aclose()


async def test_a_file_from_before_there_were_watches_gets_what_they_need(url: str, path: Path) -> None:
    store = await opened(url)
    await apply(store, put("old"))
    await store.aclose()
    connection = sqlite3.connect(path, isolation_level=None)
    for name in ("entries_inserted", "entries_updated", "entries_deleted"):
        connection.execute(f"DROP TRIGGER {name}")
    for name in (noted.changes.name, noted.horizons.name):
        connection.execute(f"DROP TABLE {name}")
    connection.close()

    again = await opened(url)
    assert await read(again, "old") is not None
    await apply(again, put("new"))
    assert await told(again) == [("new", "v1")]
    await again.aclose()
