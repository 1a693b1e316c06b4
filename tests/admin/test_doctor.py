"""`datastore doctor`: what works, what does not and why, and an exit code for what is configured."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from admin.actions import checks
from sandbox.isolation import LEVELS, Level
from tests.admin.conftest import Command
from tests.admin.words import environment, process

SECRET = "pa55word"  # noqa: S105 - what must never be shown


def test_where_all_is_well_it_says_so_and_ends_with_0(datastore: Command) -> None:
    ended = datastore("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = {each["check"]: each for each in ended.objects}
    assert list(found) == [LEVELS[0], "strict, zygote", *LEVELS[1:], "store"]
    assert [name for name, each in found.items() if each["configured"]] == ["strict", "store"]
    assert [name for name in ("strict", "strict, zygote", "unsafe_process", "store") if not found[name]["works"]] == []
    assert found["strict"]["seconds"] > 0


def test_a_person_reads_a_line_for_each_check(datastore: Command) -> None:
    title, *lines = datastore("doctor").lines
    assert title.split("\t") == ["check", "configured", "works", "because"]
    cells = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    assert cells["strict"][:2] == ["yes", "yes"]
    assert cells["strict"][2].startswith("an agent ran in ")
    assert cells["unsafe_process"][2].endswith("without any isolation")
    assert cells["external"][:2] == ["no", "no"]
    assert "--launcher" in cells["external"][2]
    assert cells["store"][2].startswith("it opened in ")


def test_where_nothing_works_it_says_why_and_what_to_do(tmp_path: Path) -> None:
    env = environment(PATH=str(tmp_path), DATASTORE_URL="sqlite:////proc/none/store.db")
    ended = process(["doctor", "--json", "--run-as", "no-such-account"], env)
    assert (ended.code, ended.err) == (2, "")
    assert [each["works"] for each in ended.objects] == [False] * len(ended.objects)
    strict = ended.objects[0]
    assert (strict["reason"], strict["remedy"]) == (
        "bubblewrap (bwrap) is not on PATH",
        "Install bubblewrap 0.8 or later.",
    )
    assert "no-such-account" in next(each["reason"] for each in ended.objects if each["check"] == "unsafe_process")


def test_a_level_that_nobody_asked_for_may_fail(
    datastore: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "setpriv").symlink_to(shutil.which("setpriv") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert datastore("doctor").code == 2
    assert datastore("doctor", "--isolation", "unsafe_process").code == 0
    monkeypatch.setenv("DATASTORE_ISOLATION", "unsafe_process")
    assert datastore("doctor").code == 0


def test_a_launcher_is_tried(datastore: Command, tmp_path: Path) -> None:
    (tmp_path / "launch").write_text('exec "$1" -I -S -E -B "/proc/self/fd/$2" "$3"\n', encoding="utf-8")
    command = shlex.join(["sh", str(tmp_path / "launch"), sys.executable])
    ended = datastore("doctor", "--isolation", "external", "--launcher", command, "--json")
    found = next(each for each in ended.objects if each["check"] == "external")
    assert (ended.code, found["configured"], found["works"]) == (0, True, True)


def test_packages_that_guests_must_not_see_are_named(datastore: Command) -> None:
    ended = datastore("doctor", "--site-packages", "/", "--json")
    assert ended.code == 2
    assert "site_packages='/' is or holds" in ended.objects[0]["reason"]


def test_a_store_that_is_away_is_exit_3_and_shows_no_credentials(
    datastore: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_CONNECT_TIMEOUT_SECONDS", "0.2")
    ended = datastore("doctor", "--url", f"mongodb://root:{SECRET}@localhost:1/x")
    assert ended.code == 3
    assert "MongoDB at localhost:1 does not answer" in ended.lines[-1]
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize("options", [("--isolation", "none"), ("--url", "nowhere")])
def test_what_is_configured_wrongly_is_exit_2(datastore: Command, options: tuple[str, str]) -> None:
    assert datastore("doctor", *options).code == 2


async def test_whatever_a_level_raises_is_an_answer() -> None:
    def broken() -> Level:
        raise OSError(38, "Function not implemented")

    found = await checks.level("strict", broken, configured=True)
    assert (found.works, found.reason) == (False, "OSError: [Errno 38] Function not implemented")
    assert "report" in str(found.remedy)
