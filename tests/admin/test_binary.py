"""Bytes on the command line: stored from a file or stdin, shown by size, and given back as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from datastore import values
from sandbox import ConnectedDataStore
from tests.admin.conftest import Command
from tests.admin.words import COMMAND, PATIENCE, terminal

SET = ("admin", "set", "--user", "alice")
SHOW = ("admin", "show", "--user", "alice")
ALL_BYTES = bytes(range(256)) * 3 + b"\r\n\x1b[2J"


def raw(env: dict[str, str], key: str) -> bytes:
    command = [*COMMAND, *SHOW, key, "--raw"]
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout


@pytest.mark.parametrize("source", ["file", "-", "--file -"])
def test_bytes_are_stored_as_they_are(
    datastore: Command, alice: ConnectedDataStore, tmp_path: Path, source: str
) -> None:
    (tmp_path / "photo.png").write_bytes(ALL_BYTES)
    given = ("--file", str(tmp_path / "photo.png")) if source == "file" else source.split()
    assert datastore(*SET, "photo", *given, "--binary", stdin=ALL_BYTES).code == 0
    assert alice.get("photo") == ALL_BYTES


def test_show_raw_gives_back_the_very_bytes(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set_many({"photo": ALL_BYTES, "nothing": b""})
    assert (raw(env, "photo"), raw(env, "nothing")) == (ALL_BYTES, b"")


def test_a_value_at_the_limit_passes_and_one_byte_more_is_refused_before_it_is_read_on(
    datastore: Command, alice: ConnectedDataStore, env: dict[str, str]
) -> None:
    largest = b"\xff" * values.VALUE_BYTES
    assert datastore(*SET, "big", "-", "--binary", stdin=largest).code == 0
    assert raw(env, "big") == largest
    ended = datastore(*SET, "more", "--file", "/dev/zero", "--binary")
    assert (ended.code, "'/dev/zero' is more than the 4,194,304 bytes" in ended.complaint) == (2, True)
    assert list(alice) == ["big"]


def test_show_raw_of_json_is_one_compact_line(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("k", {"a": [1, None, "é\u202e"]})
    assert datastore(*SHOW, "k", "--raw").out == '{"a":[1,null,"é\\u202e"]}\n'


def test_a_look_at_bytes_is_not_counted_as_a_read(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("photo", b"x")
    raw(env, "photo")
    entry = alice.get_entry("photo")
    assert entry is not None
    assert entry.access_count == 0


def test_bytes_are_not_written_to_a_terminal(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("photo", b"\x1b[2J")
    code, shown = terminal([*SHOW, "photo", "--raw"], env)
    assert (code, "\x1b" in shown, "Write --raw > FILE" in shown) == (2, False, True)


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ((*SET, "k", "abc", "--binary"), "--binary takes bytes from --file FILE, or - for stdin."),
        ((*SET, "k", "-", "--binary", "--text"), "--text and --binary exclude each other."),
        ((*SET, "k", "--binary"), "give the value once"),
        ((*SET, "k", "--file", "no/such/file", "--binary"), "'no/such/file' cannot be used: no such file"),
        ((*SET, "k", "--file", "/", "--binary"), "is a directory"),
        ((*SHOW, "k", "--raw", "--json"), "--raw and --json exclude each other."),
    ],
)
def test_what_cannot_be_meant_is_exit_2_and_nothing_is_written(
    datastore: Command, alice: ConnectedDataStore, given: tuple[str, ...], mend: str
) -> None:
    ended = datastore(*given)
    assert (ended.code, mend in ended.complaint, len(alice)) == (2, True, 0)
