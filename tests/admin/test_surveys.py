"""What `datastore admin stats | top | find` answer, on each engine; no look counts as a read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from admin.actions import surveys
from admin.actions.surveys import Walked
from datastore import open_store
from datastore.document import Place, Span, moment
from datastore.entry import NEVER
from datastore.ports import Actor, Write
from sandbox import ConnectedDataStore, connect
from tests.admin.conftest import Command
from tests.admin.words import process, terminal

ALICE = ("--user", "alice")


@pytest.fixture
def filled(alice: ConnectedDataStore, url: str, team: None) -> ConnectedDataStore:
    """Entries of two users and a space, some of them read, some of them about to expire."""
    del team
    alice.set("small", 1)
    alice.set("large", "x" * 5000)
    alice.use_namespace("files:repo").set_many({f"f{number}": "y" * number for number in range(5)})
    alice.set("soon", 1, ttl_seconds=3600)
    alice.set("later", 1, ttl_seconds=90_000)
    alice.set("gone", 1, ttl_seconds=0.001)
    while alice.exists("gone"):
        pass
    with connect(url, user="bob:%", agent="reader") as bob:
        bob.set("mine", [1])
        bob.get("mine")
        bob.get("mine")
    with connect(url, user="alice", agent="reader") as reader:
        reader.get_many(["small"])
    return alice


@pytest.mark.usefixtures("filled")
def test_stats_gives_a_sum_for_each_owner_and_one_of_all(datastore: Command) -> None:
    *owners, whole = datastore("admin", "stats", "--json").objects
    assert [(each["owner"], each["keys"], each["bytes"]) for each in owners] == [
        ("@team", 1, 6),
        ("alice", 9, 24 * 3 + 5002 + 20),
        ("bob:%", 1, 3),
    ]
    last = max(each["last_write"] for each in owners)
    assert whole == {
        "owner": None,
        "namespace": None,
        "keys": 11,
        "bytes": 5103,
        "written_keys": 11,
        "written_bytes": 5103,
        "created_keys": 11,
        "unread_keys": 9,
        "last_write": last,
    }
    *names, whole = datastore("admin", "stats", *ALICE).lines[1:]
    assert [line.split("\t")[:3] for line in names] == [["default", "4", "5,074"], ["files:repo", "5", "20"]]
    assert whole.split("\t")[:3] == ["(all)", "9", "5,094"]


def test_stats_counts_as_written_what_was_within_the_time(
    datastore: Command, alice: ConnectedDataStore, url: str
) -> None:
    alice.set_many({"a": 1, "b": 2})
    asyncio.run(age(url, seconds=7200))
    alice.set("b", "rewritten")
    alice.set("c", 3)
    (_, whole) = datastore("admin", "stats", "--within-seconds", "3600", "--json").objects
    counts = (whole["keys"], whole["written_keys"], whole["written_bytes"], whole["created_keys"])
    assert counts == (3, 2, 11 + 24, 1)
    found = datastore("admin", "find", "--written-within-seconds", "3600", "--json").objects
    assert [each["key"] for each in found] == ["b", "c"]


async def age(url: str, seconds: float) -> None:
    """Make alice's entries older than they are."""
    async with open_store(url) as store:
        place, now, by = Place("alice", "default"), store.clock.now(), timedelta(seconds=seconds)
        found, _ = await store.engine.scan(place, Span(), now)
        old = [replace(each, created_at=each.created_at - by, updated_at=each.updated_at - by) for each in found]
        await store.engine.restore(place, old, now, replace=True)


def test_what_grew_since_a_saved_list_is_the_difference(
    datastore: Command, alice: ConnectedDataStore, url: str, tmp_path: Path
) -> None:
    def hold(user: str, value: object) -> None:
        with connect(url, user=user, agent="writer") as theirs:
            theirs.clear() if value is None else theirs.set("k", value)

    for user in ("ann", "bob:%", "carl", "zoe"):
        hold(user, 1)
    saved = tmp_path / "saved.ndjson"
    saved.write_text(datastore("admin", "stats", "--json").out, encoding="utf-8")
    since = ("admin", "stats", "--since", str(saved))
    assert datastore(*since).complaint == f"datastore: everything is as large as in {str(saved)!r}"
    hold("bob:%", "x" * 30)
    hold("carl", None)
    alice.set_many({"a": 1, "b": 2})
    header, *lines = datastore(*since).lines
    assert header.split("\t") == ["owner", "keys", "bytes", "more keys", "more bytes"]
    assert [line.split("\t") for line in lines] == [
        ["alice", "2", "48", "+2", "+48"],
        ["bob:%", "1", "32", "+0", "+8"],
        ["carl", "0", "0", "-1", "-24"],
        ["(all)", "5", "128", "+1", "+32"],
    ]
    assert datastore(*since, "--json").objects[0] == {
        "owner": "alice",
        "namespace": None,
        "keys": 2,
        "bytes": 48,
        "more_keys": 2,
        "more_bytes": 48,
    }


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("spoil", ["nothing", "cut", "another", "doubled", "zeros", "garbage"])
def test_what_is_no_whole_saved_list_is_refused(
    datastore: Command, alice: ConnectedDataStore, tmp_path: Path, spoil: str
) -> None:
    alice.use_namespace("b").set("a", 1)
    alice.set("a", 1)
    whole = datastore("admin", "stats", *ALICE, "--json").out
    lines = whole.splitlines(keepends=True)
    texts = {
        "nothing": "",
        "cut": "".join(lines[:-1]),
        "another": datastore("admin", "stats", "--json").out,
        "doubled": "".join([lines[0], *lines]),
        "zeros": "0" * 100_000,
        "garbage": whole.replace('"keys": 1', '"keys": "1"'),
    }
    saved = tmp_path / "saved.ndjson"
    saved.write_text(texts[spoil], encoding="utf-8")
    ended = datastore("admin", "stats", *ALICE, "--since", str(saved))
    assert (ended.code, ended.complaint.startswith(f"datastore: {str(saved)!r}, line ")) == (2, True)


