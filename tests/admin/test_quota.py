"""Operators look at quotas, set them for single owners, and keep to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import ConnectedDataStore, connect
from tests.admin.conftest import Command


def test_a_quota_is_set_shown_kept_to_and_cleared(datastore: Command, url: str, alice: ConnectedDataStore) -> None:
    alice.set("a", "x" * 38)
    assert datastore("admin", "quota", "set", "--user", "alice", "--bytes", "100", "--keys", "9").code == 0
    named = ("--user", "alice", "--namespace", "notes")
    assert datastore("admin", "quota", "set", *named, "--keys", "0", "--json").objects == [
        {"owner": "alice", "namespace": "notes"}
    ]
    shown = datastore("admin", "quota", "show", "--user", "alice", "--json").objects
    assert [tuple(each.values()) for each in shown] == [
        (None, 40, 100, 1, 9, True),
        ("default", 40, None, 1, None, False),
        ("notes", 0, None, 0, 0, True),
    ]
    refused = datastore("admin", "set", "--user", "alice", "b", '"' + "x" * 60 + '"')
    assert refused.code == 1
    assert "this store holds 40 bytes of at most 100, and this write would add 62. Delete" in refused.complaint
    assert "namespace 'notes' holds 0 keys of at most 0" in datastore("admin", "set", *named, "b", "1").complaint
    with connect(url, user="alice", agent="writer") as fresh:
        assert fresh.usage()["limits"]["user_bytes"] == 100
    assert datastore("admin", "quota", "clear", *named).code == 0
    assert datastore("admin", "set", *named, "b", "1").code == 0
    assert datastore("admin", "quota", "clear", "--user", "alice").code == 0
    again = datastore("admin", "quota", "clear", "--user", "alice")
    assert (again.code, again.complaint) == (1, "datastore: user alice has no quota of its own.")
    assert datastore("admin", "users", "--json").objects[0]["owner"] == "alice"


def test_an_import_that_does_not_fit_writes_nothing(
    datastore: Command, alice: ConnectedDataStore, tmp_path: Path
) -> None:
    alice.set_many({f"k{number}": "x" * 38 for number in range(3)})
    archive = tmp_path / "alice.ndjson"
    archive.write_text(datastore("admin", "export", "--user", "alice").out, encoding="utf-8")
    datastore("admin", "quota", "set", "--user", "bob", "--bytes", "100")
    refused = datastore("admin", "import", "--user", "bob", str(archive))
    assert (refused.code, refused.out) == (1, "")
    assert "holds 0 bytes of at most 100, and this write would add 120" in refused.err
    assert datastore("admin", "namespaces", "--user", "bob").out == ""
    datastore("admin", "quota", "set", "--user", "bob", "--bytes", "120")
    for existing in ("refuse", "skip", "overwrite"):
        assert datastore("admin", "import", "--user", "bob", str(archive), "--existing", existing).code == 0
    assert datastore("admin", "keys", "--user", "bob", "--json").objects[2]["key"] == "k2"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("set", "--user", "alice"), "say what to set: --bytes N, --keys N or --value-bytes N."),
        (("set", "--keys", "1"), "say whose data: --user USER or --space SPACE, one of the two."),
        (("set", "--user", "a", "--namespace", "", "--keys", "1"), "namespace"),
        (("set", "--user", "a", "--namespace", "n", "--value-bytes", "1"), "--value-bytes is for all"),
        (("set", "--user", "a", "--keys", "-1"), "--keys"),
        ((), "Usage"),
    ],
)
def test_what_cannot_be_set_is_a_mistake_of_usage(
    datastore: Command, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = datastore("admin", "quota", *arguments)
    assert ended.code == 2
    assert complaint in ended.err


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_audit_log_notes_what_was_set_and_cleared(datastore: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASTORE_AUDIT", "writes")
    datastore("admin", "quota", "set", "--user", "alice", "--namespace", "n", "--keys", "1")
    datastore("admin", "quota", "clear", "--user", "alice")
    rows = datastore("admin", "audit", "show", "--json").objects
    told = [(row["operation"], row["owner"], row["namespace"], row["outcome"]) for row in rows]
    assert told == [("set_quota", "alice", "n", "done"), ("clear_quota", "alice", None, "done")]
