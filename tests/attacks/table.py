"""Every attack and what must come of it, at `strict` and at `unsafe_process`.

An attack that fails at `unsafe_process` too (the guest's account may not, or a limit of the run holds there as well)
says why, and must succeed for a plain process with the privileges of the tests, or it would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sandbox

SUCCEEDS: Final = "succeeds"
DEPENDS: Final = "depends on the machine"
ELSEWHERE: Final = "another row of the attack is its control"

ROOT_ONLY: Final = "only root may"
LIMITED: Final = "a limit of the run holds at both levels"
CLEAN: Final = "a guest is started clean at both levels"
KERNEL: Final = "a setting of the kernel decides whether anybody may"

TOLD: Final = (SUCCEEDS,)
"""Landlock has no say in stat: that something exists, its owner, size and times are told; never what it holds."""
GONE: Final = ("ENOENT",)
"""There the bootstrap is a descriptor, closed before agent code runs, and never a file."""

_SHARED: Final = {"ENOENT": "EACCES", "EROFS": "EACCES", "ESRCH": "EPERM"}
"""What a level that shares the host's files and processes says: not that there is nothing, but that one may not."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One row: which agent, what refuses it at strict, what comes of it at unsafe_process, and if not success, why.

    `landlock` is what comes of it at that level, where that is not what sharing makes of the answer at strict.
    `given` is told to the attacker; `after` names whose process it is after; `secret` says that what it got must
    hold the secret that was planted.
    """

    name: str
    strict: str
    unsafe: str = SUCCEEDS
    why: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    secret: bool = False
    landlock: tuple[str, ...] = ()

    def outcomes(self, level: str) -> tuple[str, ...]:
        """Return what may come of it at a level that promises isolation."""
        return (self.strict,) if level == "strict" else self.landlock or (_SHARED.get(self.strict, self.strict),)

    def __str__(self) -> str:
        words = (str(each) for each in self.given.values())
        return " ".join((self.name, *filter(None, [self.after]), *words))


def _proc() -> list[Attack]:
    def row(after: str, name: str, unsafe: str = SUCCEEDS, why: str = "", *, secret: bool = False) -> Attack:
        return Attack("processes.read_proc", "ENOENT", unsafe, why, {"name": name}, after, secret)

    telling, plain = ("environ", "mem", "fd", "cmdline"), ("root", "mountinfo")
    closed, open_to_all = ("environ", "mem", "fd", "root"), ("cmdline", "mountinfo")
    pid_1 = "only the machine's maker may read its pid 1, and a guest's own pid 1 is itself"
    return [
        *(row("neighbour", name, secret=True) for name in telling),
        *(row("neighbour", name) for name in plain),
        *(row("pid 1", name, ELSEWHERE, pid_1) for name in (*telling, *plain)),
        *(row(after, name, "EACCES", ROOT_ONLY) for after in ("host", "parent") for name in closed),
        *(row(after, name) for after in ("host", "parent") for name in open_to_all),
    ]


def _writes() -> list[Attack]:
    open_to_all = [Attack("files.create_in_folder", "EROFS", given={"path": each}) for each in ("/tmp", "/dev/shm")]  # noqa: S108
    closed = [
        Attack("files.create_in_folder", "EROFS", "EACCES", ROOT_ONLY, {"path": each})
        for each in ("/", "/dev", str(Path("/usr/lib")))
    ]
    return [*open_to_all, *closed]


def _namespaces() -> list[Attack]:
    flags = {
        "mount": 0x20000,
        "cgroup": 0x2000000,
        "uts": 0x4000000,
        "ipc": 0x8000000,
        "pid": 0x20000000,
        "net": 0x40000000,
    }
    user = Attack("kernel.unshare", "EPERM", given={"namespace": "user", "flag": 0x10000000})
    rest = [
        Attack("kernel.unshare", "EPERM", "EPERM", ROOT_ONLY, {"namespace": name, "flag": flag})
        for name, flag in flags.items()
    ]
    return [user, *rest]


def _families() -> list[Attack]:
    def row(family: str, kind: str, unsafe: str = SUCCEEDS, why: str = "") -> Attack:
        return Attack("network.open_family", "EPERM", unsafe, why, {"family": family, "type": kind})

    return [
        row("AF_UNIX", "SOCK_STREAM"),
        row("AF_INET", "SOCK_STREAM"),
        row("AF_INET6", "SOCK_DGRAM"),
        row("AF_NETLINK", "SOCK_RAW"),
        row("AF_VSOCK", "SOCK_STREAM", DEPENDS, KERNEL),
        row("AF_ALG", "SOCK_SEQPACKET", DEPENDS, KERNEL),
        row("AF_PACKET", "SOCK_RAW", "EPERM", ROOT_ONLY),
    ]


def _limits() -> list[Attack]:
    names = ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_MSGQUEUE", "RLIMIT_MEMLOCK")
    return [Attack("resources.raise_a_limit", "ValueError", "ValueError", ROOT_ONLY, {"limit": each}) for each in names]


ATTACKS: Final = (
    # What of the host can be read.
    Attack("files.own_environment", "LookupError", "LookupError", CLEAN, secret=True),
    Attack("files.own_proc_environ", "ENOENT"),
    Attack("files.inherited_descriptors", "LookupError", "LookupError", CLEAN, secret=True),
    Attack("files.further_descriptors", "LookupError", "LookupError", CLEAN),
    Attack("files.read_file", "ENOENT", given={"path": "/etc/passwd"}),
    Attack("files.read_file", "ENOENT", given={"path": "/proc/self/mountinfo"}),
    Attack("files.read_file", "ENOENT", given={"path": str(Path(sandbox.__file__).with_name("runner.py"))}),
    Attack("files.read_file", "ENOENT", given={"path": "secret_file"}, secret=True),
    Attack("files.reopen_file", "ENOENT", given={"path": "secret_file"}, secret=True),
    Attack("files.describe_file", "ENOENT", given={"path": "/etc/passwd"}, landlock=TOLD),
    Attack("files.watch_folder", "EPERM"),
    *(
        Attack("files.list_folder", "ENOENT", given={"path": each})
        for each in ("/home", "/run", "/sys", "/etc", "/proc")
    ),
    Attack("files.list_folder", "ENOENT", "EACCES", ROOT_ONLY, {"path": "/root"}),
    # What can be written or filled.
    *_writes(),
    Attack("files.open_standard_library_for_writing", "EACCES", "EACCES", ROOT_ONLY),
    Attack("files.change_mode_of_interpreter", "EROFS", "EPERM", ROOT_ONLY, landlock=("EPERM",)),
    Attack("files.open_bootstrap_for_writing", "EACCES", "ENOENT", CLEAN, landlock=GONE),
    Attack("files.replace_bootstrap", "EROFS", "ENOENT", CLEAN, landlock=GONE),
    Attack("files.set_times", "ENOENT", given={"path": "open_file"}, landlock=("EPERM",)),
    Attack("files.rename_file", "ENOENT", given={"path": "movable_file"}),
    Attack("files.cut_off", "ENOENT", given={"path": "open_file", "length": 0}),
    Attack("files.link_to_a_root", "EROFS", after="neighbour", secret=True),
    Attack("files.link_to_a_root", "EROFS", ELSEWHERE, ROOT_ONLY, after="pid 1", secret=True),
    Attack("files.fill_disk", "EROFS"),
    Attack("files.fill_inodes", "EROFS"),
    Attack("files.open_for_writing", "ENOENT", "EACCES", ROOT_ONLY, {"path": "/proc/sys/kernel/core_pattern"}),
    Attack(
        *("files.open_for_writing", "ENOENT", ELSEWHERE, KERNEL, {"path": "/proc/sysrq-trigger"}),
        landlock=("EACCES", "ENOENT"),  # As the kernel was built.
    ),
    # Other processes, and more of one's own.
    *_proc(),
    Attack("processes.read_open_file_of_neighbour", "ENOENT", after="neighbour", secret=True),
    Attack("processes.ptrace_seize", "EPERM", after="neighbour"),
    Attack("processes.ptrace_seize", "EPERM", "EPERM", ROOT_ONLY, after="host"),
    Attack("processes.process_vm_readv", "EPERM", after="neighbour", secret=True),
    Attack("processes.process_vm_writev", "EPERM", after="neighbour", given={"empty": True}),
    Attack("processes.pidfd_open", "EPERM", after="neighbour"),
    Attack("processes.pidfd_open", "EPERM", after="host"),
    Attack("processes.pidfd_getfd", "EPERM", after="neighbour", secret=True),
    Attack("processes.signal_process", "ESRCH", after="neighbour"),
    Attack("processes.signal_process", "ESRCH", "EPERM", ROOT_ONLY, after="host"),
    Attack("processes.signal_group", "ESRCH", after="neighbour"),
    # The kernel says yes even if it signalled nobody, which test_neighbours.py shows.
    Attack("processes.signal_everybody", "ESRCH", landlock=(SUCCEEDS,)),
    Attack("processes.signal_thread", "ESRCH", after="neighbour"),
    Attack("processes.queue_signal", "ESRCH", after="neighbour"),
    Attack("processes.limit_neighbour", "EPERM", after="neighbour"),
    Attack("processes.schedule_neighbour", "EPERM", after="neighbour"),
    Attack("processes.choose_processors_of_neighbour", "EPERM", after="neighbour"),
    Attack("processes.read_program", "ENOENT", after="neighbour"),
    Attack("processes.read_program", "ENOENT", "EACCES", ROOT_ONLY, after="host"),
    *(Attack("processes.describe", "ENOENT", after=after, landlock=TOLD) for after in ("host", "neighbour")),
    Attack("processes.fork_bomb", "EPERM"),
    Attack("processes.run_shell", "EPERM"),
    Attack("processes.leave_session", "EPERM", "EPERM", "the leader of a session may not; a plain child may"),
    Attack("processes.leave_group", "EPERM", "EPERM", "the leader of a session may not; a plain child may"),
    Attack("processes.outlive_parent", "EPERM"),
    Attack("processes.spare_from_memory_killer", "ENOENT"),
    # What a machine has little of.
    Attack("resources.thread_bomb", "RuntimeError"),
    Attack("resources.memory_bomb", "ENOMEM", "ENOMEM", LIMITED),
    Attack("resources.stack_bomb", "RuntimeError", "RuntimeError", LIMITED),
    Attack("resources.lock_memory", "EPERM", "EPERM", LIMITED),
    Attack("resources.use_up_descriptors", "EMFILE", "EMFILE", LIMITED),
    Attack("resources.use_up_pipes", "EMFILE", "EMFILE", LIMITED),
    Attack("resources.grow_a_pipe", "EPERM"),
    Attack("resources.use_up_descriptors_in_flight", "ETOOMANYREFS", "ETOOMANYREFS", LIMITED),
    Attack("resources.queue_signals", "EAGAIN", "EAGAIN", LIMITED),
    Attack("resources.use_up_terminals", "ENOENT"),
    *_limits(),
    Attack("resources.be_first", "EPERM", "EPERM", ROOT_ONLY),
    Attack("resources.be_last", "EPERM"),
    Attack("resources.run_in_real_time", "EPERM", "EPERM", ROOT_ONLY),
    # The network and local sockets.
    Attack("network.tcp_to_loopback", "EPERM", secret=True),
    Attack("network.tcp_to_the_hosts_address", "EPERM", secret=True),
    Attack("network.udp_to_loopback", "EPERM", secret=True),
    Attack("network.listen", "EPERM"),
    Attack("network.path_socket", "EPERM", secret=True),
    Attack("network.abstract_socket", "EPERM", secret=True),
    Attack("network.connect_a_socket_of_a_pair", "EPERM"),
    Attack("network.send_to_an_address", "EPERM"),
    Attack("network.send_to_a_path", "EPERM"),
    *_families(),
    # The kernel's doors.
    Attack("kernel.mount", "EPERM", "EPERM", ROOT_ONLY),
    Attack("kernel.remount", "EPERM", "EPERM", ROOT_ONLY),
    Attack("kernel.fsopen", "EPERM", "EPERM", ROOT_ONLY),
    *_namespaces(),
    Attack("kernel.setns", "EPERM", "EPERM", ROOT_ONLY),
    Attack("kernel.chroot", "EPERM", "EPERM", ROOT_ONLY),
    Attack("kernel.become", "EPERM", "EPERM", ROOT_ONLY, {"uid": 0}),
    Attack("kernel.become_group", "EPERM", "EPERM", ROOT_ONLY),
    Attack("kernel.handle_of_root", "EPERM", "EPERM", ROOT_ONLY),
    Attack("kernel.add_key", "EPERM"),
    Attack("kernel.bpf", "EPERM", DEPENDS, KERNEL),
    Attack("kernel.perf_event_open", "EPERM", DEPENDS, KERNEL),
    Attack("kernel.io_uring_setup", "EPERM", DEPENDS, KERNEL),
    Attack("kernel.userfaultfd", "EPERM", DEPENDS, KERNEL),
    Attack("kernel.memfd_create", "EPERM"),
    Attack("kernel.sysv_memory", "EPERM"),
    Attack("kernel.sysv_semaphore", "EPERM"),
    Attack("kernel.message_queue", "EPERM", "EMFILE", LIMITED),
    Attack("kernel.open_device", "ENOENT", "EPERM", ROOT_ONLY, {"path": "/dev/kmsg"}),
    Attack("kernel.type_into_a_terminal", "EPERM", DEPENDS, KERNEL),
    # What Python itself offers.
    Attack("python.socket_by_ctypes", "EPERM"),
    Attack("python.socket_by_machine_code", "EPERM"),
    Attack("python.preload_a_library", "EROFS"),
    Attack("python.objects_of_another_tenant", "LookupError", "LookupError", CLEAN, secret=True),
    Attack("python.memory_of_another_tenant", "LookupError", "LookupError", CLEAN, secret=True),
)

ALONE: Final = {
    *("processes.become_shell", "processes.become_python_with_a_socket", "python.socket_by_the_calls_of_32_bits"),
    *("lifetime.flood_descriptors", "lifetime.ignore_everything", "lifetime.leave_a_child"),
    *("lifetime.signal_own_group", "lifetime.signal_everybody", "lifetime.signal_by_file"),
    "lifetime.end_the_first_thread",
    *("tenants.leave_and_look_for_marks", "tenants.hand_descriptors_to_the_host"),
}
"""Attacks whose guest does not live to report, or which take more than one guest: tests of their own run them."""
