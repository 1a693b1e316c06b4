"""Watches give each change once and in order; `wait_for` gives a value as soon as there is one."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest

from datastore import Grant
from datastore.errors import AccessDenied, InvalidArgument, InvalidName, Timeout
from sandbox import ConnectedDataStore
from sandbox.guest.watching import Change, Watch
from tests.world import WAIT_SECONDS, World

Told = tuple[str, str, str | None]
KEYS = ("a", "ab", "job:1", "job:2", "job:10", "Zoë:1")


def told(changes: list[Change]) -> list[Told]:
    return [(each.kind, each.key, each.version) for each in changes]


def take(watch: Watch, count: int) -> list[Change]:
    """Return the next changes, waiting for them as long as it takes."""
    return list(islice(watch, count))


def watched(store: ConnectedDataStore, prefix: str | None = None, cursor: str | None = None) -> Watch:
    return store.watch(prefix, cursor=cursor, timeout_seconds=WAIT_SECONDS)


@contextmanager
def meanwhile(work: Any) -> Iterator[None]:
    """Do something in another thread."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()


def test_a_watch_gives_what_is_changed_after_it_was_called_and_nothing_from_before(the_world: World) -> None:
    store = the_world.agent()
    store.set("job:0", 1)
    watch = watched(store, "job:")
    version = store.set("job:1", 1)
    assert told(take(watch, 1)) == [("put", "job:1", version)]
    store.delete("job:1")
    assert told(take(watch, 1)) == [("removed", "job:1", None)]
    version = store.set("job:1", 2)
    assert told(take(watch, 1)) == [("put", "job:1", version)]


def test_it_tells_of_every_kind_of_change_and_of_nothing_else(large_world: World) -> None:
    store = large_world.agent().use_namespace("n")
    watch = watched(store)
    versions = [store.set("a", 1), store.set("a", {"b": 1}, {"m": 1})]
    assert store.add("b", b"bytes")
    versions.append(store.set("b", 2, if_version=store.get_entry("b").version))  # type: ignore[union-attr]
    assert store.touch("a", 60)
    assert store.get("a") == {"b": 1}
    large_world.flush()
    assert not store.add("a", 1)
    assert not store.delete("absent")
    assert store.delete("b")
    assert store.clear() == 1
    assert large_world.agent().use_namespace("other").copy_to("n") == 0
    store.set("end", 1)
    found = take(watch, 7)
    assert [(each.kind, each.key) for each in found] == [
        *[("put", "a")] * 2,
        *[("put", "b")] * 2,
        ("removed", "b"),
        ("removed", "a"),
        ("put", "end"),
    ]
    assert [found[0].version, found[1].version, found[3].version] == versions
    assert len({each.cursor for each in found}) == len(found)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_watched_is_what_was_written(large_world: World, seed: int) -> None:
    """Of several users and namespaces, by several agents, at random; each watcher sees its own part of it, in order."""
    choose = random.Random(seed)  # noqa: S311 - a test's dice
    stores = {
        (user, namespace): large_world.agent(user).use_namespace(namespace)
        for user in ("alice", "bob", "a:b%")
        for namespace in ("n", "n:m", "self")
    }
    watches = {(name, prefix): watched(stores[name], prefix) for name in stores for prefix in ("", "job:1", "a")}
    made: dict[Any, list[Told]] = {name: [] for name in stores}
    for _ in range(300):
        name = choose.choice(list(stores))
        made[name] += _change(stores[name], choose)
    for name, store in stores.items():
        made[name] += [("put", key, store.set(key, "end")) for key in ("a", "job:1")]
    for (name, prefix), watch in watches.items():
        expected = [each for each in made[name] if each[1].startswith(prefix)]
        assert told(take(watch, len(expected))) == expected, (name, prefix)


