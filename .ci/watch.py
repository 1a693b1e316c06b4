"""Run a command with a time limit. At the limit, print the stack of every process of the command and end them all.

Usage: python3 .ci/watch.py --seconds N -- COMMAND...

It exits with the command's code, or with 124 at the limit. SIGUSR1 means that the limit is now. It uses the standard
library alone, because it also runs before the environment exists; py-spy shows Python stacks once it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_SUBREAPER = 36
_TIMED_OUT = 124
_GRACE_SECONDS = 5
_PAUSE_SECONDS = 0.05
_SPY_SECONDS = 20
_PY_SPY = Path(__file__).parent.parent / ".venv/bin/py-spy"


class _LimitReached(Exception):  # noqa: N818 - never leaves this script
    """The time is over, or SIGUSR1 came."""


def main() -> int:
    """Run the command that the arguments name; return its exit code."""
    parser = argparse.ArgumentParser(description="run a command for a time")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    # What the command's processes leave behind becomes a child of this one, and so is found.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, given.seconds)
        return _code(_wait_for(os.posix_spawnp(given.command[0], given.command, os.environ)))
    except _LimitReached:
        print(f"watch: the command is not done after {time.monotonic() - began:.0f} seconds:", flush=True)
        for pid in descendants(os.getpid()):
            print(described(pid), flush=True)
        return _TIMED_OUT
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        end_all()


def _wait_for(command: int) -> int:
    """Wait for the end of the command, and return how it ended.

    Adopted processes are reaped as they end, as init reaps them: the kernel counts one that has ended by its uid until
    then, so a guest's uid would stay in use.
    """
    while True:
        pid, status = os.wait()
        if pid == command:
            return os.waitstatus_to_exitcode(status)


def descendants(pid: int) -> list[int]:
    """Return the processes below one, parents before their children."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def described(pid: int) -> str:
    """Return what a process is, what it waits for in the kernel, and its stack where that can be told."""
    command = _read(pid, "cmdline").replace("\0", " ").strip() or "(no command line)"
    state = next((line for line in _read(pid, "status").splitlines() if line.startswith("State:")), "gone")
    kernel = _read(pid, "stack").strip() or _read(pid, "wchan")
    return f"\n--- {pid}: {command[:500]}\n{state}\n{kernel}\n{_python_stack(pid)}"


def _python_stack(pid: int) -> str:
    if "python" not in os.path.basename(_link(pid)) or not _PY_SPY.exists():  # noqa: PTH119 - the file may be gone
        return ""
    spy = ["timeout", str(_SPY_SECONDS), str(_PY_SPY), "dump", "--pid", str(pid)]
    told = subprocess.run(spy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return told.stdout.decode(errors="replace")


def end_all() -> None:
    """End the processes that are left: SIGTERM first, since servers clean up, then SIGKILL."""
    for kill in (signal.SIGTERM, signal.SIGKILL):
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kill)
        _reap(_GRACE_SECONDS)


def _reap(seconds: float) -> None:
    """Wait for children, adopted ones included, until there are none or the time is over."""
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(_PAUSE_SECONDS)


def _read(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""


def _link(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/exe").readlink())
    return ""


def _code(code: int) -> int:
    """Return the exit code of a process as a shell tells it."""
    return 128 - code if code < 0 else code


def _reach_limit(_number: int, _frame: object) -> None:
    raise _LimitReached


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _reach_limit)
    signal.signal(signal.SIGALRM, _reach_limit)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
