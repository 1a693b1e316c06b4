"""`datastore admin erase`, `block` and `unblock`: what they say and ask, and an erasure that the kernel killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from admin.actions import erase
from admin.actions.blocking import Receipt
from datastore import Grant, Scope, open_store
from datastore.errors import AccessDenied
from datastore.ports import Traces
from sandbox import ConnectedDataStore, connect
from tests.admin.conftest import Command
from tests.admin.words import PATIENCE, terminal

ERASE = ("admin", "erase", "--user", "alice")
KILLED = Path(__file__).parent / "killed.py"
TAKEN = "user alice: 2 keys (48 bytes), and its name in 1 entry of spaces"
on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def filled(url: str) -> None:
    grants = (Grant.own(), Grant(namespace="*", space="team"))
    with connect(url, scope=Scope(user="alice", agent="writer", grants=grants)) as alice:
        alice.set_many({"a": 1, "b": 2})
        alice.shared("team").set("c", 3)


@pytest.mark.slow
def test_an_erasure_that_was_killed_goes_on_when_it_is_called_again(url: str, env: dict[str, str]) -> None:
    with connect(url, user="alice", agent="writer") as alice:
        alice.set_many({f"{number:04}": number for number in range(1200)})
    killed = [sys.executable, str(KILLED), "expunge", "1", *ERASE, "--yes"]
    assert subprocess.run(killed, env=env, timeout=PATIENCE, check=False).returncode == -signal.SIGKILL

    async def again() -> tuple[erase.Prospect, Receipt, erase.Prospect]:
        async with open_store(url) as store:
            before = await erase.prospect(store, "alice")
            return before, await erase.erase(store, "alice", 0), await erase.prospect(store, "alice")

    before, receipt, after = asyncio.run(again())
    assert before.block is not None
    assert before.block.receipt is not None
    assert before.found != Traces(0, 0, 0, 0, 0) == after.found
    assert (receipt.id, receipt.keys) == (before.block.receipt.id, 1200)
    assert after.done == receipt


@on_sqlite
def test_an_erasure_says_what_goes_and_asks(datastore: Command, env: dict[str, str], filled: None) -> None:
    del filled
    ended = datastore(*ERASE, "--dry-run")
    assert (ended.code, ended.out, ended.err) == (0, f"Would erase {TAKEN}\n", "")
    (told,) = datastore(*ERASE, "--dry-run", "--json").objects
    assert told == {
        "user": "alice",
        "keys": 2,
        "bytes": 48,
        "shared": 1,
        "changes": 2,
        "counters": 0,
        "dry_run": True,
        "receipt": None,
    }
    ended = datastore(*ERASE)
    assert ended.code == 2
    assert "there is no terminal to confirm the deletion on" in ended.complaint
    code, shown = terminal(ERASE, env, "n\n", after="[y/N] ")
    assert code == 1
    assert f"Erase {TAKEN}? It stays blocked afterwards. [y/N] " in shown
    assert "nothing was erased" in shown
    assert datastore("admin", "unblock", "--user", "alice").complaint == "datastore: user alice is not blocked."


@on_sqlite
def test_what_the_audit_log_says_of_an_erased_user_is_emptied_and_its_chains_stay_whole(
    url: str, datastore: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_AUDIT", "all")
    with connect(url, user="alice", agent="writer") as alice:
        alice.set("secret-key", 1)
    assert "secret-key" in datastore("admin", "audit", "show").out

    async def erased() -> Receipt:
        async with open_store(url) as store:
            return await erase.erase(store, "alice", 0)

    receipt = asyncio.run(erased())
    shown = datastore("admin", "audit", "show", "--json").out
    assert "secret-key" not in shown
    assert "alice" not in shown
    assert receipt.pseudonym in shown
    assert datastore("admin", "audit", "verify").code == 0


@on_sqlite
def test_who_holds_nothing_is_no_user_to_erase(datastore: Command) -> None:
    ended = datastore(*ERASE, "--yes")
    assert (ended.code, ended.complaint) == (
        1,
        "datastore: user alice holds nothing, and no entry of a space names it.",
    )
    assert datastore("admin", "erase", "--user", "@team", "--yes").code == 2
    assert datastore("admin", "erase", "--yes").code == 2


def read_until(data_store: ConnectedDataStore, until: float) -> None:
    while time.monotonic() < until:
        data_store.get("k")


def test_a_blocked_user_is_soon_refused_by_a_host_at_work(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("k", 1)
    assert datastore("admin", "block", "--user", "alice").lines == ["Blocked user alice"]
    assert datastore("admin", "block", "--user", "alice").lines == ["User alice was blocked already"]
    with pytest.raises(AccessDenied, match="this user is blocked"):
        read_until(alice, time.monotonic() + PATIENCE)
    assert datastore("admin", "set", "--user", "alice", "k", "2").code == 2
    assert datastore("admin", "unblock", "--user", "alice", "--json").objects == [{"user": "alice", "blocked": False}]
    assert datastore("admin", "set", "--user", "alice", "k", "2").code == 0
