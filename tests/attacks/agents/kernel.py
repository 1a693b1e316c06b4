"""Attacks on the kernel's doors: namespaces, mounts, identities, keys, programs for it, and shared memory."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from tests.attacks.agents.attempt import Attempt

CLONE_NEWUTS: Final = 0x04000000
IPC_CREAT_0600: Final = 0o1600
MFD_CLOEXEC: Final = 1


def mount(attempt: Attempt) -> str:
    attempt.libc("mount", b"none", b"/", b"tmpfs", 0, None)
    return "mounted"


def remount(attempt: Attempt) -> str:
    """Make what is mounted writable again."""
    attempt.libc("mount", None, b"/", None, 0x20 | 0x1000, None)
    return "remounted"


def fsopen(attempt: Attempt) -> str:
    """Mount by the newer calls."""
    return f"descriptor {attempt.syscall('fsopen', b'tmpfs', 1)}"


def unshare(attempt: Attempt) -> str:
    attempt.libc("unshare", attempt.given["flag"])
    return "in a namespace of its own"


def setns(attempt: Attempt) -> str:
    """Enter a namespace; without /proc there is nothing to name one by, but the call itself must be refused."""
    descriptor = os.open("/proc/self/ns/uts", os.O_RDONLY) if attempt.given["outside"] else 0
    attempt.libc("setns", descriptor, CLONE_NEWUTS)
    return "entered"


def chroot(attempt: Attempt) -> str:
    attempt.begin()
    os.chroot("/")
    return "its root is its own choice"


def become(attempt: Attempt) -> str:
    attempt.begin()
    os.setuid(attempt.given["uid"])
    return f"uid {os.getuid()}"


def become_group(attempt: Attempt) -> str:
    attempt.begin()
    os.setgroups([0])
    return f"groups {os.getgroups()}"


def handle_of_root(attempt: Attempt) -> str:
    """Open files by their number on the disk, whatever is mounted: the old way out of containers."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    number = ctypes.c_int()
    attempt.libc("name_to_handle_at", -100, b"/usr", handle, ctypes.byref(number), 0)
    root = os.open("/usr", os.O_RDONLY)
    return f"descriptor {attempt.libc('open_by_handle_at', root, handle, os.O_RDONLY)}"


def add_key(attempt: Attempt) -> str:
    """Keep something for the next guest in the uid's keyring; here in the process's, which ends with it."""
    key = attempt.syscall("add_key", b"user", attempt.given["unique"].encode(), b"x", 1, -2)
    return f"key {key}"


def bpf(attempt: Attempt) -> str:
    """Make a map of one number."""
    wanted = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1) + bytes(56))
    return f"descriptor {attempt.syscall('bpf', 0, wanted, 72)}"


def perf_event_open(attempt: Attempt) -> str:
    """Count this process's own time, outside of the kernel."""
    wanted = ctypes.create_string_buffer(struct.pack("=IIQQQQQ", 1, 112, 0, 0, 0, 0, 1 << 5 | 1 << 6) + bytes(64))
    return f"descriptor {attempt.syscall('perf_event_open', wanted, 0, -1, -1, 0)}"


def io_uring_setup(attempt: Attempt) -> str:
    """A ring makes calls that no filter sees."""
    return f"descriptor {attempt.syscall('io_uring_setup', 1, ctypes.create_string_buffer(120))}"


def userfaultfd(attempt: Attempt) -> str:
    return f"descriptor {attempt.syscall('userfaultfd', 1)}"


def memfd_create(attempt: Attempt) -> str:
    """A file in memory is a place to write a program to."""
    attempt.begin()
    return f"descriptor {os.memfd_create('x', MFD_CLOEXEC)}"


def sysv_memory(attempt: Attempt) -> str:
    """Shared memory outlives its maker, and another guest of the uid would find it by its number."""
    number = attempt.libc("shmget", 0, 4096, IPC_CREAT_0600)
    attempt.libc("shmctl", number, 0, None)
    return f"segment {number}"


def sysv_semaphore(attempt: Attempt) -> str:
    number = attempt.libc("semget", 0, 1, IPC_CREAT_0600)
    attempt.libc("semctl", number, 0, 0)
    return f"semaphore {number}"


def message_queue(attempt: Attempt) -> str:
    name = f"/{attempt.given['unique']}".encode()
    descriptor = attempt.libc("mq_open", name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600, None)
    attempt.libc("mq_unlink", name)
    return f"descriptor {descriptor}"


def open_device(attempt: Attempt) -> str:
    attempt.begin()
    descriptor = os.open(attempt.given["path"], os.O_RDONLY | os.O_NONBLOCK)
    os.close(descriptor)
    return "opened"


def type_into_a_terminal(attempt: Attempt) -> str:
    """TIOCSTI: what is typed into a terminal is run by the shell behind it; here on a terminal of its own."""
    descriptor = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY) if attempt.given["outside"] else 0
    attempt.libc("ioctl", descriptor, 0x5412, ctypes.c_char_p(b"x"))
    return "typed"
