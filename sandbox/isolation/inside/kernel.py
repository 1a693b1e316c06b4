"""What the kernel offers a process for giving up its rights, and Python has no function for.

Everything raises OSError with the kernel's reason.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""

_SET_SECCOMP: Final = 22
_FILTER: Final = 2
_SET_CHILD_SUBREAPER: Final = 36
_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_3: Final = 0x20080522
_INSTRUCTION_BYTES: Final = 8

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def call(name: str, *arguments: Any) -> int:
    """Call a function of libc that answers -1 and sets errno where it fails."""
    answer: int = getattr(_libc, name)(*arguments)
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return answer


def prctl(option: int, argument: Any = 0, further: Any = 0) -> None:
    """Change something about this process."""
    call("prctl", *map(_word, (option, argument, further, 0, 0)))


def unshare(flags: int) -> None:
    """Move into new namespaces; a new pid namespace begins with the next child."""
    call("unshare", flags)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has ended."""
    prctl(_SET_CHILD_SUBREAPER, 1)


def drop_capabilities() -> None:
    """Give up every capability in the own user namespace; without new privileges none comes back."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())


def no_new_privileges() -> None:
    """Never gain any, whatever is executed; without it the kernel takes no filter."""
    prctl(_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """Filter the system calls of this thread and of all that come from it, for good."""
    prctl(_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(program) // _INSTRUCTION_BYTES, program)))


def _word(argument: Any) -> Any:
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument
