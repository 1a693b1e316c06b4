"""`datastore admin copy`: to another user and to another store, equal in every field; killed, it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import ConnectedDataStore, connect
from tests.admin.archives import fill, held, kill, texts
from tests.admin.conftest import Command
from tests.admin.words import process, terminal

COPY = ("admin", "copy", "--user", "alice")


@pytest.fixture
def laptop(tmp_path: Path) -> str:
    """The URL of another store, an embedded one, in which alice has entries of every kind."""
    url = f"sqlite:///{tmp_path / 'laptop.db'}"
    with connect(url, user="alice", agent="writer") as data_store:
        fill(data_store, 1200)
    return url


@pytest.mark.slow
@pytest.mark.parametrize("url", ["mongodb"], indirect=True)
def test_a_copy_to_another_store_that_was_killed_goes_on_and_is_equal_in_every_field(
    env: dict[str, str], url: str, laptop: str
) -> None:
    move = [*COPY, "--url", laptop, "--to-url", url]
    kill("restore", 2, move, env)
    before = held(laptop)
    whole, part = (sum(len(page) for page in each.values()) for each in (before, held(url)))
    assert 0 < part < whole
    (told,) = process([*move, "--json"], env).objects
    assert (told["from"], told["owner"], told["restored"], told["unchanged"]) == ("alice", "alice", whole - part, part)
    assert texts(held(url)) == texts(before)
    assert texts(held(laptop)) == texts(before)


def test_a_copy_to_a_user_or_a_space_makes_their_own_entries(
    datastore: Command, alice: ConnectedDataStore, url: str
) -> None:
    alice.set_many({"a": 1, "b": b"\x00\xff"}, {"m": 1})
    alice.use_namespace("other").set("c", 3)
    assert datastore(*COPY, "--to-user", "bob:%").lines == ["Copied 3 keys (50 bytes) of user alice to user bob:%"]
    assert datastore(*COPY, "--to-space", "team", "--namespace", "other").code == 0
    assert texts(held(url, "bob:%")) == texts(held(url))
    assert list(held(url, "@team")) == ["other"]
    again = datastore(*COPY, "--to-user", "bob:%").lines
    assert again == ["Copied 0 keys (0 bytes) of user alice to user bob:%; 3 there already"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_stands_is_refused_before_anything_is_written_or_kept_or_overwritten(
    datastore: Command, alice: ConnectedDataStore, url: str
) -> None:
    alice.set_many({"a": 1, "\x1b[2J\u202e": 2})
    with connect(url, user="bob", agent="writer") as bob:
        bob.set("\x1b[2J\u202e", "theirs")
    ended = datastore(*COPY, "--to-user", "bob")
    assert ended.code == 1
    assert "stands already and is another than that of user alice; nothing was written." in ended.complaint
    assert ended.complaint.isprintable()
    assert len(held(url, "bob")["default"]) == 1
    assert datastore(*COPY, "--to-user", "bob", "--existing", "skip").code == 0
    assert [each.value for each in held(url, "bob")["default"]] == ["theirs", 1]
    assert datastore(*COPY, "--to-user", "bob", "--existing", "overwrite").code == 0
    assert texts(held(url, "bob")) == texts(held(url))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("given", "code", "mend"),
    [
        ((), 2, "--to-user USER, --to-space SPACE or --to-url URL."),
        (("--to-user", "alice"), 2, "say where the copy goes"),
        (("--to-user", "a", "--to-space", "b"), 2, "one of the two"),
        (("--to-url", "nowhere://x"), 2, "nowhere"),
        (("--to-user", "bob"), 1, "user alice holds nothing."),
    ],
)
def test_what_cannot_be_copied_says_why(datastore: Command, given: tuple[str, ...], code: int, mend: str) -> None:
    ended = datastore(*COPY, *given)
    assert (ended.code, mend in ended.complaint) == (code, True)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_on_a_terminal_long_work_shows_how_far_it_is(
    env: dict[str, str], alice: ConnectedDataStore, tmp_path: Path
) -> None:
    alice.set_many({"a": 1, "b": 2})
    archive = tmp_path / "alice.ndjson"
    for verb, given, doing, done in (
        ("export", ["--user", "alice"], "exporting", "2/2"),
        ("import", ["--user", "bob", str(archive)], "checking, then restoring", "4/?"),
        ("copy", ["--user", "alice", "--to-user", "carl"], "copying", "6/6"),
    ):
        printed = tmp_path / "alice.ndjson" if verb == "export" else tmp_path / "printed"
        with printed.open("wb") as out:
            code, shown = terminal(["admin", verb, *given], env | {"TERM": "xterm"}, stdout=out.fileno())
        assert (code, doing in shown, done in shown) == (0, True, True)
        assert b"\x1b" not in printed.read_bytes()
