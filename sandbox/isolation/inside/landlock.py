"""The program that starts a guest at `landlock`: it gives up this process's rights, then runs the bootstrap in it.

It is executed under the guest's own uid, before anything of a user, on three descriptors: an order (a line of JSON,
then the filter of system calls), the bootstrap archive, and the guest's socket; what follows is the bootstrap's own.
Nothing is executed after the confinement, so no guest needs the right to execute anything.

Order matters. The parent's end must reach the process before the filter makes that final; rights on files are given
while files can be opened; the filter comes last, since it forbids all of this.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
import time
import zipimport
from typing import Any, Final

from . import kernel

OLDEST: Final = 6
"""The first ABI of Landlock that scopes signals and abstract unix sockets: Linux 6.12."""

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_ALL_OF_FILES: Final = (1 << 16) - 1
_ALL_OF_TCP: Final = 0b11
_ALL_SCOPES: Final = 0b11

_QUIET_SINCE: Final = 7
_QUIET: Final = 1
"""LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF: a guest that collects refusals must not fill the host's audit log."""

_SET_PARENT_DEATH_SIGNAL: Final = 1
_SET_DUMPABLE: Final = 4

_PATIENCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.01


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """Return the version of Landlock that this kernel speaks.

    Raises:
        OSError: ENOSYS where it was built without, EOPNOTSUPP where it was started without.
    """
    return _landlock(_CREATE_RULESET, None, 0, _VERSION)


def main() -> None:
    """Confine this process and run the bootstrap in it."""
    given, bootstrap, *words = sys.argv[1:]
    with open(int(given), "rb") as file:  # noqa: PTH123 - a descriptor, not a path.
        order = json.loads(file.readline())
        rules = file.read()
    os.close(int(sys.argv[0].rpartition("/")[2]))  # This program's own archive.
    end_with(order["parent"])
    require_a_uid_of_its_own()
    confine(order["readable"], order["writable"])
    kernel.install_filter(rules)
    run(f"/proc/self/fd/{bootstrap}", words)


def end_with(parent: int) -> None:
    """Be killed when the thread ends that started this process; end now if it has ended already."""
    kernel.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("landlock: its host has ended")


def require_a_uid_of_its_own() -> None:
    """End unless this is the only process of its uid on the machine, by the kernel's own count.

    What the kernel counts by uid, threads above all, would otherwise be shared with a neighbour. The guests of a host
    that has just been killed are given a moment to end.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (2, hard))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _may_be_two():
        if time.monotonic() > deadline:
            sys.exit(f"landlock: uid {os.getuid()} is in use by another process, or no more may be started")
        time.sleep(_PAUSE_SECONDS)
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


def _may_be_two() -> bool:
    """Say whether there may be two processes of this uid now; the second never comes to be: it would be a folder."""
    try:
        os.posix_spawn("/", ["/"], {})
    except OSError as error:
        return error.errno != errno.EAGAIN
    return True


def confine(readable: list[str], writable: list[str]) -> None:
    """Give up everything but these files and folders, for good."""
    kernel.no_new_privileges()
    kernel.drop_capabilities()
    kernel.prctl(_SET_DUMPABLE, 0)
    wanted = _Ruleset(_ALL_OF_FILES, _ALL_OF_TCP, _ALL_SCOPES)
    ruleset = _landlock(_CREATE_RULESET, ctypes.byref(wanted), ctypes.sizeof(wanted), 0)
    for path in readable:
        _allow(ruleset, path, _READ_FILE)
    for path in writable:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
    _landlock(_RESTRICT_SELF, ruleset, _QUIET if abi() >= _QUIET_SINCE else 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if os.path.isdir(path):  # noqa: PTH112 - pathlib is not needed otherwise, and costs its import.
        rights |= _READ_DIR
    rule = _PathBeneath(rights, descriptor)
    _landlock(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(descriptor)


def run(archive: str, words: list[str]) -> None:
    """Run an archive in this process as if Python had been started with it."""
    sys.argv = [archive, *words]
    sys.path[0] = archive
    exec(zipimport.zipimporter(archive).get_code("__main__"), sys.modules["__main__"].__dict__)  # noqa: S102


def _landlock(number: int, *arguments: Any) -> int:
    return kernel.call("syscall", number, *arguments)
