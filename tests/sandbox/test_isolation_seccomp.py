"""The filter, judged call by call by a small BPF machine: what the kernel would answer, without a kernel."""

from __future__ import annotations

import errno
import platform
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datastore.errors import SandboxUnavailable
from sandbox.isolation import seccomp
from sandbox.isolation.syscalls import PLAIN, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

X86, ARM = seccomp.ARCHITECTURES["x86_64"], seccomp.ARCHITECTURES["aarch64"]
I386 = 0x40000003
MACHINES = ("x86_64", "aarch64")

ABSENT = (
    *("setsid", "setpgid", "ptrace", "process_vm_readv", "process_vm_writev", "io_uring_setup", "bpf"),
    *("perf_event_open", "keyctl", "add_key", "memfd_create", "shmget", "mq_open", "pidfd_open", "pidfd_getfd"),
    *("mount", "umount2", "pivot_root", "unshare", "setns", "userfaultfd", "socket", "connect", "bind", "accept4"),
    *("listen", "execveat", "chroot", "setuid", "seccomp", "kexec_load", "init_module", "open_by_handle_at"),
    *("fsopen", "move_mount", "pidfd_send_signal", "clock_settime", "mknodat", "setrlimit"),
)

THREAD = 0x003D0F00
"""What glibc gives to clone for a thread."""


def answer(machine: str, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """Run the machine's filter on one call, as the kernel does, and return its action."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    program: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    position = loaded = 0
    while True:
        code, if_true, if_false, operand = program[position]
        position += 1
        match code:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                loaded &= operand
            case 0x15:
                position += if_true if loaded == operand else if_false
            case 0x35:
                position += if_true if loaded >= operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


def call(machine: str, name: str, *arguments: int) -> int:
    return answer(machine, seccomp.ARCHITECTURES[machine], numbers(machine)[name], arguments)


def header(machine: str) -> dict[str, int]:
    """Return the kernel's own numbers; the file is part of Debian's linux-libc-dev."""
    path = "asm-generic/unistd.h" if machine == "aarch64" else "x86_64-linux-gnu/asm/unistd_64.h"
    text = Path("/usr/include", path).read_text(encoding="utf-8")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", text, re.MULTILINE)
    table = {name: int(number) for name, number in found}
    return table | {"newfstatat": table.get("newfstatat", table.get("fstatat", -1))}


# The generic header is everywhere; the one of x86_64 comes with that machine only.
HEADERS = [each for each in MACHINES if each in {"aarch64", platform.machine()}]


@pytest.mark.parametrize("machine", HEADERS)
def test_every_number_is_the_kernel_headers(machine: str) -> None:
    kernel = header(machine)
    assert {name: kernel[name] for name in numbers(machine)} == numbers(machine)


@pytest.mark.parametrize("machine", HEADERS)
@pytest.mark.parametrize("name", ABSENT)
def test_a_call_that_could_do_harm_is_denied(machine: str, name: str) -> None:
    number = header(machine)[name]
    assert answer(machine, seccomp.ARCHITECTURES[machine], number) == seccomp.DENY


@pytest.mark.parametrize("machine", MACHINES)
def test_every_plain_call_of_the_table_is_allowed(machine: str) -> None:
    known = numbers(machine)
    assert {call(machine, name, 2**64 - 1) for name in PLAIN if name in known} == {seccomp.ALLOW}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_that_is_not_in_the_table_is_denied(machine: str) -> None:
    architecture = seccomp.ARCHITECTURES[machine]
    unknown = set(range(600)) - set(numbers(machine).values())
    assert {answer(machine, architecture, number) for number in unknown} == {seccomp.DENY}


@pytest.mark.parametrize(("machine", "foreign"), [("x86_64", I386), ("x86_64", ARM), ("aarch64", X86)])
def test_a_call_of_another_architecture_kills(machine: str, foreign: int) -> None:
    assert answer(machine, foreign, numbers(machine)["read"]) == seccomp.KILL


def test_a_call_through_x32_kills() -> None:
    assert answer("x86_64", X86, 0x40000000 | numbers("x86_64")["read"]) == seccomp.KILL


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (THREAD,), seccomp.ALLOW),
        ("clone", (17,), seccomp.DENY),
        ("clone", (THREAD & ~0x00010000,), seccomp.DENY),
        *(("clone", (THREAD | 1 << bit,), seccomp.DENY) for bit in (17, *range(25, 31))),
        ("clone3", (1,), 0x00050000 | errno.ENOSYS),
        *(("socketpair", (1, 1 | flags), seccomp.ALLOW) for flags in (0, 0x800, 0x80000, 0x80800)),
        *(("socketpair", (1, kind), seccomp.DENY) for kind in (2, 3, 5, 2 | 0x80000)),
        ("socketpair", (2, 1), seccomp.DENY),
        ("ioctl", (0, 0x5401), seccomp.ALLOW),
        ("ioctl", (0x5401, 0x5412), seccomp.DENY),
        ("prctl", (15,), seccomp.ALLOW),
        ("prctl", (1, 0), seccomp.DENY),
        ("prlimit64", (0, 7), seccomp.ALLOW),
        ("prlimit64", (1, 0), seccomp.DENY),
        # The kernel drops the high half of these arguments, so the filter must not judge by it.
        ("prlimit64", (1 << 32,), seccomp.ALLOW),
        ("socketpair", (1 << 32 | 2, 1), seccomp.DENY),
    ],
)
def test_a_conditional_call_is_judged_by_its_argument(
    machine: str, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    assert call(machine, name, *arguments) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_a_plain_call_that_a_level_does_without_is_denied(machine: str) -> None:
    usual, narrow = (list(struct.iter_unpack("=HBBI", seccomp.program(machine, without=w))) for w in ((), ("execve",)))
    gone = [each for each in usual if each not in narrow]
    assert [operand for _code, _true, _false, operand in gone] == [numbers(machine)["execve"]]


def test_the_filter_stays_far_below_the_kernels_limit_of_4096_instructions() -> None:
    assert max(len(seccomp.program(machine)) // 8 for machine in MACHINES) < 400


def test_a_machine_without_a_table_is_refused_by_name() -> None:
    with pytest.raises(SandboxUnavailable, match=r"riscv64.*x86_64, aarch64"):
        seccomp.program("riscv64")
