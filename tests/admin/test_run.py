"""`datastore run`: the result alone on stdout, everything else on stderr, and how it ended in the exit code."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import ConnectedDataStore
from tests.admin.conftest import Command
from tests.admin.words import PATIENCE, Ended, process, started
from tests.uids import uid

Run = Callable[..., Ended]


@pytest.fixture
def agent(tmp_path: Path) -> Callable[[str], str]:
    """Write an agent and return its path."""

    def write(code: str) -> str:
        path = tmp_path / "notes.py"
        path.write_text(code, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def run(env: dict[str, str], agent: Callable[[str], str]) -> Run:
    """Run an agent's code for alice, as a process."""

    def run_it(code: str, *options: str, stdin: bytes = b"") -> Ended:
        return process(["run", agent(code), "--user", "alice", *options], env, stdin)

    return run_it


def test_the_result_alone_is_on_stdout_and_the_log_on_stderr(run: Run, alice: ConnectedDataStore) -> None:
    code = "def run(given):\n print('working')\n data_store.set('k', given)\n return {'é': given['n'] + 1}"
    ended = run(code, "--input", '{"n": 1}')
    assert (ended.code, ended.out, ended.err) == (0, '{"é": 2}\n', "working\n")
    entry = alice.get_entry("k")
    assert entry is not None
    assert (entry.value, entry.created_by_agent) == ({"n": 1}, "notes")


def test_an_agent_that_raises_is_exit_1_with_its_traceback_on_stderr(run: Run) -> None:
    ended = run("def run():\n    print('no newline', end='')\n    raise ValueError('so it is')")
    assert (ended.code, ended.out) == (1, "")
    first, *trace, last = ended.err.splitlines()
    assert (first, last) == ("no newline", "datastore: the agent raised ValueError: so it is")
    assert trace[0] == "Traceback (most recent call last):"
    assert any("notes.py" in line and "line 3" in line for line in trace)


def test_a_run_over_its_time_is_exit_4_and_names_the_limit(run: Run) -> None:
    ended = run("def run():\n    while True: pass", "--wall-seconds", "0.2")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == "datastore: the run broke its limit wall_seconds: the run did not end within 0.2 seconds\n"


def test_bytes_are_printed_as_base64(run: Run) -> None:
    assert run("def run(): return b'\\x00\\xff'").out == '{"base64": "AP8="}\n'


def test_input_comes_from_a_file_or_stdin_and_is_an_empty_object_otherwise(run: Run, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text("[1]")
    assert run("def run(given): return given", "--input-file", str(tmp_path / "input.json")).out == "[1]\n"
    assert run("def run(given): return given", "--input-file", "-", stdin=b"[2]").out == "[2]\n"
    assert run("def run(given): return given").out == "{}\n"


def test_agent_is_named_by_its_option(run: Run, alice: ConnectedDataStore) -> None:
    assert run("def run(): data_store.set('k', 1)", "--agent", "writer of notes").out == "null\n"
    entry = alice.get_entry("k")
    assert entry is not None
    assert entry.created_by_agent == "writer of notes"


def test_without_isolation_it_runs_when_told_twice_and_warns(run: Run) -> None:
    ended = run("def run(): return 1", "--isolation", "unsafe_process", "--accept-no-isolation")
    assert (ended.code, ended.out) == (0, "1\n")
    assert ended.err.startswith("datastore: warning: unsafe_process gives no isolation")


def test_a_launcher_of_the_operators_own_launches_the_agent(run: Run, tmp_path: Path) -> None:
    script = 'exec "$1" -I -S -E -B "/proc/self/fd/$2" "$3"\n'
    (tmp_path / "launch it").write_text(script, encoding="utf-8")
    command = shlex.join(["sh", str(tmp_path / "launch it"), sys.executable])
    ended = run("def run(): return 1", "--isolation", "external", "--launcher", command)
    assert (ended.code, ended.out, ended.err) == (0, "1\n", "")


def test_at_landlock_it_runs_under_a_uid_that_is_named(run: Run) -> None:
    if os.geteuid() == 0:  # Nobody else can give a guest a uid that is not its own.
        given = str(uid(700))
        told = run("import os\ndef run(): return os.getuid()", "--isolation", "landlock", "--run-as", given)
        assert told.out == f"{given}\n"
    refused = run("def run(): return 1", "--isolation", "landlock")
    assert (refused.code, refused.out) == (2, "")
    assert "--run-as" in refused.err


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        (("--input", "{'a': 1}"), "--input is not JSON"),
        (("--input", "1", "--input-file", "x"), "exclude each other"),
        (("--input-file", "/no/such"), "'/no/such' cannot be used: no such file or directory."),
        (
            ("--isolation", "none"),
            "there is no isolation level 'none'. Levels: strict, landlock, unsafe_process, external.",
        ),
        (("--isolation", "external"), "--launcher"),
        (("--isolation", "external", "--launcher", "'"), "cannot be split into words"),
        (("--launcher", "x"), "strict has no launcher"),
        (("--isolation", "unsafe_process"), "--accept-no-isolation"),
        (("--wall-seconds", "0"), "--wall-seconds=0.0 must be above 0"),
        (("--agent", "@admin/root"), "begins with '@'"),
        (("--agent", ""), "agent must not be empty"),
        (("--user", "@team"), "begins with '@'"),
        (("--run-as", "no-such-account"), "no-such-account"),
        (("--url", "nowhere"), "no scheme"),
    ],
)
def test_bad_usage_or_configuration_is_exit_2_and_one_line(
    datastore: Command, agent: Callable[[str], str], options: tuple[str, ...], mend: str
) -> None:
    ended = datastore("run", agent("def run(): return 1"), "--user", "alice", *options)
    assert ended.code == 2
    assert mend in ended.complaint


