"""A run of CI that does not end tells where its processes are, and leaves none."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT

PATIENCE = 120

STUCK = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)

def wait_for_what_never_comes():
    print(os.getpid(), flush=True)
    time.sleep(600)

wait_for_what_never_comes()
"""


def words(*command: str) -> list[str]:
    return [sys.executable, str(ROOT / ".ci/watch.py"), "--seconds", str(PATIENCE), "--", *command]


def watched(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words(*command), capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_command_that_does_not_end_is_shown_and_ended(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(STUCK, encoding="utf-8")
    with subprocess.Popen(words(sys.executable, str(script)), stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert watch.stdout is not None
            pids = [int(watch.stdout.readline()) for _ in range(2)]
            watch.send_signal(signal.SIGUSR1)
            said, _ = watch.communicate(timeout=PATIENCE)
        finally:
            watch.kill()
    assert watch.returncode == 124
    assert said.count("wait_for_what_never_comes (stuck.py:") == 2
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_a_command_that_ends_passes_on_its_code() -> None:
    assert [watched("sh", "-c", f"exit {code}").returncode for code in (0, 3)] == [0, 3]
    assert watched("sh", "-c", "kill -KILL $$").returncode == 137


def test_what_a_command_leaves_behind_is_ended() -> None:
    done = watched("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    assert done.returncode == 0
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_what_a_command_leaves_behind_is_reaped_while_the_command_runs() -> None:
    orphan = "sh -c 'sleep 0.1 & echo $! >&2' 2>&1"
    done = watched("sh", "-c", f"left=$({orphan}); while [ -e /proc/$left ]; do sleep 0.05; done; echo reaped $left")
    assert done.stdout.startswith("reaped ")
