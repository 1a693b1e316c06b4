"""How these tests say things: calling the command in this process, as a process, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

COMMAND: Final = (sys.executable, "-m", "admin.cli.main")
PATIENCE: Final = 60


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[Any]:
        """What it printed, a JSON text per line."""
        return [json.loads(line) for line in self.lines]

    @property
    def complaint(self) -> str:
        """The one line that it ended with."""
        line, newline, rest = self.err.partition("\n")
        assert (newline, rest) == ("\n", ""), f"not one line: {self.err!r}"
        assert self.out == ""
        return line


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings of the store, save those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATASTORE_")}
    return kept | {"COLUMNS": "200"} | changes


def process(arguments: Sequence[str], env: Mapping[str, str], stdin: bytes = b"") -> Ended:
    """Run the command as its user does."""
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, env=dict(env), timeout=PATIENCE, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def started(
    arguments: Sequence[str], env: Mapping[str, str], behind: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The command, still running; killed at the end if it is. Words `behind` which it stands start it."""
    with subprocess.Popen(
        [*behind, *COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def terminal(
    arguments: Sequence[str],
    env: Mapping[str, str],
    typed: str = "",
    *,
    after: str = "",
    interrupt: bool = False,
    stdout: int | None = None,
) -> tuple[int, str]:
    """Run the command on a terminal, and return its code and all that was shown.

    Once it has shown `after`, text is typed, or it is interrupted as Ctrl-C does. Its stdout may be elsewhere.
    """
    ours, theirs = pty.openpty()
    out = theirs if stdout is None else stdout
    with subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=out, stderr=theirs, env=dict(env)) as run:
        os.close(theirs)
        shown = b""
        try:
            for piece in _pieces(ours):
                shown += piece
                if after and after.encode() in shown:
                    after = ""
                    run.send_signal(signal.SIGINT) if interrupt else os.write(ours, typed.encode())
            return run.wait(PATIENCE), shown.decode()
        finally:
            run.kill()
            os.close(ours)


def _pieces(ours: int) -> Iterator[bytes]:
    while select.select([ours], [], [], PATIENCE)[0]:
        try:
            yield os.read(ours, 65536)
        except OSError:  # How Linux says that the other end of a terminal is closed.
            return
    raise TimeoutError("the command neither wrote nor ended")
