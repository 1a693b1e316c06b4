"""`make bench` gives every row, and says what it could not measure; its figures are not looked at here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from datastore import Scope, open_store
from sandbox import Sandbox
from tests.benchmarks import bench, peers
from tests.benchmarks.bars import BARE, GET_MANY, GETS, GUEST, HOST, SET_MANY, SETS
from tests.benchmarks.figures import Row
from tests.benchmarks.guests import Guest, GuestError
from tests.benchmarks.operations import QUICK
from tests.benchmarks.rows import measure
from tests.docs.pages import ROOT
from tests.uids import RUN_AS

PATIENCE = 120
OPERATIONS = ("get", "set", GET_MANY, SET_MANY, GETS, SETS)


@pytest.mark.slow
def test_a_quick_bench_gives_every_row(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks.bench", "--quick", "--only", "sqlite", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "processors, load" in done.stdout
    assert re.search(r"^sqlite: SQLite [\d.]+ through aiosqlite", done.stdout, re.MULTILINE)
    printed = [tuple(re.split("  +", line)[1:3]) for line in done.stdout.splitlines() if line.startswith("sqlite  ")]
    wanted = [(operation, contender) for operation in OPERATIONS for contender in (BARE, HOST, GUEST)]
    assert list(dict.fromkeys(printed)) == wanted
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert [each["operation"] for each in rows] == list(OPERATIONS)
    assert all(len(figures["rounds"]) == QUICK.rounds for each in rows for figures in each["contenders"].values())


async def test_what_cannot_be_opened_is_a_row(tmp_path: Path) -> None:
    rows = [each async for each in measure("sqlite", f"sqlite:///{tmp_path}", tmp_path, QUICK)]
    assert [each.operation for each in rows] == ["all"]
    assert "is not a file" in str(rows[0].error)


def test_only_rows_that_failed_make_it_fail() -> None:
    assert bench.outcome([Row("sqlite", "get")]) == 0
    assert bench.outcome([Row("sqlite", "get"), Row("sqlite", "set", error="OSError: full")]) == 1


def test_backends_are_chosen_by_name_or_engine() -> None:
    assert bench.chosen([]) == list(bench.BACKENDS)
    assert bench.chosen(["mongodb", "sqlite"]) == ["sqlite", "motor", "pymongo"]
    with pytest.raises(SystemExit, match="2"):
        bench.main(["--only", "oracle"])


async def test_a_guest_that_ends_early_is_an_error(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store, Sandbox(store, run_as=RUN_AS) as sandbox:
        async with Guest().running(sandbox, Scope(user="alice", agent="bench"), "get", [("k",)]) as guest:
            assert (await guest.play(0.001)).durations
        async with Guest().running(sandbox, Scope(user="alice", agent="bench"), "got", [("k",)]) as guest:
            with pytest.raises(GuestError, match="raised"):
                await guest.play(0.001)


def test_every_peer_is_in_the_group_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    group = {re.split(r"[^\w.-]", each)[0] for each in project["optional-dependencies"]["peers"]}
    assert {each for named in peers.PACKAGES.values() for each in named.values()} == group
    pins = (ROOT / ".ci" / "constraints-peers.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", each) for each in pins)
    assert group <= {each.partition("==")[0] for each in pins}
