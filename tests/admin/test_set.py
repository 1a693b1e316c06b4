"""`datastore admin set`: what it writes, in whose name, and what it refuses."""

from __future__ import annotations

import getpass
import math
from pathlib import Path

import pytest

from sandbox import ConnectedDataStore, connect
from tests.admin.conftest import Command

SET = ("admin", "set", "--user", "alice")


@pytest.mark.parametrize(
    ("text", "value"),
    [('{"a": [1, null]}', {"a": [1, None]}), ("null", None), ('"é\\u202e"', "é\u202e"), ("1.5", 1.5), ("true", True)],
)
def test_a_value_is_json(datastore: Command, alice: ConnectedDataStore, text: str, value: object) -> None:
    assert datastore(*SET, "k", text).code == 0
    entry = alice.get_entry("k")
    assert entry is not None
    assert (entry.value, type(entry.value)) == (value, type(value))


@pytest.mark.parametrize("text", ["hello", "{'a': 1}", "", "NaN", "-Infinity", "1 2"])
def test_a_value_that_is_no_json_is_refused_and_text_named(datastore: Command, text: str) -> None:
    ended = datastore(*SET, "--", "k", text)
    assert ended.code == 2
    assert ended.complaint.startswith("datastore: VALUE ")
    assert "--text" in ended.complaint


def test_text_is_stored_as_it_is(datastore: Command, alice: ConnectedDataStore) -> None:
    assert datastore(*SET, "k", "--text", ' {"not": parsed}\n').code == 0
    assert alice.get("k") == ' {"not": parsed}\n'


def test_a_value_comes_from_a_file(datastore: Command, alice: ConnectedDataStore, tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text('{"é": 1}\n', encoding="utf-8")
    assert datastore(*SET, "k", "--file", str(tmp_path / "value.json")).code == 0
    assert alice.get("k") == {"é": 1}


@pytest.mark.parametrize("source", [("-",), ("--file", "-")])
def test_a_value_comes_from_stdin(datastore: Command, alice: ConnectedDataStore, source: tuple[str, ...]) -> None:
    assert datastore(*SET, "k", *source, stdin=b"[1, 2]\n").code == 0
    assert alice.get("k") == [1, 2]


def test_a_value_is_given_once(datastore: Command) -> None:
    for given in ((), ("1", "--file", "-")):
        ended = datastore(*SET, "k", *given)
        assert (ended.code, ended.complaint) == (
            2,
            "datastore: give the value once: VALUE, --file FILE, or - for stdin.",
        )


def test_what_an_operator_writes_is_recorded_as_theirs(
    datastore: Command, alice: ConnectedDataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = getpass.getuser()
    monkeypatch.setenv("LOGNAME", "somebody-else")
    alice.set("k", 1)
    datastore(*SET, "k", "2")
    entry = alice.get_entry("k")
    assert entry is not None
    assert (entry.created_by_agent, entry.updated_by_agent) == ("writer", f"@admin/{name}")
    assert entry.updated_by_run == f"@admin/{name}"


def test_metadata_merges_and_an_expiry_is_set(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("k", 1, {"kept": True})
    assert datastore(*SET, "k", "2", "--metadata", '{"source": "crm"}', "--ttl-seconds", "3600").code == 0
    entry, left = alice.get_entry("k"), alice.expires_in("k")
    assert entry is not None
    assert entry.metadata == {"kept": True, "source": "crm"}
    assert left is not None
    assert math.isclose(left, 3600, abs_tol=60)


def test_the_new_version_is_printed(datastore: Command, alice: ConnectedDataStore) -> None:
    (printed,) = datastore(*SET, "k", "1", "--json").objects
    entry = alice.get_entry("k")
    assert entry is not None
    assert printed == {"owner": "alice", "namespace": "default", "key": "k", "version": entry.version}
    (line,) = datastore(*SET, "k", "2").lines
    entry = alice.get_entry("k")
    assert entry is not None
    assert line == f"Set 'k' of user alice, namespace default: version {entry.version}"


def test_a_version_that_no_longer_stands_is_exit_1_and_nothing_is_written(
    datastore: Command, alice: ConnectedDataStore
) -> None:
    old = alice.set("k", 1)
    assert datastore(*SET, "k", "2", "--if-version", old).code == 0
    ended = datastore(*SET, "k", "3", "--if-version", old)
    assert ended.code == 1
    assert f"not '{old}'; nothing was written" in ended.complaint
    assert alice.get("k") == 2
    ended = datastore(*SET, "nope", "3", "--if-version", old)
    assert (ended.code, alice.exists("nope")) == (1, False)
    assert "has no key 'nope'" in ended.complaint


def test_a_namespace_of_the_host_can_be_written(datastore: Command, url: str) -> None:
    assert datastore(*SET, "--namespace", "@agent/reader", "k", "1").code == 0
    with connect(url, user="alice", agent="reader") as reader:
        assert reader.private().get("k") == 1


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        (("k", "1", "--metadata", "[]"), "--metadata must be a JSON object"),
        (("k", "1", "--metadata", "{"), "--metadata is not JSON"),
        (("k", "1", "--ttl-seconds", "0"), "--ttl-seconds=0.0 must be above 0"),
        (("k", "1", "--ttl-seconds", "nan"), "--ttl-seconds=nan must be above 0"),
        (("k", "1", "--ttl-seconds", "soon"), "--ttl-seconds"),
        (("", "1"), "key must not be empty"),
        (("k\udcff", "1"), "lone surrogate"),
        (("k", str(2**64)), "65 bits"),
        (("k", "[" * 100_000), "VALUE is nested too deep"),
        (("k", "[" * 65 + "]" * 65), "nested deeper than 64 levels"),
        (("k", '"\\ud800"'), "a lone surrogate"),
        (("k", "--file", "no/such/file"), "'no/such/file' cannot be used: no such file or directory."),
        (("k", "--file", "/"), "is a directory"),
    ],
)
def test_what_cannot_be_stored_is_exit_2_and_one_line(
    datastore: Command, alice: ConnectedDataStore, given: tuple[str, ...], mend: str
) -> None:
    ended = datastore(*SET, *given)
    assert ended.code == 2
    assert mend in ended.complaint
    assert len(alice) == 0


def test_a_file_that_is_not_utf_8_is_refused(datastore: Command) -> None:
    ended = datastore(*SET, "k", "-", "--text", stdin=b"caf\xe9")
    assert (ended.code, ended.complaint) == (
        2,
        "datastore: stdin cannot be used: it is not UTF-8 (byte 0xe9 at position 3). Save it as UTF-8.",
    )
