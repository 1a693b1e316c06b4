"""`datastore admin delete`: it says what it takes, asks, and takes no more than it said."""

from __future__ import annotations

import pytest

from sandbox import ConnectedDataStore
from tests.admin.conftest import Command
from tests.admin.words import terminal

DELETE = ("admin", "delete", "--user", "alice")
REPO = ("--namespace", "files:repo")


@pytest.fixture
def repo(alice: ConnectedDataStore) -> ConnectedDataStore:
    """A namespace with 412 keys of 3.1 MiB, beside another one."""
    alice.set("kept", 1)
    files: ConnectedDataStore = alice.use_namespace("files:repo")
    files.set_many({f"old:{number}": "x" * 7887 for number in range(411)})
    files.set("new", "y" * 7887)
    return files


def test_a_dry_run_only_says_what_would_go(datastore: Command, repo: ConnectedDataStore) -> None:
    ended = datastore(*DELETE, *REPO, "--all", "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "Would delete 412 keys (3.1 MiB) of user alice, namespace files:repo\n"
    assert len(repo) == 412


def test_everything_in_a_namespace_goes_and_nothing_else(
    datastore: Command, alice: ConnectedDataStore, repo: ConnectedDataStore
) -> None:
    ended = datastore(*DELETE, *REPO, "--all", "--yes")
    assert (ended.code, ended.out) == (0, "Deleted 412 keys of user alice, namespace files:repo\n")
    assert ended.err == "datastore: deleting 412 keys (3.1 MiB) of user alice, namespace files:repo\n"
    assert (len(repo), alice.list_keys()) == (0, ["kept"])


def test_a_prefix_takes_its_keys_alone(datastore: Command, repo: ConnectedDataStore) -> None:
    ended = datastore(*DELETE, *REPO, "--prefix", "old:1", "--yes", "--json")
    (printed,) = ended.objects
    assert printed == {
        "owner": "alice",
        "namespace": "files:repo",
        "keys": 111,
        "bytes": 111 * 7889,
        "deleted": 111,
        "dry_run": False,
    }
    assert len(repo) == 412 - 111
    assert "old:2" in repo


def test_one_key_goes_and_those_that_begin_like_it_stay(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set_many({"a": 1, "aa": 1})
    ended = datastore(*DELETE, "a", "--dry-run")
    assert ended.out == "Would delete key 'a' (24 bytes) of user alice, namespace default\n"
    assert datastore(*DELETE, "a", "--yes").out == "Deleted 1 key of user alice, namespace default\n"
    assert alice.list_keys() == ["aa"]


@pytest.mark.parametrize("asked", [("a",), (*REPO, "--prefix", "a"), (*REPO, "--all")])
def test_what_is_not_there_is_exit_1_and_one_line(
    datastore: Command, alice: ConnectedDataStore, asked: tuple[str, ...]
) -> None:
    alice.set("aa", 1)
    ended = datastore(*DELETE, *asked, "--yes")
    assert ended.code == 1
    assert " has no key" in ended.complaint


@pytest.mark.parametrize(
    ("asked", "mend"),
    [
        ((), "a KEY, --prefix PREFIX, or --all, one of the three"),
        (("k", "--all"), "one of the three"),
        (("k", "--prefix", "k"), "one of the three"),
        (("--prefix", "k", "--all"), "one of the three"),
        ((*REPO, "--prefix", ""), "Write --all"),
        (("--all",), "--namespace NAME"),
        (("--prefix", "k"), "--namespace NAME"),
        (("",), "key must not be empty"),
    ],
)
def test_an_unclear_deletion_is_refused(
    datastore: Command, alice: ConnectedDataStore, asked: tuple[str, ...], mend: str
) -> None:
    alice.set("k", 1)
    ended = datastore(*DELETE, *asked, "--yes")
    assert ended.code == 2
    assert mend in ended.complaint
    assert len(alice) == 1


def test_without_a_terminal_and_yes_nothing_is_deleted(datastore: Command, alice: ConnectedDataStore) -> None:
    alice.set("k", 1)
    ended = datastore(*DELETE, "k", stdin=b"y\n")
    assert ended.code == 2
    assert "--yes" in ended.complaint
    assert len(alice) == 1


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 0), ("YES\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1)])
def test_a_terminal_is_asked(env: dict[str, str], alice: ConnectedDataStore, typed: str, code: int, left: int) -> None:
    alice.set("k", 1)
    ended, shown = terminal([*DELETE, "k"], env, typed, after="[y/N] ")
    assert shown.startswith("Delete key 'k' (24 bytes) of user alice, namespace default? [y/N] ")
    assert ("Deleted 1 key" in shown, "nothing was deleted" in shown) == (left == 0, left == 1)
    assert (ended, len(alice)) == (code, left)


def test_ctrl_c_at_the_question_deletes_nothing(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("k", 1)
    ended, _ = terminal([*DELETE, "k"], env, interrupt=True, after="[y/N] ")
    assert (ended, len(alice)) == (130, 1)
