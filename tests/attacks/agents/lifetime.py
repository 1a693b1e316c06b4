"""Attacks on the end of a run: not to hear it, to outlive it, to take the host along."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import os
import platform
import signal
import socket
import sys
import threading
from typing import Final

from tests.attacks.agents.attempt import Attempt

FLOOD: Final = 64 * 1024 * 1024
PIECE: Final = 1024 * 1024
LIFE: Final = 10
F_SETSIG: Final = 10
EXIT: Final = {"x86_64": 60, "aarch64": 93}


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
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(writer)
        signal.alarm(LIFE)
        while True:
            signal.pause()
    os.close(writer)
    os.read(reader, 1)  # Until the child has its session.
    return str(child)


def signal_own_group(attempt: Attempt) -> str:
    """Signal everybody who is in the group, be it in another namespace; with one that harms nobody."""
    attempt.begin()
    os.kill(0, signal.SIGURG)
    return "signalled"


def signal_everybody(attempt: Attempt) -> str:
    """Signal every process that one may; with one that harms nobody."""
    attempt.begin()
    os.kill(-1, signal.SIGURG)
    return "signalled"


def signal_by_file(attempt: Attempt) -> str:
    """Make another process the owner of a socket, for the kernel to signal when something arrives there."""
    one, other = socket.socketpair()
    with one, other:
        attempt.begin()
        fcntl.fcntl(one, fcntl.F_SETOWN, attempt.given["pid"])
        fcntl.fcntl(one, F_SETSIG, signal.SIGURG)
        fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        other.send(b"x")
        return "signalled"


def end_the_first_thread(attempt: Attempt) -> str:
    """Live on in a thread when the process's first one has ended, which is the one that others see."""
    threading.Thread(target=ignore_everything, args=(attempt,)).start()
    ctypes.CDLL(None).syscall(EXIT[platform.machine()], 0)
    return "unreachable"


def _spin() -> None:
    while True:
        with contextlib.suppress(BaseException):
            sum(range(1000))
