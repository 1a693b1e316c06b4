"""A short command of the host's own: what it printed, or in one line why it did not do its work."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

SECONDS: Final = 10.0


class Failed(Exception):  # noqa: N818 - a reason, which whoever asks turns into an error with a remedy.
    """Why a command did not do its work."""


def ask(command: Sequence[str], seconds: float = SECONDS) -> str:
    """Return what a command prints; it gets an empty environment and no input.

    Raises:
        Failed: It could not be started, took longer, or ended with another status than 0; the last line of what it
            wrote to stderr says why, where there is one.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the words are this package's own, no shell is involved.
            command,
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from error
    if done.returncode:
        raise Failed((done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1])
    return done.stdout
