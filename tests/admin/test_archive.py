"""`datastore admin export` and `import`: out and back, equal in every field; interrupted, piped, refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox import ConnectedDataStore, connect
from tests.admin.archives import MOST_RESIDENT_KIB, fill, fill_large, held, kill, measured, texts
from tests.admin.conftest import Command
from tests.admin.words import COMMAND, PATIENCE, process, terminal

ALICE = ("--user", "alice")
EXPORT = ("admin", "export", *ALICE)
IMPORT = ("admin", "import", *ALICE)


def small(datastore: Command, alice: ConnectedDataStore) -> list[bytes]:
    """The lines of a small archive, of a namespace that is then empty."""
    alice.set_many({"a": 1, "b": b"\x00\xff", "c": {"x": [1, 2]}})
    ended = datastore(*EXPORT)
    assert (ended.code, ended.err) == (0, "datastore: exported 3 keys (37 bytes) of user alice\n")
    alice.clear()
    return ended.out.encode().splitlines(keepends=True)


@pytest.mark.slow
def test_out_and_back_every_field_is_equal_and_memory_stays_flat(env: dict[str, str], url: str, tmp_path: Path) -> None:
    with connect(url, user="alice", agent="writer") as data_store:
        fill(data_store, 3000)
        fill_large(data_store)
    before = held(url)
    archive = tmp_path / "alice.ndjson"
    out = measured(EXPORT, env, tmp_path, "alice.ndjson")
    assert texts(held(url, clear=True)) == texts(before)
    back = measured([*IMPORT, str(archive)], env, tmp_path)
    after = held(url)
    assert texts(after) == texts(before)
    assert sum(len(page) for page in after.values()) == 3212
    assert max(out, back) < MOST_RESIDENT_KIB
    lines = archive.read_bytes().splitlines()
    assert json.loads(lines[-1])["entries"] == len(lines) - 2 == 3212


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_when_it_is_called_again(
    env: dict[str, str], url: str, tmp_path: Path
) -> None:
    with connect(url, user="alice", agent="writer") as data_store:
        fill(data_store, 1200)
    archive = tmp_path / "alice.ndjson"
    measured(EXPORT, env, tmp_path, "alice.ndjson")
    before = held(url, clear=True)
    kill("restore", 2, [*IMPORT, str(archive)], env)
    part = sum(len(page) for page in held(url).values())
    whole = sum(len(page) for page in before.values())
    assert 0 < part < whole
    (told,) = process([*IMPORT, str(archive), "--json"], env).objects
    assert (told["restored"], told["unchanged"]) == (whole - part, part)
    assert texts(held(url)) == texts(before)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_export_that_was_killed_is_refused_and_made_again_is_whole(
    env: dict[str, str], url: str, tmp_path: Path
) -> None:
    with connect(url, user="alice", agent="writer") as data_store:
        fill(data_store, 1200)
    before = held(url)
    archive = tmp_path / "alice.ndjson"
    with archive.open("wb") as out:
        kill("scan", 2, EXPORT, env, out.fileno())
    ended = process(["admin", "import", "--user", "bob", str(archive)], env)
    assert (ended.code, "it was cut. Export it again." in ended.complaint, held(url, "bob")) == (2, True, {})
    measured(EXPORT, env, tmp_path, "alice.ndjson")
    assert process(["admin", "import", "--user", "bob", str(archive)], env).code == 0
    assert texts(held(url, "bob")) == texts(before)


@pytest.mark.slow
def test_an_archive_comes_through_a_pipe(env: dict[str, str], url: str, alice: ConnectedDataStore) -> None:
    alice.set_many({"a": 1, "b": b"\x00\xff"})
    archive = process(EXPORT, env).out.encode()
    before = held(url, clear=True)
    assert process([*IMPORT, "-"], env, stdin=archive).out == "Restored 2 keys (26 bytes) of user alice\n"
    assert texts(held(url)) == texts(before)


def test_entries_become_those_of_whom_they_are_imported_for(
    datastore: Command, alice: ConnectedDataStore, url: str
) -> None:
    lines = small(datastore, alice)
    assert datastore("admin", "import", "--user", "bob:%", "-", stdin=b"".join(lines)).code == 0
    assert datastore("admin", "import", "--space", "team", "-", stdin=b"".join(lines)).code == 0
    assert [len(held(url, owner).get("default", [])) for owner in ("bob:%", "@team", "alice")] == [3, 3, 0]
    with connect(url, user="bob:%", agent="a") as bob:
        assert bob.get_all() == {"a": 1, "b": b"\x00\xff", "c": {"x": [1, 2]}}


def test_one_namespace_of_a_space_is_exported_alone(datastore: Command, alice: ConnectedDataStore, team: None) -> None:
    del team
    alice.set("a", 1)
    header, entry, _ = datastore("admin", "export", "--space", "team", "--namespace", "plans").objects
    assert (header["owner"], header["namespace"], entry["key"]) == ("@team", "plans", "next")
    ended = datastore("admin", "export", "--space", "team", "--namespace", "other")
    assert (ended.code, ended.complaint) == (1, "datastore: space team, namespace other holds nothing.")


def test_another_entry_that_stands_is_refused_kept_or_overwritten(
    datastore: Command, alice: ConnectedDataStore
) -> None:
    archive = b"".join(small(datastore, alice))
    version = alice.set("c", "new")
    ended = datastore(*IMPORT, "-", stdin=archive)
    assert ended.code == 1
    assert "'c' of user alice, namespace default, stands already" in ended.complaint
    assert "nothing was written. Write --existing skip" in ended.complaint
    assert alice.get_all() == {"c": "new"}
    (told,) = datastore(*IMPORT, "-", "--existing", "skip", "--json", stdin=archive).objects
    counts = {"restored": 2, "unchanged": 0, "skipped": 1, "expired": 0, "bytes": 26}
    assert told == {"owner": "alice", **counts, "limits": False}
    entry = alice.get_entry("c")
    assert entry is not None
    assert entry.version == version
    assert datastore(*IMPORT, "-", "--existing", "overwrite", stdin=archive).lines == [
        "Restored 3 keys (37 bytes) of user alice"
    ]
    assert alice.get("c") == {"x": [1, 2]}


def test_what_is_there_already_is_said_and_not_written(datastore: Command, alice: ConnectedDataStore) -> None:
    archive = b"".join(small(datastore, alice))
    assert datastore(*IMPORT, "-", stdin=archive).lines == ["Restored 3 keys (37 bytes) of user alice"]
    again = datastore(*IMPORT, "-", stdin=archive)
    assert again.lines == ["Restored 0 keys (0 bytes) of user alice; 3 there already"]


def test_what_expired_since_is_left_out(datastore: Command, alice: ConnectedDataStore) -> None:
    lines = small(datastore, alice)
    lines[1] = changed(lines[1], expires_at="2020-01-01T00:00:00.000+00:00")
    ended = datastore(*IMPORT, "-", stdin=b"".join(signed(lines)))
    assert ended.lines == ["Restored 2 keys (13 bytes) of user alice; 1 expired since"]
    assert sorted(alice) == ["b", "c"]


@pytest.mark.parametrize("existing", ["refuse", "overwrite"])
def test_the_tokens_of_a_lock_go_on_growing(datastore: Command, alice: ConnectedDataStore, existing: str) -> None:
    def token() -> int:
        with alice.lock("job") as lease:
            return lease.token

    assert token() == 1
    archive = datastore(*EXPORT).out.encode()
    assert token() == 2
    assert datastore(*IMPORT, "-", "--existing", existing, stdin=archive).code == 0
    assert token() == 3


def test_an_export_is_no_read_and_not_for_a_terminal(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("a", "\x1b[2J")
    assert process(EXPORT, env).code == 0
    code, shown = terminal(EXPORT, env)
    assert (code, shown.strip()) == (2, "datastore: an archive is not for a terminal. Write > FILE after the command.")
    entry = alice.get_entry("a")
    assert entry is not None
    assert entry.access_count == 0


def test_a_quota_comes_along_where_that_is_asked_for(datastore: Command, alice: ConnectedDataStore) -> None:
    def limits(user: str) -> list[Any]:
        found = datastore("admin", "quota", "show", "--user", user, "--json").objects
        return [(each["namespace"], each["most_bytes"], each["most_keys"]) for each in found if each["override"]]

    def restored(user: str, *how: str) -> tuple[int, bool]:
        (told,) = datastore("admin", "import", "--user", user, "-", "--json", *how, stdin=archive).objects
        return told["restored"], told["limits"]

    alice.set_many({"a": "x" * 98, "b": 1})
    datastore("admin", "quota", "set", "--user", "alice", "--bytes", "200", "--keys", "3")
    datastore("admin", "quota", "set", "--user", "alice", "--namespace", "default", "--bytes", "150")
    archive = datastore(*EXPORT).out.encode()
    assert restored("bob") == (2, False)
    assert limits("bob") == []
    assert restored("bob", "--with-limits") == (0, True)
    assert restored("bob", "--with-limits") == (0, False)
    assert limits("bob") == limits("alice") == [(None, 200, 3), ("default", 150, None)]

    datastore("admin", "quota", "set", "--user", "carol", "--keys", "1")
    ended = datastore("admin", "import", "--user", "carol", "-", "--with-limits", stdin=archive)
    assert (ended.code, "user carol has another quota than that of" in ended.complaint) == (1, True)
    ended = datastore("admin", "import", "--user", "carol", "-", "--existing", "skip", "--with-limits", stdin=archive)
    assert (ended.code, "2 more" in ended.complaint or "holds 0 keys of at most 1" in ended.complaint) == (1, True)
    assert limits("carol") == [(None, None, 1)]
    assert restored("carol", "--existing", "overwrite", "--with-limits") == (2, True)
    assert limits("carol") == limits("alice")

    datastore("admin", "quota", "set", "--user", "alice", "--keys", "1")
    archive = datastore(*EXPORT).out.encode()
    assert datastore("admin", "import", "--user", "dave", "-", "--with-limits", stdin=archive).code == 1
    assert limits("dave") == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_import_that_would_pass_a_quota_on_its_way_is_refused_before_it_writes(
    datastore: Command, alice: ConnectedDataStore
) -> None:
    first, second = alice.use_namespace("a"), alice.use_namespace("b")
    first.set("k", "x" * 78)
    second.set("k", "x" * 18)
    archive = datastore(*EXPORT).out.encode()
    first.set("k", "x" * 18)
    second.set("k", "x" * 78)
    datastore("admin", "quota", "set", *ALICE, "--bytes", "100")
    ended = datastore(*IMPORT, "-", "--existing", "overwrite", stdin=archive)
    assert (ended.code, "holds 100 bytes of at most 100, and this write would add 60" in ended.complaint) == (1, True)
    assert (first.get("k"), second.get("k")) == ("x" * 18, "x" * 78)


def changed(line: bytes, **fields: Any) -> bytes:
    """A line with other fields; those of `...` are missing."""
    facts = {**json.loads(line), **fields}
    return json.dumps({name: fact for name, fact in facts.items() if fact is not ...}).encode() + b"\n"


def signed(lines: list[bytes]) -> list[bytes]:
    """The lines with a footer that fits them, as a forger would make it."""
    entries = [json.loads(line) for line in lines[1:-1]]
    digest = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    size = sum(each["size_bytes"] for each in entries)
    return [*lines[:-1], changed(lines[-1], entries=len(entries), bytes=size, sha256=digest)]


DEEP = b'{"a":' * 10_000
HOSTILE: dict[str, tuple[Any, str]] = {
    "nothing": (lambda _: [], "line 1: the archive ends here without its footer"),
    "no archive": (lambda _: [b'{"a": 1}\n'], "line 1: format: Field required"),
    "another format": (lambda x: [changed(x[0], version=2), *x[1:]], "line 1: version: Input should be 1"),
    "cut in a line": (lambda x: [*x[:2], x[2][:-9]], "line 3: the archive ends here without its footer: it was cut."),
    "cut after a line": (lambda x: x[:-1], "line 5: the archive ends here without its footer: it was cut."),
    "a line less": (lambda x: [*x[:2], *x[3:]], "the footer counts other entries than there are"),
    "a line changed": (lambda x: [*x[:1], x[1].replace(b'"a"', b'"A"'), *x[2:]], "the SHA-256 is not that of"),
    "a forged hash": (lambda x: [*x[:-1], changed(x[-1], sha256="0" * 64)], "the SHA-256 is not that of"),
    "a forged count": (lambda x: [*x[:-1], changed(x[-1], entries=2)], "the footer counts other entries"),
    "a tail": (lambda x: [*x, b"\n"], "line 5: something follows the footer."),
    "another's id": (lambda x: [x[0], changed(x[1], _id="bob:default:YQ=="), *x[2:]], "line 2: _id: Extra inputs"),
    "another's name": (lambda x: [x[0], changed(x[1], owner="bob"), *x[2:]], "line 2: owner: Extra inputs"),
    "a field less": (lambda x: [x[0], changed(x[1], version=...), *x[2:]], "line 2: version: Field required"),
    "two values": (lambda x: [x[0], changed(x[1], value_base64=""), *x[2:]], "either value or value_base64"),
    "no value": (lambda x: [x[0], changed(x[1], value=...), *x[2:]], "either value or value_base64"),
    "no base64": (
        lambda x: [*x[:2], changed(x[2], value_base64="A*P8="), *x[3:]],
        "line 3: value_base64 is not base64",
    ),
    "bad padding": (lambda x: [*x[:2], changed(x[2], value_base64="APA"), *x[3:]], "line 3: "),
    "another size": (lambda x: [x[0], changed(x[1], size_bytes=5), *x[2:]], "size_bytes is 5, but the value has 24"),
    "no time": (lambda x: [x[0], changed(x[1], created_at="yesterday"), *x[2:]], "line 2: created_at: "),
    "local time": (lambda x: [x[0], changed(x[1], created_at="2026-01-01T00:00:00.000+01:00"), *x[2:]], "created_at: "),
    "a count below 0": (lambda x: [x[0], changed(x[1], access_count=-1), *x[2:]], "line 2: access_count: "),
    "a number as key": (lambda x: [x[0], changed(x[1], key=1), *x[2:]], "line 2: key: "),
    "a long key": (lambda x: [x[0], changed(x[1], key="k" * 1025), *x[2:]], "key is 1,025 bytes of UTF-8"),
    "the store's own": (lambda x: [x[0], changed(x[1], namespace="@@x"), *x[2:]], "begins with '@'"),
    "an alias": (lambda x: [x[0], changed(x[1], namespace="self"), *x[2:]], "line 2: namespace: "),
    "a deep value": (lambda x: [x[0], changed(x[1], value=json.loads("[" * 65 + "]" * 65)), *x[2:]], "64 levels"),
    "depth 10,000": (lambda x: [x[0], DEEP + b"1" + b"}" * 10_000 + b"\n", *x[1:]], "line 2: it is nested too deep."),
    "depth, unclosed": (lambda x: [x[0], b"[" * 100_000 + b"\n", *x[1:]], "line 2: it is nested too deep."),
    "a name twice": (lambda x: [x[0], x[1][:-2] + b',"key":"z"}\n', *x[2:]], "an object has a name twice"),
    "a key twice": (lambda x: [*x[:2], *x[1:]], "line 3: entries are not in the order"),
    "an escape sequence": (lambda x: [x[0], x[1].replace(b'"a"', b'"\x1b[2J"'), *x[2:]], "Invalid control character"),
    "escaped, elsewhere": (lambda x: [x[0], changed(x[1], **{"\x1b[2J\u202e": 1}), *x[2:]], "\\u001b[2J\\u202e: Extra"),
    "NaN": (lambda x: [x[0], x[1].replace(b'"value":1', b'"value":NaN'), *x[2:]], "NaN is no number of JSON"),
    "65 bits": (lambda x: [x[0], changed(x[1], value=2**64), *x[2:]], "an integer of 65 bits"),
    "10,000 digits": (lambda x: [x[0], x[1].replace(b'"value":1', b'"value":' + b"1" * 10_000), *x[2:]], "line 2: "),
    "no UTF-8": (lambda x: [x[0], b"\xff\n", *x[1:]], "line 2: it is not JSON"),
    "a list": (lambda x: [x[0], b"[]\n", *x[1:]], "line 2: it is no object of JSON."),
    "unknown limits": (lambda x: [x[0], b'{"limits":{"a":1}}\n', *x[1:]], "line 2: limits.a: Extra inputs"),
    "limits below 0": (lambda x: [x[0], b'{"limits":{"whole":{"keys":-1}}}\n', *x[1:]], "line 2: limits.whole.keys: "),
    "limits of the store": (lambda x: [x[0], b'{"limits":{"namespaces":{"@@x":{}}}}\n', *x[1:]], "begins with '@'"),
    "limits among entries": (lambda x: [*x[:2], b'{"limits":{}}\n', *x[2:]], "line 3: namespace: Field required"),
    "a long line": (lambda x: [x[0], b" " * 6_000_000 + b"\n", *x[1:]], "line 2: the line is longer than"),
    "a long header": (lambda _: [b"0" * 10_000], "line 1: the line is longer than 8,192 bytes"),
}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_is_no_whole_archive_is_refused_in_one_line_and_nothing_is_written(
    datastore: Command, alice: ConnectedDataStore, hostile: str
) -> None:
    lines = small(datastore, alice)
    change, reason = HOSTILE[hostile]
    ended = datastore(*IMPORT, "-", stdin=b"".join(change(lines)))
    assert ended.code == 2
    assert ended.complaint.startswith("datastore: stdin, line ")
    assert reason in ended.complaint
    assert len(alice) == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("hostile", ["head -c 10G /dev/zero", "cat header.ndjson /dev/zero", "yes"])
def test_an_endless_pipe_is_refused_in_one_line(
    datastore: Command, alice: ConnectedDataStore, env: dict[str, str], tmp_path: Path, hostile: str
) -> None:
    (tmp_path / "header.ndjson").write_bytes(b"".join(small(datastore, alice)[:2]))
    with subprocess.Popen(["sh", "-c", f"exec {hostile}"], stdout=subprocess.PIPE, cwd=tmp_path) as endless:
        command = [*COMMAND, *IMPORT, "-"]
        ended = subprocess.run(
            command, env=env, stdin=endless.stdout, capture_output=True, timeout=PATIENCE, check=False
        )
        endless.kill()
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (2, b"", 1)
    assert ended.stderr.startswith(b"datastore: stdin, line ")
    assert len(alice) == 0
