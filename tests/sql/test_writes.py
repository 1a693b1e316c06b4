"""What becomes of changes: creation, overwriting, conditions, batches, leftovers, counted reads."""

from __future__ import annotations

import pytest

from datastore.backends.sql import SqlBackend
from datastore.document import Place
from datastore.entry import NEVER
from datastore.operations import Applied, Outcome
from datastore.ports import Access, Removal, Renewal
from tests.sql.words import HERE, actor, apply, at, put, read

MISSED = Outcome(applied=False)


async def test_a_first_put_creates_the_whole_entry(store: SqlBackend) -> None:
    applied = await apply(store, put("k", [1], metadata={"m": 1}, expires_at=at(9)))

    assert applied == Applied(1, (Outcome(applied=True, version="v1"),))
    entry = await read(store, "k")
    assert entry is not None
    assert (entry.namespace, entry.key, entry.value, entry.metadata, entry.version) == (
        "notes",
        "k",
        [1],
        {"m": 1},
        "v1",
    )
    assert (entry.created_at, entry.updated_at, entry.expires_at) == (at(0), at(0), at(9))
    assert (entry.created_by_agent, entry.created_by_run) == ("writer", "run-of-writer")
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (0, None, None)


async def test_a_put_over_a_live_entry_keeps_its_creation_its_reads_and_its_metadata(store: SqlBackend) -> None:
    await apply(store, put("k", 1, metadata={"m": 1}, expires_at=at(9)))
    await store.record([Access(HERE, "k", at(0), "reader", 3, at(1))])

    await apply(store, put("k", 2, "v2"), seconds=2, agent="other")

    entry = await read(store, "k", 3)
    assert entry is not None
    assert (entry.value, entry.version, entry.metadata, entry.expires_at) == (2, "v2", {"m": 1}, None)
    assert (entry.created_at, entry.created_by_agent, entry.created_by_run) == (at(0), "writer", "run-of-writer")
    assert (entry.updated_at, entry.updated_by_agent, entry.updated_by_run) == (at(2), "other", "run-of-other")
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (3, at(1), "reader")


async def test_a_put_over_an_expired_leftover_starts_anew(store: SqlBackend) -> None:
    await apply(store, put("k", 1, metadata={"m": 1}, expires_at=at(5)))
    await store.record([Access(HERE, "k", at(0), "reader", 3, at(1))])

    applied = await apply(store, put("k", 2, "v2"), seconds=5, agent="other")

    entry = await read(store, "k", 5)
    assert applied.changed == 1
    assert entry is not None
    assert (entry.metadata, entry.created_at, entry.created_by_agent) == ({}, at(5), "other")
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (0, None, None)


async def test_given_metadata_replaces(store: SqlBackend) -> None:
    await apply(store, put("k", 1, metadata={"m": 1}))
    await apply(store, put("k", 1, "v2", metadata={"n": 2}))

    entry = await read(store, "k")
    assert entry is not None
    assert entry.metadata == {"n": 2}


async def test_an_entry_is_gone_in_the_millisecond_it_expires(store: SqlBackend) -> None:
    await apply(store, put("k", expires_at=at(5)))

    assert await read(store, "k", 4.999) is not None
    assert await read(store, "k", 5) is None


async def test_if_absent_creates_once_and_answers_the_version_that_stands(store: SqlBackend) -> None:
    assert await apply(store, put("k", 1, if_absent=True)) == Applied(1, (Outcome(applied=True, version="v1"),))
    assert await apply(store, put("k", 2, "v2", if_absent=True)) == Applied(0, (Outcome(applied=False, version="v1"),))


async def test_if_absent_takes_the_place_of_an_expired_leftover(store: SqlBackend) -> None:
    await apply(store, put("k", 1, expires_at=at(5), metadata={"m": 1}))

    assert (await apply(store, put("k", 2, "v2", if_absent=True), seconds=5)).outcomes[0].applied
    entry = await read(store, "k", 6)
    assert entry is not None
    assert (entry.value, entry.metadata, entry.created_at) == (2, {}, at(5))


@pytest.mark.parametrize("metadata", [None, {"n": 2}])
async def test_if_version_writes_at_that_version_only(store: SqlBackend, metadata: dict[str, int] | None) -> None:
    await apply(store, put("k", 1, metadata={"m": 1}))

    won = await apply(store, put("k", 2, "v2", if_version="v1", metadata=metadata), seconds=1)
    lost = await apply(store, put("k", 3, "v3", if_version="v1"), seconds=2)

    assert won == Applied(1, (Outcome(applied=True, version="v2"),))
    assert lost == Applied(0, (Outcome(applied=False, version="v2"),))
    entry = await read(store, "k")
    assert entry is not None
    assert (entry.value, entry.metadata, entry.created_at) == (2, metadata or {"m": 1}, at(0))


async def test_if_version_finds_neither_a_missing_nor_an_expired_entry(store: SqlBackend) -> None:
    await apply(store, put("old", expires_at=at(5)))

    applied = await apply(store, put("old", if_version="v1"), put("none", if_version="v1"), seconds=5)

    assert applied == Applied(0, (MISSED, MISSED))


