"""Every command prints JSON when it is asked to: one object a line, and nothing else on stdout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from admin.cli import admin
from sandbox import ConnectedDataStore
from tests.admin.conftest import Command

ALICE = ("--user", "alice")
CALLS: dict[str, tuple[str, ...]] = {
    "users": (),
    "namespaces": ALICE,
    "keys": ALICE,
    "show": ("plan", *ALICE),
    "set": ("draft", "1", *ALICE),
    "delete": ("plan", *ALICE, "--yes"),
    "export": ALICE,
    "import": ("ARCHIVE", "--user", "bob"),
    "erase": ("--user", "bob", "--yes"),
    "block": ("--user", "bob"),
    "unblock": ("--user", "bob"),
    "stats": (),
    "top": (),
    "find": ("--written-by", "writer"),
    "check": (),
    "copy": (*ALICE, "--to-user", "carol"),
    "audit show": (),
    "audit verify": (),
    "audit prune": ("--older-than", "90d", "--yes"),
    "quota show": ALICE,
    "quota set": (*ALICE, "--keys", "100"),
    "quota clear": ALICE,
}
WITHOUT_OPTION = {"export"}
"""Its output is an archive, which is JSON whatever is asked for."""
BEFORE = {"unblock": ("block", "--user", "bob"), "quota clear": ("quota", "set", *ALICE, "--keys", "9")}
"""What there must be for a command to have something to do."""
SILENT = {"check"}
"""It prints what is wrong, which is nothing."""


def commands(app: typer.Typer, before: str = "") -> Iterator[str]:
    for command in app.registered_commands:
        yield before + str(command.name or getattr(command.callback, "__name__", None))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, before + (f"{group.name} " if isinstance(group.name, str) else ""))


def test_every_command_is_called_here() -> None:
    assert sorted(commands(admin.app)) == sorted(CALLS)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", CALLS)
def test_a_command_prints_json(
    datastore: Command, alice: ConnectedDataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DATASTORE_AUDIT", "writes")
    monkeypatch.setenv("DATASTORE_OPERATION_TIMEOUT_SECONDS", "2")  # An erasure waits for the deadline of hosts.
    alice.set("plan", {"step": 1})
    archive = tmp_path / "alice.ndjson"
    archive.write_text(datastore("admin", "export", *ALICE).out, encoding="utf-8")
    assert datastore("admin", "set", "k", "1", "--user", "bob").code == 0  # And so the audit log has a row.
    if name in BEFORE:
        assert datastore("admin", *BEFORE[name]).code == 0
    words = [str(archive) if each == "ARCHIVE" else each for each in CALLS[name]]
    ended = datastore("admin", *name.split(), *words, *([] if name in WITHOUT_OPTION else ["--json"]))
    assert (ended.code, ended.objects == []) == (0, name in SILENT), ended
    assert all(isinstance(each, dict) for each in ended.objects), ended
