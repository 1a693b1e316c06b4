"""The demo, as `make demo` runs it, ends well; the README shows what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.playing import environment
from tests.world import Servers

DEMO: Final = ROOT / "docs" / "examples" / "demo.py"
SECONDS: Final = 120


def demo(*arguments: str, path: Path = DEMO, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: each for name, each in environment("").items() if not name.startswith("DATASTORE_")}
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    return demo()


def test_the_demo_ends_with_all_its_checks_held(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"(\d+) of \1 checks hold, after [\d.]+ seconds\.", lines[-1])
    assert [line for line in lines if line.startswith("  NO")] == []


def test_the_demo_shows_both_users_namespaces_at_its_end(done: subprocess.CompletedProcess[str]) -> None:
    names = {user: re.search(rf"^{user} has (.*)\.$", done.stdout, re.MULTILINE) for user in ("demo-alice", "demo-bob")}
    listed = {user: set(found[1].split(", ")) for user, found in names.items() if found}
    assert listed["demo-alice"] == {f"{kind}:agent-data-store" for kind in ("files", "index", "summary")}
    packages = ("asyncio", "http", "json")
    assert listed["demo-bob"] == {f"{kind}:cpython/{p}" for kind in ("files", "index", "summary") for p in packages}


def test_the_readme_shows_what_the_demo_says(done: subprocess.CompletedProcess[str]) -> None:
    [block] = [block for block in blocks(ROOT / "README.md") if block.info == "console demo"]
    said = {without_numbers(line) for line in done.stdout.splitlines()}
    shown = [line for line in block.text.splitlines()[1:] if line.strip() and line != "..."]
    assert len(shown) > 10
    assert [line for line in shown if without_numbers(line) not in said] == []


def without_numbers(line: str) -> str:
    return re.sub(r"[ \d.]*\d[\d.]*", " N", line).rstrip()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["mongodb", "postgresql"])
def test_the_demo_works_on_a_server_and_again_on_what_it_left_there(servers: Servers, scheme: str) -> None:
    with servers(scheme).lent() as url:
        first, second = demo(url), demo(DATASTORE_URL=url)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.startswith(f"Store: {scheme}.")
    assert re.search(r"index +cpython/json +done.* \d+ words, 0 removed", second.stdout)


def test_the_demo_fails_in_one_line_where_no_sandbox_can_be_started(tmp_path: Path) -> None:
    failed = demo(PATH=str(tmp_path))
    assert failed.returncode == 1
    assert failed.stderr == "demo: bubblewrap (bwrap) is not on PATH. Install bubblewrap 0.8 or later.\n"


@pytest.mark.slow
def test_the_demo_fails_if_an_agent_sees_what_it_must_not(tmp_path: Path) -> None:
    copied = shutil.copytree(DEMO.parent, tmp_path / "docs" / "examples")
    (copied / "look_around.py").write_text(
        (copied / "look_around.py").read_text(encoding="utf-8").replace("os.getuid()", "0"), encoding="utf-8"
    )
    for part in ("datastore", "sandbox", "admin"):
        (tmp_path / part).symlink_to(ROOT / part)
    failed = demo(path=copied / "demo.py")
    assert (failed.returncode, failed.stderr) == (1, "")
    assert "  NO   agents do not run as root\n" in failed.stdout
    assert re.search(r"^11 of 12 checks hold", failed.stdout, re.MULTILINE)
