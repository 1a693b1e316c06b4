"""Attacks on processes: reading the host's and a neighbour's, signalling them, and making more of one's own."""

# An attacker's file calls are the plain ones:
# ruff: noqa: PTH115, PTH116, PTH123, PTH208

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys

from tests.attacks.agents.attempt import Attempt

FORKS = 8
PTRACE_SEIZE = 0x4206
PR_SET_PDEATHSIG = 1


def read_proc(attempt: Attempt) -> str:
    """Read what /proc tells about a process: `pid` is a number, self or parent."""
    name = attempt.given["name"]
    pid = os.getppid() if attempt.given["pid"] == "parent" else attempt.given["pid"]
    path = f"/proc/{pid}/{name}"
    attempt.begin()
    if name == "root":
        return f"{len(os.listdir(path))} names"
    if name == "fd":
        return " ".join(os.readlink(f"{path}/{each}") for each in os.listdir(path))
    with open(path, "rb", buffering=0) as file:
        if name == "mem":
            file.seek(attempt.given["address"])
            return file.read(64).decode("latin-1")
        return file.read(16 * 1024).decode("latin-1")


def read_open_file_of_neighbour(attempt: Attempt) -> str:
    attempt.begin()
    with open(f"/proc/{attempt.given['pid']}/fd/{attempt.given['descriptor']}", "rb") as file:
        return file.read(64).decode("latin-1")


def ptrace_seize(attempt: Attempt) -> str:
    """Attach to a neighbour without stopping it; our end detaches."""
    attempt.libc("ptrace", PTRACE_SEIZE, attempt.given["pid"], None, None)
    return "attached"


class _Piece(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def process_vm_readv(attempt: Attempt) -> str:
    return _vm(attempt, "process_vm_readv")


def process_vm_writev(attempt: Attempt) -> str:
    """Write nothing into a neighbour: that the length is zero is looked at after who we are."""
    buffer = ctypes.create_string_buffer(64)
    local = _Piece(ctypes.addressof(buffer), 0)
    remote = _Piece(attempt.given["address"], 0)
    attempt.libc("process_vm_writev", attempt.given["pid"], ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return "it was let in"


def _vm(attempt: Attempt, name: str) -> str:
    buffer = ctypes.create_string_buffer(64)
    local = _Piece(ctypes.addressof(buffer), 64)
    remote = _Piece(attempt.given["address"], 64)
    attempt.libc(name, attempt.given["pid"], ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return buffer.raw.decode("latin-1")


def pidfd_open(attempt: Attempt) -> str:
    attempt.begin()
    descriptor = os.pidfd_open(attempt.given["pid"])
    os.close(descriptor)
    return "opened"


def pidfd_getfd(attempt: Attempt) -> str:
    """Take a neighbour's open file."""
    descriptor = os.pidfd_open(attempt.given["pid"]) if attempt.given["outside"] else 0
    taken = attempt.syscall("pidfd_getfd", descriptor, attempt.given["descriptor"], 0)
    return os.pread(taken, 64, 0).decode("latin-1")


def signal_process(attempt: Attempt) -> str:
    """Signal 0: all of a signal but its arrival."""
    attempt.begin()
    os.kill(attempt.given["pid"], 0)
    return "it may be signalled"


def signal_thread(attempt: Attempt) -> str:
    attempt.syscall("tgkill", attempt.given["pid"], attempt.given["pid"], 0)
    return "its thread may be signalled"


def queue_signal(attempt: Attempt) -> str:
    attempt.libc("sigqueue", attempt.given["pid"], 0, None)
    return "a signal may be queued to it"


def signal_group(attempt: Attempt) -> str:
    attempt.begin()
    os.killpg(attempt.given["pid"], 0)
    return "it may be signalled"


def signal_everybody(attempt: Attempt) -> str:
    """Reach any process but oneself, which the kernel leaves out."""
    attempt.begin()
    os.kill(-1, 0)
    return "somebody may be signalled"


def limit_neighbour(attempt: Attempt) -> str:
    """Set a neighbour's limit to what it is; a processor limit of 0 would kill it."""
    attempt.begin()
    limits = resource.prlimit(attempt.given["pid"], resource.RLIMIT_CORE)
    resource.prlimit(attempt.given["pid"], resource.RLIMIT_CORE, limits)
    return "its limits may be set"


def choose_processors_of_neighbour(attempt: Attempt) -> str:
    """Set where it may run to what that is."""
    processors = os.sched_getaffinity(attempt.given["pid"] if attempt.given["outside"] else 0)
    attempt.begin()
    os.sched_setaffinity(attempt.given["pid"], processors)
    return "its processors may be chosen"


def schedule_neighbour(attempt: Attempt) -> str:
    attempt.begin()
    os.setpriority(os.PRIO_PROCESS, attempt.given["pid"], 1)
    return "it may be slowed down"


def describe(attempt: Attempt) -> str:
    """Learn that a process exists and since when, without reading anything of it."""
    path = f"/proc/{attempt.given['pid']}"
    attempt.begin()
    return f"since {os.stat(path).st_ctime}"


def read_program(attempt: Attempt) -> str:
    """Follow a link of /proc that needs no opening."""
    path = f"/proc/{attempt.given['pid']}/exe"
    attempt.begin()
    return os.readlink(path)


def fork_bomb(attempt: Attempt) -> str:
    """A few forks, since what stops the first stops all."""
    attempt.begin()
    for _ in range(FORKS):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    return f"{FORKS} children"


def run_shell(attempt: Attempt) -> str:
    attempt.begin()
    return subprocess.run(["/bin/sh", "-c", "echo a shell"], check=True, capture_output=True, text=True).stdout


def become_shell(attempt: Attempt) -> str:
    """End as a shell, with a status that only it could give."""
    attempt.begin()
    os.execv("/bin/sh", ["sh", "-c", "exit 42"])  # noqa: S606 - no shell but this one.


def become_python_with_a_socket(attempt: Attempt) -> str:
    """Run the interpreter anew, to shed what was set up in this process; the status says whether a socket came."""
    code = "import os, socket\ntry: socket.socket()\nexcept OSError as error: os._exit(100 + error.errno)\nos._exit(42)"
    attempt.begin()
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {"LD_PRELOAD": "libz.so.1"})  # noqa: S606


def leave_session(attempt: Attempt) -> str:
    """Leave the group by which the host kills."""
    attempt.begin()
    os.setsid()
    return "in a session of its own"


def leave_group(attempt: Attempt) -> str:
    attempt.begin()
    os.setpgid(0, 0)
    return "in a group of its own"


def outlive_parent(attempt: Attempt) -> str:
    attempt.libc("prctl", PR_SET_PDEATHSIG, 0)
    return "no parent's end would end it"


def spare_from_memory_killer(attempt: Attempt) -> str:
    """Choose who is killed when memory is short; here by the value that it has."""
    attempt.begin()
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
        file.write(file.read())
    return "it may be chosen"
