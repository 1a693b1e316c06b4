"""What every attacking agent uses: an attempt that says when its decisive step comes, and reports how that went.

These files are agents: they enter the guest as text, are run there, and need the standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Callable
from typing import Any, Final

MOST: Final = 4096

_LONG: Final = ("syscall", "ptrace", "process_vm_readv", "process_vm_writev")
_MACHINES: Final = ("x86_64", "aarch64")
_NUMBERS: Final = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "fsopen": (430, 430),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "socket": (41, 198),
    "tgkill": (234, 131),
    "userfaultfd": (323, 282),
}


class Attempt:
    """One attack under way; `given` is what its host told it, which holds none of the secrets it is after."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.attempted = False

    def begin(self) -> None:
        """Say that all is prepared and the decisive step comes now; an attacker that dies of it has said so too."""
        self.attempted = True
        print("attempted", flush=True)  # noqa: T201 - the log is the only way out of a process that is killed.

    def libc(self, name: str, *arguments: Any) -> int:
        """Call a function of the C library as the decisive step.

        Raises:
            OSError: it answered less than zero.
        """
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
        function.restype = ctypes.c_long if name in _LONG else ctypes.c_int
        self.begin()
        return checked(name, int(function(*arguments)))

    def syscall(self, name: str, *arguments: Any) -> int:
        """Make a system call that the C library has no function for, as the decisive step."""
        return self.libc("syscall", number(name), *arguments)


def number(name: str) -> int:
    """Return a system call's number on this machine."""
    return _NUMBERS[name][_MACHINES.index(platform.machine())]


def checked(name: str, answer: int) -> int:
    """Return what a C function answered, or raise its errno."""
    if answer < 0:
        raise OSError(ctypes.get_errno(), name)
    return answer


def found(what: str) -> str:
    """Return what an attack found; to have found nothing is a refusal too."""
    if not what:
        raise LookupError("nothing was found")
    return what


def report(attack: Callable[[Attempt], str], given: dict[str, Any]) -> dict[str, Any]:
    """Run an attack and tell whether it was attempted, what refused it, or what it got."""
    attempt = Attempt(given)
    try:
        got = found(attack(attempt))
    except Exception as refusal:  # noqa: BLE001 - whatever refused the attack is what is asked for.
        return {"attempted": attempt.attempted, "refused": _named(refusal), "got": ""}
    return {"attempted": attempt.attempted, "refused": None, "got": got[:MOST]}


def _named(refusal: Exception) -> str:
    code = refusal.errno if isinstance(refusal, OSError) and refusal.errno is not None else 0
    return errno.errorcode.get(code, type(refusal).__name__)