@pytest.mark.usefixtures("filled")
def test_top_lists_the_largest_or_the_most_read_first(datastore: Command) -> None:
    def keys(*given: str) -> list[str]:
        return [each["key"] for each in datastore("admin", "top", "--json", *given).objects]

    assert keys("--limit", "1") == ["large"]
    assert keys(*ALICE, "--namespace", "files:repo", "--limit", "2") == ["f4", "f3"]
    assert keys("--by", "reads", "--limit", "2") == ["mine", "small"]
    header, row = datastore("admin", "top", "--limit", "1").lines
    assert header.split("\t") == ["owner", "namespace", "key", "bytes", "reads", "updated (UTC)", "by", "expires (UTC)"]
    assert row.split("\t")[:5] == ["alice", "default", "large", "5,002", "0"]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("url", ["sqlite", "mongodb"], indirect=True)
def test_find_lists_what_meets_every_condition(datastore: Command) -> None:
    def keys(*given: str) -> list[str]:
        return [each["key"] for each in datastore("admin", "find", "--json", *given).objects]

    assert keys("--written-by", "@admin/someone") == ["next"]
    assert keys("--read-by", "reader") == ["small", "mine"]
    assert keys("--expires-within-seconds", "4000") == ["soon"]
    assert keys("--never-read", "--written-by", "writer", "--expires-within-seconds", "100000") == ["later", "soon"]
    assert keys("--never-read", *ALICE, "--namespace", "files:repo") == ["f0", "f1", "f2", "f3", "f4"]
    assert "mine" not in keys("--never-read")
    ended = datastore("admin", "find", "--written-by", "nobody")
    assert (ended.code, ended.complaint) == (0, "datastore: no entry is so, of 12 records")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_look_over_more_than_a_page_misses_nothing_and_is_no_read(
    datastore: Command, alice: ConnectedDataStore, env: dict[str, str]
) -> None:
    alice.set_many({f"k{number:04}": number for number in range(2100)})
    assert len(datastore("admin", "find", "--never-read").lines) == 2101
    assert datastore("admin", "stats").lines[-1].startswith("(all)\t2,100\t")
    code, shown = terminal(["admin", "top"], env | {"TERM": "xterm"})
    assert (code, "looking at records" in shown) == (0, True)
    assert len(datastore("admin", "find", "--never-read").lines) == 2101
    ended = process(["admin", "stats", "--since", "-"], env)
    assert (ended.code, ended.complaint.startswith("datastore: stdin, line 0: it is a pipe")) == (2, True)


async def test_sums_of_more_owners_than_a_page_has_are_complete_and_in_order() -> None:
    owners = [f"user {number:04}" for number in range(1400)]
    async with open_store("sqlite://") as store:
        actor = Actor("writer", "run", moment(store.clock.now()))
        for owner in owners:
            puts = [Write(key, 1, 24, "v1", NEVER, {}) for key in "abc"]
            await store.engine.apply(Place(owner, "default"), puts, actor)
        pages = [page async for page in surveys.stats(store, None, 60, Walked())]
    lines = [line for page in pages for line in page]
    assert [line.owner for line in lines] == [*owners, None]
    assert {line.tally.keys for line in lines[:-1]} == {3}
    assert lines[-1].tally.keys == 4200
    assert len(pages) > 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("given", "mend"),
    [
        (("find",), "say what to find: --written-by AGENT"),
        (("find", "--never-read", "--namespace", "x"), "--namespace needs its owner"),
        (("find", "--expires-within-seconds", "0"), "--expires-within-seconds=0.0 must be above 0"),
        (("top", "--limit", "0"), "--limit"),
        (("top", "--by", "age"), "--by"),
        (("stats", "--within-seconds", "nan"), "--within-seconds=nan must be above 0"),
        (("stats", "--since", "/no/such"), "'/no/such' cannot be used: no such file"),
        (("check", "--user", "a", "--space", "b"), "one of the two"),
    ],
)
def test_what_cannot_be_meant_is_exit_2_and_one_line(datastore: Command, given: tuple[str, ...], mend: str) -> None:
    ended = datastore("admin", *given)
    assert (ended.code, mend in ended.complaint) == (2, True)
