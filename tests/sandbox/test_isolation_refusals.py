"""Who gets no guest, and with which words: a level works as promised or it refuses."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datastore.errors import SandboxUnavailable
from sandbox.isolation import Guest, choose, explain
from sandbox.isolation.preflight import ATTACKS, self_test
from sandbox.isolation.process import launch
from tests.uids import RUN_AS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.timeout(20)


FAILURES = {
    "No permissions to creating new namespace, likely because": "user namespaces",
    "Creating new namespace failed: nesting depth": "user namespaces",
    "setting up uid map: Permission denied": "AppArmor",
    "Failed to make / slave: Permission denied": "AppArmor",
    "Can't find source path /home/x/python3: Permission denied": "python=",
    "execvp /usr/bin/python3.11: No such file or directory": "python=",
    "Unknown option --disable-userns": "bubblewrap 0.8",
}
"""What bubblewrap says, and what the remedy must name."""

NO_ISOLATION = """
fd=$2
bootstrap=$(tr '\\0' '\\n' < /proc/self/fd/$fd | grep -B 1 -x /bootstrap.pyz | head -n 1)
exec "$4" -I -S -E -B "/proc/self/fd/$bootstrap" "${10}"
"""
"""A bubblewrap that takes all its words and isolates nothing."""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put another bwrap before the real one: a shell script that says it is 0.8.0."""
    # Not tmp_path, which is closed to the account that launches guests.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PATH", folder, prepend=os.pathsep)

        def install(body: str, version: str = "0.8.0") -> None:
            path = Path(folder, "bwrap")
            head = f'#!/bin/sh\n[ "$1" = --version ] && echo "bubblewrap {version}" && exit\n'
            path.write_text(head + body, encoding="utf-8")
            path.chmod(0o755)

        yield install


async def refusal(**settings: str | int | None) -> str:
    """Return the words with which strict refuses to be prepared."""
    level = choose("strict", **{"run_as": RUN_AS, **settings})  # type: ignore[arg-type]  # mixed keywords.
    with pytest.raises(SandboxUnavailable) as caught:
        await level.prepare()
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RuntimeError, match="prepare"):
        level.spawn(b"", theirs)
    return str(caught.value)


def test_an_unknown_level_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match=r"'none'.*strict, landlock, unsafe_process, external"):
        choose("none")


def test_unsafe_process_must_be_asked_for_twice() -> None:
    with pytest.raises(SandboxUnavailable, match=r"accept_no_isolation=True.*--accept-no-isolation"):
        choose("unsafe_process")


async def test_unsafe_process_warns_at_every_start(caplog: pytest.LogCaptureFixture) -> None:
    level = choose("unsafe_process", accept_no_isolation=True)
    await level.prepare()
    await level.prepare()
    warned = [record for record in caplog.records if record.name == "datastore.sandbox"]
    assert [record.levelno for record in warned] == [logging.WARNING] * 2


async def test_root_without_run_as_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    words = await refusal(run_as=None)
    assert all(name in words for name in ("run_as=", "--run-as", "DATASTORE_RUN_AS"))


@pytest.mark.parametrize("root", [0, "0", "root"])
async def test_root_by_run_as_is_refused(root: str | int) -> None:
    assert "root" in await refusal(run_as=root)


async def test_an_unknown_user_is_refused() -> None:
    assert "'no-such-user'" in await refusal(run_as="no-such-user")


async def test_only_root_can_launch_as_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert "only root" in await refusal(run_as=4322)


async def test_a_machine_without_bubblewrap_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "bubblewrap (bwrap) is not on PATH" in await refusal()


async def test_a_bubblewrap_that_is_too_old_is_refused(program: Callable[..., None]) -> None:
    program("exit 1", version="0.7.0")
    assert "'bubblewrap 0.7.0', which is too old" in await refusal()


async def test_a_bubblewrap_that_is_no_program_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy("/bin/false", tmp_path / "bwrap")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert "does not run" in await refusal()


@pytest.mark.parametrize("words", FAILURES)
async def test_a_failed_start_is_told_in_bubblewraps_words_with_a_remedy(
    program: Callable[..., None], words: str
) -> None:
    program(f'echo "bwrap: {words}" >&2; exit 1')
    told = await refusal()
    assert f"bwrap: {words}" in told
    assert FAILURES[words] in told


async def test_a_bubblewrap_that_isolates_nothing_does_not_pass_the_self_test(program: Callable[..., None]) -> None:
    program(NO_ISOLATION)
    told = await refusal()
    reached = ("network", "fork", "namespaces", "writing", "environment", "processes", "files", "descriptors")
    assert [name for name in reached if f"{name}: " not in told] == []


async def test_an_attack_that_the_probe_is_silent_about_counts_as_missed() -> None:
    report = json.dumps(dict.fromkeys(ATTACKS - {"fork"}, ""))
    answer = f"import os, sys; it = int(sys.argv[1]); os.read(it, 65536); os.write(it, b'{report}\\n')"

    def spawn(_bootstrap: bytes, peer: socket.socket, environment: Mapping[str, str]) -> Guest:
        number = peer.fileno()
        return launch([sys.executable, "-c", answer, str(number)], inherit=(number,), environment=environment)

    with pytest.raises(SandboxUnavailable, match=r"missed \(fork: not tried\)"):
        await self_test(spawn, "strict")


async def test_a_python_that_does_not_exist_is_refused() -> None:
    assert "python=" in await refusal(python="/no/such/python3")


@pytest.fixture
def old_python(tmp_path: Path) -> str:
    path = tmp_path / "python3"
    path.write_text('#!/bin/sh\necho \'{"version": [3, 10], "folders": [], "loaded": []}\'\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


async def test_a_python_that_is_too_old_is_refused(old_python: str) -> None:
    level = choose("unsafe_process", accept_no_isolation=True, python=old_python)
    with pytest.raises(SandboxUnavailable, match=r"older than 3\.11"):
        await level.prepare()


def test_a_start_that_ended_without_a_word_is_told_too() -> None:
    assert "without a word" in str(explain("", "strict"))


def test_of_a_traceback_only_the_last_line_is_told() -> None:
    assert "guest: ImportError: no module." in str(
        explain("Traceback ...\n  File x\nImportError: no module\n", "strict")
    )
