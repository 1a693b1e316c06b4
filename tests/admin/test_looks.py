"""What `datastore admin users | namespaces | keys | show` print, and that looking leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import ConnectedDataStore, connect
from tests.admin.conftest import Command

ALICE = ("--user", "alice")


def test_users_shows_what_every_owner_holds(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("a", "x" * 998)
    alice.use_namespace("files:repo").set_many({"b": 1, "c": 2})
    header, row = datastore("admin", "users").lines
    assert header.split("\t") == ["owner", "namespaces", "keys", "bytes", "last write (UTC)"]
    assert row.split("\t")[:4] == ["alice", "2", "3", "1,048"]


@pytest.mark.usefixtures("team")
def test_users_gives_a_line_of_json_for_each_owner_in_order(
    datastore: Command, alice: ConnectedDataStore, url: str
) -> None:
    alice.set("a", 1)
    with connect(url, user="bob:%", agent="writer") as bob:
        bob.set("a", 1)
    found = datastore("admin", "users", "--json").objects
    assert [each["owner"] for each in found] == ["@team", "alice", "bob:%"]
    assert found[1] == {"owner": "alice", "namespaces": 1, "keys": 1, "bytes": 24, "last_write": found[1]["last_write"]}


def test_users_of_an_empty_store_prints_nothing_and_says_so(datastore: Command) -> None:
    ended = datastore("admin", "users")
    assert (ended.code, ended.complaint) == (0, "datastore: the store holds nothing")


def test_users_does_not_show_what_the_store_keeps_for_itself(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.watch()
    ended = datastore("admin", "users")
    assert (ended.code, ended.complaint) == (0, "datastore: the store holds nothing")
    alice.set("a", 1)
    assert [each["owner"] for each in datastore("admin", "users", "--json").objects] == ["alice"]


def test_namespaces_includes_those_that_the_host_makes(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("a", 1)
    alice.private().set("b", 1)
    alice.private("x").set("b", 1)
    found = datastore("admin", "namespaces", *ALICE, "--json").objects
    assert [each["namespace"] for each in found] == ["@agent/writer", "@agent/writer/x", "default"]
    assert found[2] == {"namespace": "default", "keys": 1, "bytes": 24, "last_write": found[2]["last_write"]}


def test_namespaces_with_a_prefix_shows_those_alone(datastore: Command, alice: ConnectedDataStore) -> None:
    for name in ("files:a", "files:b", "notes"):
        alice.use_namespace(name).set("k", 1)
    lines = datastore("admin", "namespaces", *ALICE, "--prefix", "files:").lines
    assert [line.partition("\t")[0] for line in lines] == ["namespace", "files:a", "files:b"]


@pytest.mark.usefixtures("team")
def test_a_space_is_named_instead_of_a_user(datastore: Command) -> None:
    (found,) = datastore("admin", "keys", "--space", "team", "--namespace", "plans", "--json").objects
    assert (found["key"], found["updated_by_agent"]) == ("next", "@admin/someone")


def test_keys_shows_bytes_version_writer_and_expiry(datastore: Command, alice: ConnectedDataStore) -> None:
    version = alice.set("a", "x" * 2000)
    alice.set("b", 1, ttl_seconds=3600)
    header, first, second = (line.split("\t") for line in datastore("admin", "keys", *ALICE).lines)
    assert header == ["key", "bytes", "version", "updated (UTC)", "by", "expires (UTC)"]
    assert (first[0], first[1], first[2], first[4], first[5]) == ("a", "2,002", version, "writer", "never")
    assert second[5] > second[3]


def test_keys_as_json_is_the_entry_without_its_value(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("a", {"n": 1}, {"source": "crm"})
    known = alice.get_entry("a")
    assert known is not None
    expected: dict[str, Any] = {**known.as_dict()}
    del expected["value"]
    assert datastore("admin", "keys", *ALICE, "--json").objects == [expected]


def test_keys_lists_every_page_in_order(datastore: Command, alice: ConnectedDataStore) -> None:
    wanted = [f"k{number:05}" for number in range(2100)]
    alice.set_many(dict.fromkeys(wanted, 0))
    assert [line.partition("\t")[0] for line in datastore("admin", "keys", *ALICE).lines] == ["key", *wanted]


def test_keys_stops_at_a_limit_and_keeps_to_a_prefix(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set_many(dict.fromkeys([f"k{number:05}" for number in range(1500)] + ["a", "z"], 0))
    found = datastore("admin", "keys", *ALICE, "--prefix", "k", "--limit", "1200", "--json").objects
    assert (len(found), found[0]["key"], found[-1]["key"]) == (1200, "k00000", "k01199")


def test_keys_in_a_pipe_are_whole_and_one_line_each(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("long " * 200 + "\n\x1b[31m\u202e", 1)
    _, row = datastore("admin", "keys", *ALICE).lines
    assert row.startswith("long " * 200 + "\\u000a\\u001b[31m\\u202e\t")


def test_no_keys_is_an_empty_list_and_a_note(datastore: Command) -> None:
    ended = datastore("admin", "keys", *ALICE, "--prefix", "x")
    assert (ended.code, ended.complaint) == (
        0,
        "datastore: user alice, namespace default has no keys that begin with 'x'",
    )


def test_show_prints_value_metadata_and_provenance(datastore: Command, alice: ConnectedDataStore) -> None:
    version = alice.use_namespace("files:repo").set("a.py", {"lines": [1, "é"]}, {"source": "crm"})
    ended = datastore("admin", "show", *ALICE, "--namespace", "files:repo", "a.py")
    facts, _, value = ended.out.partition("\n\n")
    assert value == '{\n  "lines": [\n    1,\n    "é"\n  ]\n}\n'
    known = dict(line.split(maxsplit=1) for line in facts.splitlines())
    assert (known["owner"], known["namespace"], known["key"]) == ("user alice", "files:repo", "a.py")
    assert (known["version"], known["metadata"], known["expires"]) == (version, '{"source": "crm"}', "never")
    assert " by writer, run connect-" in known["created"]


def test_show_as_json_is_the_entry_itself(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("a", {"control": "\x1b\x9b\u202e\u2028\n", "plain": "é"})
    known = alice.get_entry("a")
    assert known is not None
    ended = datastore("admin", "show", *ALICE, "a", "--json")
    assert ended.objects == [known.as_dict()]
    assert "\\u001b\\u009b\\u202e\\u2028\\n" in ended.out


def test_show_of_bytes_says_type_and_size(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("a", b"\0" * 2048)
    shown = "bytes, 2.0 KiB; --raw gives them as they are, --json as base64"
    assert datastore("admin", "show", *ALICE, "a").lines[-1] == shown


def test_show_of_what_is_not_there_is_exit_1_and_one_line(datastore: Command) -> None:
    ended = datastore("admin", "show", *ALICE, "nope")
    assert (ended.code, ended.complaint) == (1, "datastore: user alice, namespace default has no key 'nope'.")


def test_an_expired_entry_is_not_there(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("gone", 1, ttl_seconds=0.001)
    while alice.exists("gone"):
        pass
    assert datastore("admin", "show", *ALICE, "gone").code == 1


def test_looks_are_not_counted_as_reads(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("a", 1)
    for look in (("users",), ("namespaces", *ALICE), ("keys", *ALICE), ("show", *ALICE, "a")):
        assert datastore("admin", *look).code == 0
    entry = alice.get_entry("a")
    assert entry is not None
    assert (entry.access_count, entry.last_accessed_at, entry.last_accessed_by_agent) == (0, None, None)


@pytest.mark.parametrize("verb", [("namespaces",), ("keys",), ("show", "k"), ("set", "k", "1"), ("delete", "k")])
@pytest.mark.parametrize("owner", [(), ("--user", "a", "--space", "b")])
def test_whose_data_must_be_said_once(datastore: Command, verb: tuple[str, ...], owner: tuple[str, ...]) -> None:
    ended = datastore("admin", *verb, *owner)
    assert ended.code == 2
    assert ended.complaint == "datastore: say whose data: --user USER or --space SPACE, one of the two."


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        (("--user", "@team"), "Write --space 'team'."),
        (("--user", ""), "user must not be empty."),
        (("--space", "@team"), "begins with '@'"),
        (("--user", "alice", "--namespace", ""), "namespace must not be empty."),
        (("--user", "alice", "--namespace", "self"), "Name it in full: '@agent/NAME'."),
        (("--user", "alice", "--namespace", "n" * 257), "the limit is 256"),
        (("--user", "alice", "--limit", "0"), "--limit"),
    ],
)
def test_an_unusable_name_is_exit_2_and_says_what_to_write(
    datastore: Command, given: tuple[str, ...], mend: str
) -> None:
    ended = datastore("admin", "keys", *given)
    assert ended.code == 2
    assert mend in ended.complaint
