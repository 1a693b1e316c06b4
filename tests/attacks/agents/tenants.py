"""Attacks across runs: what one leaves behind for another, and what it hands to the host they share."""

# An attacker's file calls are the plain ones:
# ruff: noqa: PTH110, PTH118, PTH120

from __future__ import annotations

import array
import builtins
import contextlib
import ctypes
import json
import os
import socket
import stat
import sys
import types
from collections.abc import Callable

from tests.attacks.agents.attempt import Attempt

FOLDERS = ("/tmp", "/dev/shm", "/dev", "/", os.path.dirname(os.__file__))  # noqa: S108 - wherever a guest might write.
FILES = 50
"""Fewer than may be in flight at once, which is what a guest may have open: 64."""


def leave_and_look_for_marks(attempt: Attempt) -> str:
    """Look for what another run left under a name that both know, and leave the same."""
    name = f"attacks_{attempt.given['mark']}"
    paths = [os.path.join(folder, name) for folder in FOLDERS]
    attempt.begin()
    places: dict[str, tuple[bool, Callable[[], object]]] = {
        "builtins": (hasattr(builtins, name), lambda: setattr(builtins, name, 1)),
        "modules": (name in sys.modules, lambda: sys.modules.setdefault(name, types.ModuleType(name))),
        "environment": (name in os.environ, lambda: os.environ.setdefault(name, "1")),
        "memory": (_shared(attempt.given["key"], 0), lambda: _shared(attempt.given["key"], 0o1600)),
        **{path: (os.path.exists(path), lambda path=path: os.close(os.open(path, os.O_CREAT))) for path in paths},  # type: ignore[misc]
    }
    for _, leave in places.values():
        with contextlib.suppress(OSError):
            leave()
    return json.dumps([place for place, (found, _) in places.items() if found])


def hand_descriptors_to_the_host(attempt: Attempt) -> str:
    """Send open files along with an honest frame: a host that takes them runs out of its own."""
    from sandbox.guest import wire  # noqa: PLC0415 - the guest has it, a plain process does not.

    sockets = [each for each in range(3, 64) if _is_socket(each)]
    channel = socket.socket(fileno=os.dup(sockets[0]))
    frame = bytes(wire.pack({"log": "", "stream": "stdout"}))
    files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))]
    attempt.begin()
    for _ in range(FILES):
        channel.sendmsg([frame], files)
    return "sent"


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _shared(key: int, flags: int) -> bool:
    return int(ctypes.CDLL(None).shmget(key, 4096, flags)) >= 0