def _change(store: ConnectedDataStore, choose: random.Random) -> list[Told]:
    key = choose.choice(KEYS)
    match choose.randrange(5):
        case 0:
            return [("removed", key, None)] if store.delete(key) else []
        case 1:
            added = store.add(key, 1)
            return [("put", key, store.get_entry(key).version)] if added else []  # type: ignore[union-attr]
        case 2:
            store.touch(key, choose.choice([None, 1000]))
            return []
    return [("put", key, store.set(key, choose.random()))]


def test_a_cursor_goes_on_where_it_was_given_on_another_connection_too(large_world: World) -> None:
    store = large_world.agent()
    watch = watched(store, "job:")
    store.set_many({f"job:{i}": i for i in range(10)})
    found = take(watch, 10)
    assert sorted(each.key for each in found) == sorted(f"job:{i}" for i in range(10))
    again = watched(large_world.agent(agent="other"), "job:", cursor=found[3].cursor)
    assert told(take(again, 6)) == told(found[4:])


def test_a_watch_that_ended_without_a_change_goes_on_from_its_cursor(the_world: World) -> None:
    store = the_world.agent()
    watch = store.watch(timeout_seconds=0.01)
    assert list(watch) == []
    assert watch.cursor is not None
    version = store.set("k", 1)
    assert told(take(watched(store, cursor=watch.cursor), 1)) == [("put", "k", version)]


def test_a_cursor_is_good_for_its_owner_namespace_and_prefix_alone(the_world: World) -> None:
    store = the_world.agent()
    cursor = watched(store, "job:").cursor
    assert cursor is not None
    foreign = [
        watched(store, "job", cursor),
        watched(store, None, cursor),
        watched(store.use_namespace("other"), "job:", cursor),
        watched(store.private(), "job:", cursor),
        watched(the_world.agent("bob"), "job:", cursor),
        *(watched(store, "job:", forged) for forged in (cursor[:-2], "A" * len(cursor), "", "x", cursor + "é", "=")),
        watched(store, "job:", ("B" if cursor[0] == "A" else "A") + cursor[1:]),
    ]
    for watch in foreign:
        with pytest.raises(InvalidArgument, match="this cursor was not given for this namespace and prefix"):
            next(watch)


def test_two_cursors_of_one_moment_differ_and_show_no_position(the_world: World) -> None:
    store = the_world.agent()
    assert watched(store).cursor != watched(store).cursor


def test_watching_needs_the_right_to_read(the_world: World) -> None:
    writer = the_world.agent(grants=(Grant(namespace="n*", access="write"), Grant(namespace="self.*")))
    with pytest.raises(AccessDenied, match="reading namespace 'n' is not granted"):
        watched(writer.use_namespace("n"))
    with pytest.raises(AccessDenied):
        writer.use_namespace("n").wait_for("k")
    with pytest.raises(AccessDenied):
        watched(writer)
    assert watched(writer.private()).cursor is not None


def test_a_private_namespace_is_watched_by_its_agent_alone(the_world: World) -> None:
    mine, other = the_world.agent(agent="one"), the_world.agent(agent="two")
    own, theirs = watched(mine.private()), other.private().watch(timeout_seconds=0.01)
    version = mine.private().set("k", 1)
    assert told(take(own, 1)) == [("put", "k", version)]
    assert list(theirs) == []


def test_expiry_is_no_change_and_writing_over_what_expired_is_a_put(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=10)
    watch = watched(store)
    the_world.clock.advance(11)
    assert not store.exists("k")
    version = store.set("k", 2)
    assert told(take(watch, 1)) == [("put", "k", version)]


def test_the_largest_value_is_told_of_like_any_other(large_world: World) -> None:
    store = large_world.agent()
    watch = watched(store)
    large = "x" * (4 * 1024 * 1024 - 2)
    versions = [store.set("k", large), store.set("k", large + "", {"m": 1}), store.set("l", [1] * 60_000)]
    assert [version for *_, version in told(take(watch, 3))] == versions


