"""Users who are blocked, and users who are taken away: nothing of them is left, and nothing of others is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import select

from admin.actions import archive, blocking, erase
from admin.actions.archive import Arrival
from admin.actions.blocking import Receipt
from admin.actions.subject import NotFound, Owner
from datastore import Grant, Limits, Scope
from datastore.backends.mongo import MongoBackend
from datastore.backends.mongo.documents import plain
from datastore.backends.sql import SqlBackend
from datastore.backends.sql.counted import counters
from datastore.backends.sql.noted import changes, horizons
from datastore.backends.sql.schema import entries
from datastore.document import Place, Span
from datastore.entry import Entry
from datastore.errors import AccessDenied, InvalidArgument, StoreUnavailable
from datastore.operations import Apply, Delete, Put, Watch
from datastore.ports import Actor, Requirement, Traces
from datastore.service import overrides
from datastore.service.overrides import Room
from sandbox import ConnectedDataStore
from tests.world import World, bare

SPACE = Grant(namespace="*", space="team")
GRANTS = (Grant.own(), SPACE)
ROOM = {"whole": Room(keys=1000)}
STEPS = ("apply", "expunge", "disown", "forget")


def acting(world: World) -> Actor:
    return Actor("operator", "run-1", world.clock.now())


def fill(world: World, user: str) -> None:
    """Everything that a user leaves behind: entries of every kind, leftovers, locks, guards, reads, and in a space."""
    mine = world.agent(user, "writer", grants=GRANTS, limits=Limits(user_bytes=10_000))
    mine.set_many({f"k{number:03}": {"n": number} for number in range(20)}, {"m": 1})
    mine.use_namespace("files").set_many({"bytes": b"\x00\xff", "odd \u202e:%": [1.0, None]}, ttl_seconds=3600)
    mine.set("leftover", 1, ttl_seconds=1)
    world.clock.advance(2)
    mine.private("notes").set("p", 1)
    world.loop.run(overrides.change(world.store.engine, user, lambda each: each.model_copy(update=ROOM), acting(world)))
    with mine.lock("jobs"):
        mine.get_many(["k000", "k001"])
    shared = mine.shared("team")
    shared.set_many({f"of {user[0]}": 1, "of both": user[0]})
    with shared.lock(f"lock of {user[0]}"):
        shared.get("of both")


def fill_guards(world: World, user: str) -> None:
    """What an atomic operation leaves of a key that it only required to be absent."""
    if world.backend != "mock":
        place, actor = Place(user, "default"), Actor("writer", "run-1", world.clock.now())
        steps = [(place, Requirement("guarded", None)), (place, Requirement("guarded too", None))]
        world.loop.run(world.store.engine.atomic(steps, actor))


def held(world: World, owner: str) -> list[Entry]:
    """Every live entry of an owner."""
    found: list[Entry] = []
    now = world.clock.now()
    for name in sorted(world.loop.run(world.store.engine.usage(owner, now))):
        found += world.loop.run(world.store.engine.scan(Place(owner, name), Span(), now))[0]
    return found


def everything(world: World) -> str:
    """All that the engine holds in tables or collections, as text."""
    engine = bare(world.store.engine)
    if isinstance(engine, MongoBackend):
        collections = (engine._entries, engine._reservations._counters)
        return repr([plain(each) for found in collections for each in world.loop.run(found.find({}).to_list())])
    assert isinstance(engine, SqlBackend)

    async def dump(job: Any) -> list[Any]:
        return [(await job.execute(select(each))).all() for each in (entries, changes, horizons, counters)]

    return repr(world.loop.run(engine._runner.run(dump, writes=False)))


def erased(world: World, user: str) -> Receipt:
    return world.loop.run(erase.erase(world.store, user, 0))


def test_an_erasure_leaves_no_word_of_a_user_and_nothing_of_others_changed(the_world: World) -> None:
    for user in ("alice-7", "bob"):
        fill(the_world, user)
    fill_guards(the_world, "alice-7")
    the_world.flush()
    bob, team = held(the_world, "bob"), held(the_world, "@team")
    assert len(bob) == 24
    assert everything(the_world).count("alice-7") > 30

    receipt = erased(the_world, "alice-7")
    the_world.flush()

    assert (receipt.keys, receipt.shared) == (27 if the_world.backend in ("motor", "pymongo") else 25, 3)
    assert "alice-7" not in everything(the_world)
    assert the_world.loop.run(the_world.store.engine.traces("alice-7")) == Traces(0, 0, 0, 0, 0)
    assert held(the_world, "bob") == bob
    named = receipt.pseudonym
    assert held(the_world, "@team") == [
        replace(
            each,
            created_by_user=named if each.created_by_user == "alice-7" else each.created_by_user,
            updated_by_user=named if each.updated_by_user == "alice-7" else each.updated_by_user,
        )
        for each in team
    ]
    assert {each.created_by_user for each in held(the_world, "@team")} == {named, "bob"}
    assert {each.updated_by_user for each in held(the_world, "@team")} == {named, "bob"}


def test_a_second_erasure_finds_nothing_and_who_was_never_there_is_not_blocked(the_world: World) -> None:
    loop, store = the_world.loop, the_world.store
    fill(the_world, "alice")
    receipt = erased(the_world, "alice")
    assert loop.run(erase.prospect(store, "alice")).done == receipt
    with pytest.raises(NotFound, match="user nobody holds nothing"):
        loop.run(erase.prospect(store, "nobody"))
    assert loop.run(blocking.look(store, "nobody")) == (None, None)


class Cut(BaseException):
    """The process ends here."""


def cut(world: World, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the engine change something so many times for an erasure, and then no more."""
    left = after

    def counting(real: Any) -> Any:
        async def counted(*given: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Cut
            return await real(*given)

        return counted

    for name in STEPS:
        monkeypatch.setattr(world.store.engine, name, counting(getattr(world.store.engine, name)))


def test_an_erasure_that_is_cut_off_anywhere_goes_on_and_ends_as_one(
    the_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts: set[str | None] = set()
    for after in range(20):
        user = f"user {after:02}"
        data_store = the_world.agent(user, grants=GRANTS)
        data_store.set_many({"a": 1, "b": 2})
        data_store.shared("team").set(str(after), 1)
        with monkeypatch.context() as patch:
            cut(the_world, patch, after)
            try:
                erased(the_world, user)
            except Cut:
                pass
            else:
                break
        receipt = erased(the_world, user)
        assert user not in everything(the_world)
        (mine,) = the_world.loop.run(
            the_world.store.engine.get(Place("@team", "default"), [str(after)], the_world.clock.now())
        )[0]
        assert mine.created_by_user == mine.updated_by_user == receipt.pseudonym
        kept = the_world.loop.run(the_world.store.engine.scan(blocking.RECEIPTS, Span(), the_world.clock.now()))[0]
        receipts.add(receipt.id)
        assert {each.key for each in kept} == receipts
    assert after > 8


def test_a_user_comes_back_as_it_was_from_its_archive(the_world: World) -> None:
    loop, store = the_world.loop, the_world.store
    fill(the_world, "alice")
    the_world.flush()
    owner, kept = Owner.of("alice", None), BytesIO()
    loop.run(archive.export(store, owner, None, kept, lambda _: None))
    before = held(the_world, "alice")
    erased(the_world, "alice")

    arrival = Arrival(owner, BytesIO(kept.getvalue()), "the archive", "refuse", with_limits=True)
    with pytest.raises(AccessDenied, match="this user is blocked"):
        loop.run(archive.load(store, arrival, lambda _: None))
    assert held(the_world, "alice") == []
    loop.run(blocking.unblock(store, "alice"))
    arrival.source.seek(0)
    loop.run(archive.load(store, arrival, lambda _: None))

    assert [repr(each.as_dict()) for each in held(the_world, "alice")] == [repr(each.as_dict()) for each in before]
    again = BytesIO()
    loop.run(archive.export(store, owner, None, again, lambda _: None))
    assert again.getvalue().splitlines()[1:-1] == kept.getvalue().splitlines()[1:-1]


def acts(data_store: ConnectedDataStore) -> list[Callable[[], object]]:
    """One call of each operation, and into a space."""
    return [
        lambda: data_store.get("k"),
        data_store.list_keys,
        data_store.list_namespaces,
        data_store.count,
        data_store.usage,
        lambda: data_store.set("k", 1),
        lambda: data_store.delete("k"),
        lambda: data_store.incr("n"),
        data_store.clear,
        lambda: data_store.copy_to("other"),
        lambda: data_store.wait_for("k"),
        lambda: data_store.shared("team").set("k", 1),
        lambda: data_store.shared("team").get("k"),
    ]


def test_agents_of_a_blocked_user_are_refused_in_all_that_they_do_until_it_is_unblocked(the_world: World) -> None:
    loop, store = the_world.loop, the_world.store
    alice, bob = (the_world.agent(user, grants=GRANTS) for user in ("alice", "bob"))
    alice.set("k", 1)
    assert loop.run(blocking.block(store, "alice"))
    assert not loop.run(blocking.block(store, "alice"))
    for act in acts(alice):
        with pytest.raises(AccessDenied, match="this user is blocked, so the store refuses"):
            act()
    bob.set("k", 2)
    assert bob.get("k") == 2
    assert [each.value for each in held(the_world, "alice")] == [1]
    with pytest.raises(AccessDenied):
        the_world.execute(Apply(namespace="default", mutations=(Put(key="k", value=3),)))
    the_world.execute(Apply(namespace="default", mutations=(Delete(key="k"),)))
    assert held(the_world, "alice") == []
    loop.run(blocking.unblock(store, "alice"))
    alice.set("k", 4)
    with pytest.raises(NotFound, match="user alice is not blocked"):
        loop.run(blocking.unblock(store, "alice"))


def test_a_user_cannot_be_unblocked_while_it_is_being_erased(the_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    the_world.agent("alice").set("k", 1)
    with monkeypatch.context() as patch:
        cut(the_world, patch, 1)
        with pytest.raises(Cut):
            erased(the_world, "alice")
    with pytest.raises(InvalidArgument, match="datastore admin erase --user alice"):
        the_world.loop.run(blocking.unblock(the_world.store, "alice"))


def test_an_erasure_that_another_has_ended_leaves_what_its_user_wrote_after_it_was_unblocked(the_world: World) -> None:
    fill(the_world, "alice")
    store, run = the_world.store, the_world.loop.run
    receipt = run(blocking.begin(store, "alice", run(store.engine.traces("alice"))))
    run(erase.erase(store, "alice", 0))
    run(blocking.unblock(store, "alice"))
    agent = the_world.agent("alice")
    agent.set("anew", 1)
    with pytest.raises(StoreUnavailable, match="somebody else blocks, unblocks or erases"):
        run(erase._remove(store, "alice", receipt, lambda _: None))
    assert agent.get("anew") == 1


def test_whoever_waits_for_a_change_when_its_user_is_blocked_is_not_told_of_it(
    the_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = the_world.store
    the_world.agent("alice").set("k", 1)

    async def watched() -> None:
        scope = Scope(user="alice", agent="watcher")
        began, after = asyncio.Event(), store._watching._changes.after

        async def waiting(*given: Any) -> Any:
            began.set()
            return await after(*given)

        monkeypatch.setattr(store._watching._changes, "after", waiting)
        seen = asyncio.create_task(store.execute(scope, Watch(namespace="default", wait_seconds=20)))
        await began.wait()
        await blocking.block(store, "alice")
        await store.engine.clear(Place("alice", "default"), "", the_world.clock.now())
        with pytest.raises(AccessDenied, match="this user is blocked"):
            await seen

    the_world.loop.run(watched())
