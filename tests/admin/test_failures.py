"""How the command ends when something is wrong: one line with the remedy, the right code, no traceback, no secret."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from admin.cli import failures
from admin.cli.main import main
from sandbox import ConnectedDataStore
from tests.admin.conftest import Command
from tests.admin.words import COMMAND, PATIENCE, environment, process, started

SECRET = "pa55word"  # noqa: S105 - what must never be shown


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        (f"mysql://root:{SECRET}@db/x", "scheme 'mysql'. Installed: mongodb://"),
        ("datastore.db", "no scheme"),
        ("sqlite:////proc/none/store.db", "Name a file in a folder that this process can write"),
        (f"mongodb://root:{SECRET}@db:99999/x", "The MongoDB URL cannot be used"),
    ],
)
def test_an_unusable_url_is_exit_2_with_the_remedy(datastore: Command, url: str, mend: str) -> None:
    ended = datastore("admin", "users", "--url", url)
    assert ended.code == 2
    assert mend in ended.complaint
    assert SECRET not in ended.complaint


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("DATASTORE_URLL", "sqlite://", "unknown setting 'urll'"),
        ("DATASTORE_CONNECT_TIMEOUT_SECONDS", "soon", "DATASTORE_CONNECT_TIMEOUT_SECONDS"),
        ("DATASTORE_CONFIG", "/no/such/file.yaml", "cannot be read: No such file or directory"),
    ],
)
def test_an_unusable_setting_is_exit_2_and_named(
    datastore: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, mend: str
) -> None:
    monkeypatch.setenv(name, value)
    ended = datastore("admin", "users")
    assert ended.code == 2
    assert mend in ended.complaint


def test_a_dead_server_is_exit_3_and_names_no_credentials(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("def run(): pass")
    env = environment(DATASTORE_URL=f"mongodb://root:{SECRET}@127.0.0.1:1/x", DATASTORE_CONNECT_TIMEOUT_SECONDS="0.2")
    for arguments in (["admin", "users"], ["run", str(agent), "--user", "alice"]):
        ended = process(arguments, env)
        assert ended.code == 3
        assert ended.complaint.startswith("datastore: MongoDB at 127.0.0.1:1 does not answer.")
        assert SECRET not in ended.complaint


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("nope",), "No such command 'nope'. See `datastore --help`."),
        (("admin", "nope"), "See `datastore admin --help`."),
        (("run",), "Missing"),
        (("run", "agent.py"), "Missing option '--user'. See `datastore run --help`."),
        (("admin", "users", "--frob"), "No such option: --frob. See `datastore admin users --help`."),
        (("admin", "show", "--user", "alice"), "KEY"),
    ],
)
def test_a_mistake_of_usage_is_exit_2_and_names_the_help(
    datastore: Command, arguments: tuple[str, ...], mend: str
) -> None:
    ended = datastore(*arguments)
    assert ended.code == 2
    assert mend in ended.complaint


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_prompt_that_nobody_reads_ends_quietly(env: dict[str, str], unbuffered: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as closed:  # noqa: PTH123 - a descriptor has no path
        done = subprocess.run(
            [*COMMAND, "prompt"],
            stdout=closed,
            stderr=subprocess.PIPE,
            env=env | {"PYTHONUNBUFFERED": unbuffered},
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [(), ("admin",)])
def test_a_command_without_a_verb_shows_its_help_as_a_mistake(datastore: Command, arguments: tuple[str, ...]) -> None:
    ended = datastore(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: datastore")


def test_an_internal_error_is_exit_70_and_one_line_without_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    error = RuntimeError(f"mongodb://root:{SECRET}@db/x\nbroke")
    assert failures.report(error, debug=False) == 70
    line, *rest = capsys.readouterr().err.splitlines()
    assert line.startswith("datastore: internal error: RuntimeError: mongodb://***@db/x\\u000abroke.")
    assert (rest, SECRET in line) == ([], False)


def test_debug_shows_the_traceback_before_the_line(datastore: Command) -> None:
    ended = datastore("--debug", "admin", "users", "--url", "nowhere")
    assert ended.code == 2
    assert ended.err.startswith("Traceback")
    assert ended.err.splitlines()[-1].startswith("datastore: the store's URL has no scheme.")


def test_a_reader_that_leaves_ends_the_command_quietly(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set_many({f"{number:05}" + "k" * 500: 0 for number in range(2000)})
    with started(["admin", "keys", "--user", "alice"], env) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert (running.wait(PATIENCE), running.stderr.read()) == (141, b"")


def test_a_full_disk_behind_stdout_is_one_line(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("k", 1)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "admin", "users"], stdout=full, stderr=subprocess.PIPE, env=env, check=False)
    assert done.returncode == 70
    assert done.stderr == b"datastore: the output could not be written: no space is left on its device.\n"


def test_a_closed_stdin_is_nobody_to_ask(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("k", 1)
    script = f"exec {shlex.join(COMMAND)} admin delete --user alice k <&-"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, env=env, timeout=PATIENCE, check=False)
    assert (done.returncode, b"--yes" in done.stderr) == (2, True)


def test_help_loads_neither_the_store_nor_a_driver() -> None:
    script = "import sys, json; from admin.cli.main import main; main(['--help']); print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=PATIENCE)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {"datastore", "sandbox", "pydantic", "rich", "sqlalchemy", "pymongo", "motor"}


@pytest.mark.parametrize(
    "verb",
    ["", "run"] + [f"admin {verb}" for verb in ("users", "namespaces", "keys", "show", "set", "delete")],
)
def test_help_ends_with_examples_of_the_verb(datastore: Command, verb: str) -> None:
    ended = datastore(*verb.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    _, _, examples = ended.out.partition("  Examples:\n")
    assert f"    datastore {verb}" in examples


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "datastore 0.1.0\n"