def test_a_watch_may_be_awaited_to_begin_and_is_then_iterated(the_world: World) -> None:
    store = the_world.agent()

    async def main() -> list[Told]:
        watch = await store.aio.watch("k", timeout_seconds=WAIT_SECONDS)
        await store.aio.set("k", 1)
        found = []
        async for change in watch:
            found.append(change)
            if len(found) == 2:
                return told(found)
            await store.aio.delete("k")
        return []

    [(kind, key, version), removed] = asyncio.run(main())
    assert (kind, key, version is not None, removed) == ("put", "k", True, ("removed", "k", None))


def test_wait_for_gives_what_is_there_at_once(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", None)
    assert store.wait_for("k", 0.001) is None
    entry = store.get_entry("k")
    assert entry is not None
    assert store.wait_for("k", 0.001, after="another") is None


def test_wait_for_gives_a_value_as_soon_as_it_comes(the_world: World) -> None:
    store, other = the_world.agent(), the_world.agent(agent="other")
    with meanwhile(lambda: (other.set("k:1", 0), other.set("k", b"here"))):
        assert store.wait_for("k", WAIT_SECONDS) == b"here"


def test_wait_for_another_version_passes_over_the_one_that_was_seen(the_world: World) -> None:
    store, other = the_world.agent(), the_world.agent(agent="other")
    seen = store.set("k", 1)

    def change() -> None:
        other.touch("k", 100)
        other.delete("k")
        other.set("k", 2)

    with meanwhile(change):
        assert store.wait_for("k", WAIT_SECONDS, after=seen) == 2


@pytest.mark.parametrize("after", [False, True])
def test_wait_for_ends_in_time_with_an_error_that_is_a_timeout_error(the_world: World, *, after: bool) -> None:
    store = the_world.agent()
    seen = store.set("k", 1)
    with pytest.raises(TimeoutError, match=r"came within 0\.05 seconds") as caught:
        store.wait_for("k" if after else "absent", 0.05, after=seen if after else None)
    assert isinstance(caught.value, Timeout)


def test_wait_for_counts_as_a_read_of_what_it_returns_and_of_nothing_else(the_world: World) -> None:
    store = the_world.agent()
    seen = store.set("k", 1)
    with pytest.raises(Timeout):
        store.wait_for("k", 0.01, after=seen)
    the_world.flush()
    entry = store.get_entry("k")
    assert entry is not None
    assert entry.access_count == 0
    store.wait_for("k")
    the_world.flush()
    again = store.get_entry("k")
    assert again is not None
    assert again.access_count == 2


def test_an_expired_entry_is_waited_for_like_an_absent_one(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", 1, ttl_seconds=5)
    the_world.clock.advance(6)
    with pytest.raises(Timeout):
        store.wait_for("k", 0.01)


def test_ten_calls_that_wait_for_ten_keys_all_end(the_world: World) -> None:
    """More than may wait at once, which are brought in the opposite order."""
    store = the_world.agent()

    async def main() -> list[Any]:
        waiting = [asyncio.create_task(store.aio.wait_for(f"part:{i}", WAIT_SECONDS)) for i in range(10)]
        for i in reversed(range(10)):
            await store.aio.set(f"part:{i}", i)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == list(range(10))


def test_names_and_durations_are_checked_before_anything_is_sent(the_world: World) -> None:
    store = the_world.agent()
    for call in (store.watch, store.wait_for):
        with pytest.raises(InvalidName):
            call(5)  # type: ignore[arg-type]  # the mistake is the case
        with pytest.raises(InvalidArgument, match="timeout_seconds"):
            call("k", timeout_seconds=0)
    with pytest.raises(InvalidArgument, match=r"cursor must be text, got int\. Write cursor=change\.cursor"):
        store.watch(cursor=5)  # type: ignore[arg-type]  # as above
    with pytest.raises(InvalidArgument, match=r"after needs a version, got Entry\. Write after=entry\.version"):
        store.wait_for("k", after=_entry(store))


def _entry(store: ConnectedDataStore) -> Any:
    store.set("k", 1)
    return store.get_entry("k")
