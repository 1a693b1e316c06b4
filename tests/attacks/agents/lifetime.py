"""Attacks on the end of a run: not to hear it, to outlive it, to take the host along."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from typing import Final

from tests.attacks.agents.attempt import Attempt

FLOOD: Final = 64 * 1024 * 1024
PIECE: Final = 1024 * 1024
LIFE: Final = 10


def flood_descriptors(attempt: Attempt) -> str:
    """Write past the log, into the descriptors that were standard output and error."""
    piece = b"x" * PIECE
    attempt.begin()
    for descriptor in (1, 2):
        for _ in range(FLOOD // PIECE):
            os.write(descriptor, piece)
    return "written"


def ignore_everything(attempt: Attempt) -> str:
    """Run on, in four threads, deaf to every signal and to the end of the socket."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    atexit.register(_spin)
    sys.excepthook = lambda *_: _spin()
    for _ in range(3):
        threading.Thread(target=_spin).start()
    attempt.begin()
    _spin()
    return "unreachable"


def leave_a_child(attempt: Attempt) -> str:
    """Leave a child in a session of its own, which the end of this group does not reach; it ends by itself."""
    attempt.begin()
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.alarm(LIFE)
        while True:
            signal.pause()
    return str(child)


def signal_own_group(attempt: Attempt) -> str:
    """Signal everybody who is in the group, be it in another namespace; with one that harms nobody."""
    attempt.begin()
    os.kill(0, signal.SIGURG)
    return "signalled"


def _spin() -> None:
    while True:
        with contextlib.suppress(BaseException):
            sum(range(1000))