@pytest.mark.parametrize(("content", "mend"), [(b"# caf\xe9", "not UTF-8"), (None, "no such file or directory")])
def test_an_agent_that_cannot_be_read_is_exit_2(
    datastore: Command, tmp_path: Path, content: bytes | None, mend: str
) -> None:
    path = tmp_path / "agent.py"
    if content is not None:
        path.write_bytes(content)
    ended = datastore("run", str(path), "--user", "alice")
    assert ended.code == 2
    assert mend in ended.complaint


def test_a_machine_without_bubblewrap_is_exit_2_with_the_remedy(
    env: dict[str, str], agent: Callable[[str], str], tmp_path: Path
) -> None:
    ended = process(["run", agent("def run(): return 1"), "--user", "alice"], env | {"PATH": str(tmp_path)})
    assert ended.code == 2
    assert ended.complaint == "datastore: bubblewrap (bwrap) is not on PATH. Install bubblewrap 0.8 or later."


@pytest.mark.parametrize("behind", [(), ("sh", "-c", 'trap "" INT; exec "$@"', "sh")], ids=["as usual", "ignored"])
def test_ctrl_c_is_exit_130_and_kills_the_run_and_the_log_was_live(
    env: dict[str, str], agent: Callable[[str], str], behind: tuple[str, ...]
) -> None:
    code = "import os, threading\ndef run():\n    print('guest', os.getpid())\n    threading.Event().wait()"
    options = ("--user", "alice", "--isolation", "unsafe_process", "--accept-no-isolation")
    with started(["run", agent(code), *options], env, behind) as running:
        assert running.stderr is not None
        assert running.stdout is not None
        lines = iter(running.stderr.readline, b"")
        guest = int(next(line for line in lines if line.startswith(b"guest")).split()[1])
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
        assert (running.stdout.read(), running.stderr.read()) == (b"", b"")
    with pytest.raises(ProcessLookupError):
        os.kill(guest, 0)


def test_a_manifest_bounds_what_the_agent_may_do(run: Run, tmp_path: Path, alice: ConnectedDataStore) -> None:
    manifest = tmp_path / "notes.toml"
    manifest.write_text('[capabilities]\nmemory_write = ["out"]', encoding="utf-8")
    code = "def run(given):\n return data_store.use_namespace(given['to']).set('k', 1) and 'written'"
    ended = run(code, "--manifest", str(manifest), "--input", '{"to": "out"}')
    assert (ended.code, ended.out) == (0, '"written"\n')
    ended = run(code, "--manifest", str(manifest), "--input", '{"to": "other"}')
    assert (ended.code, ended.out) == (1, "")
    assert "AccessDenied: writing namespace 'other' is not granted to this agent. Granted: 'out' (write)" in ended.err
    assert alice.list_namespaces() == ["out"]


@pytest.mark.parametrize("content", ["[capabilities]\nmemory = 1", "[capabilities", "[capabilities]\nread = []", None])
def test_an_unusable_manifest_is_bad_usage_and_runs_nothing(run: Run, tmp_path: Path, content: str | None) -> None:
    manifest = tmp_path / "notes.toml"
    if content is not None:
        manifest.write_text(content, encoding="utf-8")
    ended = run("def run(): print('ran')", "--manifest", str(manifest))
    assert (ended.code, ended.out) == (2, "")
    assert "notes.toml" in ended.err
    assert "ran\n" not in ended.err
