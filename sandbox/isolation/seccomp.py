"""Which system calls a guest may make, compiled to the filter that bubblewrap installs.

Theory of operation. The filter is an allowlist: what is not named answers EPERM, so that a library which
probes for a feature sees a refusal and goes on. A call from another architecture, or through x32's second
numbering, kills the process, because its numbers would mean other calls than the ones judged here.

What a guest could do harm with is absent: sockets (it was given the only one it needs), new processes and
namespaces, other processes' memory, mounts, keys, BPF, and whatever would let it leave its process group
(setsid, setpgid, PR_SET_PDEATHSIG), since the group is how the host kills it. execve stays because
bubblewrap starts Python through it, and nothing else is mounted that could be executed.

Some calls are right or wrong by their arguments; `_CONDITIONS` holds those. The numbers are in syscalls.py.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from datastore.errors import SandboxUnavailable
from sandbox.isolation import bpf
from sandbox.isolation.syscalls import CONDITIONAL, PLAIN, numbers

if TYPE_CHECKING:
    from collections.abc import Collection

    from sandbox.isolation.bpf import Instruction

KILL: Final = 0x80000000
ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
DENY: Final = _ERRNO | errno.EPERM
UNKNOWN: Final = _ERRNO | errno.ENOSYS

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of <linux/audit.h> by what `uname -m` says."""

_X32_BIT: Final = 0x40000000

_CLONE_THREAD: Final = 0x00010000
_CLONE_NEW: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME does not fit into clone's flags."""

_TERMINAL_AND_BLOCKING: Final = (0x5401, 0x5421, 0x541B, 0x5451, 0x5450)
"""TCGETS (isatty), FIONBIO, FIONREAD, FIOCLEX, FIONCLEX."""

_PRCTL: Final = (15, 16, 38, 22, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP (it can only tighten), PR_SET_VMA."""


def program(machine: str, *, without: Collection[str] = ()) -> bytes:
    """Return the filter for a machine.

    Args:
        machine: As `uname -m` names it.
        without: Plain calls of the table that are denied all the same.

    Raises:
        SandboxUnavailable: There is no table of system calls for this machine.
    """
    if machine not in ARCHITECTURES:
        raise SandboxUnavailable(
            f"there is no system-call table for {machine}",
            f"Run on one of: {', '.join(ARCHITECTURES)}.",
        )
    return bpf.assemble([*_prologue(machine), *_rules(machine, without), bpf.end(DENY)])


def _prologue(machine: str) -> list[Instruction]:
    check = [bpf.load(bpf.ARCHITECTURE_OFFSET), *bpf.unless_equal(ARCHITECTURES[machine], KILL)]
    number = bpf.load(bpf.NUMBER_OFFSET)
    x32 = bpf.if_at_least(_X32_BIT, KILL) if machine == "x86_64" else []
    return [*check, number, *x32]


def _rules(machine: str, without: Collection[str]) -> list[Instruction]:
    table = numbers(machine)
    allowed = [table[name] for name in PLAIN if name in table and name not in without]
    plain = [step for number in allowed for step in bpf.if_equal(number, ALLOW)]
    # A condition overwrites the loaded number, which no later rule misses: its block always ends the filter.
    conditions = [step for name in CONDITIONAL for step in bpf.when_equal(table[name], _CONDITIONS[name])]
    return [*plain, *conditions]


def _only(argument: int, *values: int) -> list[Instruction]:
    allowed = [step for value in values for step in bpf.if_equal(value, ALLOW)]
    return [bpf.load_argument(argument), *allowed, bpf.end(DENY)]


_F_SETPIPE_SZ: Final = 1031
_SOCKET_KIND: Final = 0xF
"""The bits of socketpair's second argument that are not flags."""

_CONDITIONS: Final[dict[str, list[Instruction]]] = {
    # A thread of this process, never a process, never a namespace.
    "clone": [
        bpf.load_argument(0),
        bpf.mask(_CLONE_THREAD | _CLONE_NEW),
        *bpf.if_equal(_CLONE_THREAD, ALLOW),
        bpf.end(DENY),
    ],
    # Its flags are behind a pointer, which a filter cannot follow. libc takes ENOSYS as "use clone".
    "clone3": [bpf.end(UNKNOWN)],
    # Connected for good: a datagram can be sent to any address, and a filter cannot follow the pointer to it.
    "socketpair": [
        bpf.load_argument(0),
        *bpf.unless_equal(socket.AF_UNIX, DENY),
        bpf.load_argument(1),
        bpf.mask(_SOCKET_KIND),
        *bpf.if_equal(socket.SOCK_STREAM, ALLOW),
        bpf.end(DENY),
    ],
    "ioctl": _only(1, *_TERMINAL_AND_BLOCKING),
    # A grown pipe comes out of a store of memory that all guests of the account share.
    "fcntl": [bpf.load_argument(1), *bpf.if_equal(_F_SETPIPE_SZ, DENY), bpf.end(ALLOW)],
    "prctl": _only(0, *_PRCTL),
    # Its own limits: a process of the same uid could otherwise be killed through its CPU limit.
    "prlimit64": _only(0, 0),
}