async def test_a_removal_counts_what_lived_and_is_applied_in_any_case(store: SqlBackend) -> None:
    await apply(store, put("live"), put("old", expires_at=at(5)))

    applied = await apply(store, Removal("live"), Removal("old"), Removal("none"), seconds=5)

    assert applied == Applied(1, (Outcome(applied=True),) * 3)
    assert await read(store, "live", 5) is None


async def test_a_removal_at_a_version_removes_that_one_only(store: SqlBackend) -> None:
    await apply(store, put("k"))

    assert await apply(store, Removal("k", if_version="v0")) == Applied(0, (Outcome(applied=False, version="v1"),))
    assert await apply(store, Removal("k", if_version="v1")) == Applied(1, (Outcome(applied=True),))
    assert await apply(store, Removal("k", if_version="v1")) == Applied(0, (MISSED,))


async def test_a_renewal_moves_the_expiry_and_nothing_else(store: SqlBackend) -> None:
    await apply(store, put("k", 1, expires_at=at(5)))
    before = await read(store, "k")

    assert await apply(store, Renewal("k", at(9)), seconds=2) == Applied(1, (Outcome(applied=True),))

    after = await read(store, "k")
    assert before is not None
    assert after is not None
    assert after.as_dict() == {**before.as_dict(), "expires_at": at(9).isoformat(timespec="milliseconds")}
    await apply(store, Renewal("k", NEVER))
    assert await read(store, "k", 10) is not None


async def test_a_renewal_revives_nothing(store: SqlBackend) -> None:
    await apply(store, put("old", expires_at=at(5)))

    assert await apply(store, Renewal("old", NEVER), Renewal("none", NEVER), seconds=5) == Applied(0, (MISSED, MISSED))


async def test_conditions_that_fail_in_a_batch_abort_nothing_else(store: SqlBackend) -> None:
    await apply(store, put("a"), put("b"), put("c"))

    applied = await apply(
        store,
        put("a", 1, "v2", if_version="v0"),
        put("new", 1, "v2"),
        Removal("b", if_version="v0"),
        put("c", 1, "v2", if_absent=True),
        put("added", 1, "v2", if_absent=True),
        Removal("none"),
        Renewal("nothing", NEVER),
        put("meta", 1, "v2", metadata={"m": 1}),
    )

    stands = Outcome(applied=False, version="v1")
    put_now = Outcome(applied=True, version="v2")
    outcomes = (stands, put_now, stands, stands, put_now, Outcome(applied=True), MISSED, put_now)
    assert applied == Applied(3, outcomes)


async def test_a_thousand_changes_of_any_kind_are_one_batch(store: SqlBackend) -> None:
    names = [f"k{number:04}" for number in range(1000)]

    assert (await apply(store, *(put(name, if_absent=True) for name in names))).changed == 1000
    again = await apply(store, *(put(name, version="v2", if_absent=True) for name in names))
    assert again == Applied(0, (Outcome(applied=False, version="v1"),) * 1000)
    assert (await apply(store, *(put(name, version="v3") for name in names))).changed == 1000
    assert (await apply(store, *(Removal(name) for name in names))).changed == 1000


async def test_reads_are_added_to_the_entry_they_were_made_of(store: SqlBackend) -> None:
    await apply(store, put("k", 1))

    await store.record([Access(HERE, "k", at(0), "late", 2, at(7))])
    await store.record([Access(HERE, "k", at(0), "early", 3, at(6)), Access(HERE, "none", at(0), "x", 1, at(6))])

    entry = await read(store, "k")
    assert entry is not None
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (5, at(7), "late")
    assert (entry.version, entry.updated_at, entry.value) == ("v1", at(0), 1)
    assert await read(store, "none") is None


async def test_reads_of_an_earlier_entry_of_the_key_are_forgotten(store: SqlBackend) -> None:
    await apply(store, put("k"))
    await apply(store, Removal("k"))
    await apply(store, put("k"), seconds=1)

    await store.record([Access(HERE, "k", at(0), "reader", 2, at(1))])
    await store.record([])

    entry = await read(store, "k", 2)
    assert entry is not None
    assert (entry.access_count, entry.last_accessed_at) == (0, None)


async def test_clear_removes_the_live_entries_with_the_prefix_in_this_place_only(store: SqlBackend) -> None:
    await apply(store, *(put(f"a{number}") for number in range(600)), put("b"), put("a-old", expires_at=at(5)))
    for place in (Place("alice", "other"), Place("bob", "notes")):
        await store.apply(place, [put("a")], actor())

    assert await store.clear(HERE, "a", at(5)) == 600
    assert await store.clear(HERE, "a", at(5)) == 0

    assert await store.count(HERE, "", at(5)) == 1
    assert await store.count(Place("alice", "other"), "", at(5)) == 1
    assert await store.count(Place("bob", "notes"), "", at(5)) == 1
