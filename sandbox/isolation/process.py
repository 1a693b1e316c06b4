"""One guest process as the host sees it: started in a group of its own, waited for, killed with the group.

The process that is started is the outermost of the group (bubblewrap, say); the guest proper may be its child.
Killing only the outer one leaves survivors, so everything here signals the group, which is named by the pid of
its leader. As long as the leader has not been reaped, the kernel gives that number to nobody else. That is why
reaping happens in one place, after the group has been killed, and why nothing is signalled afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Final

from datastore.errors import SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STDERR_BYTES: Final = 8 * 1024
_PIPE_BYTES: Final = 64 * 1024
_DYING_SECONDS: Final = 0.01


class Process:
    """A guest that is a process of its own group. It belongs to the event loop that was running at its start."""

    def __init__(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.pid = process.pid
        self.cpu_seconds = 0.0
        self._process = process
        self._tail = b""
        self._exited = asyncio.Event()
        self._loop = loop
        self._pidfd = os.pidfd_open(process.pid)
        loop.add_reader(self._pidfd, self._reap)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left of it, its number and its uid included."""
        return self._exited.is_set()

    async def started(self) -> int:
        """Return its pid: it is there as soon as this object is."""
        return self.pid

    async def wait(self) -> int:
        """Wait until the guest has ended; any number of tasks may, as often as they like.

        Returns:
            Its exit status: negative for the signal that ended the outer process; bubblewrap reports a signal
            that ended the guest proper as 128 plus its number.
        """
        await self._exited.wait()
        return self._process.returncode

    def kill(self) -> None:
        """Kill every process of the guest's group, at once; nothing happens if it has ended already."""
        if self._exited.is_set():
            return
        with contextlib.suppress(OSError):
            # The pidfd fails if somebody else's wait reaped the leader: its number may then be another's.
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)

    async def stderr(self) -> str:
        """Return the last 8 KiB of what has been written to stderr so far, without waiting for more.

        It explains a failed start. The guest's own main turns stderr elsewhere before agent code runs.
        """
        self._drain()
        return self._tail.decode(errors="replace")

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        # The leader has ended and is a zombie: the last moment at which survivors can be signalled safely.
        self.kill()
        self._collect()
        self._bury_orphans()
        self._drain()
        self._close()
        self._exited.set()

    def _collect(self) -> None:
        """Reap the leader, which has waited for the guest proper, so that their use of the machine is one."""
        with contextlib.suppress(ChildProcessError):  # Somebody else's wait was faster.
            _, status, used = os.wait4(self.pid, os.WNOHANG)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = used.ru_utime + used.ru_stime
        self._process.poll()

    def _bury_orphans(self) -> None:
        """Reap what of the group becomes this process's own: only a container's process 1 adopts it, or a subreaper.

        The number of the group is nobody else's while one of them is left.
        """
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
            self._loop.call_later(_DYING_SECONDS, self._bury_orphans)

    def _drain(self) -> None:
        # Nobody reads the pipe in between, so its capacity bounds what a guest can write: a flood of stderr
        # blocks the guest and costs the host nothing. One capacity is read at most, or a flood would hold us.
        pipe = self._process.stderr
        if pipe is None or pipe.closed:
            return
        with contextlib.suppress(BlockingIOError):
            self._tail = (self._tail + os.read(pipe.fileno(), _PIPE_BYTES))[-STDERR_BYTES:]

    def _close(self) -> None:
        os.close(self._pidfd)
        if self._process.stderr is not None:
            self._process.stderr.close()


def launch(command: Sequence[str], *, inherit: Sequence[int], environment: Mapping[str, str]) -> Process:
    """Start a guest in a session of its own, with no descriptors but stdio and those it inherits.

    Raises:
        SandboxUnavailable: The operating system refused: no more processes, descriptors or memory.
    """
    loop = asyncio.get_running_loop()
    try:
        process = _start(command, inherit, environment)
    except OSError as error:
        raise _refused(error) from error
    try:
        return Process(process, loop)
    except OSError as error:
        # Without a pidfd it could be neither watched nor killed later.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise _refused(error) from error


def _start(command: Sequence[str], inherit: Sequence[int], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # No user=, no preexec_fn: they would make Python fork, which copies the page tables of a big host and
    # stalls the loop; without them it uses vfork.
    process = subprocess.Popen(  # noqa: S603 - the command is this package's own, no shell is involved.
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=inherit,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    assert process.stderr is not None  # noqa: S101 - a pipe was asked for.
    os.set_blocking(process.stderr.fileno(), False)
    return process


def _refused(error: OSError) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"no guest could be started: {error}",
        "Check the host's limits for processes, open files and memory, and that what it names can be executed.",
    )


@contextlib.contextmanager
def memory_files(*contents: bytes) -> Iterator[tuple[int, ...]]:
    """Hold bytes in anonymous files while a process starts that inherits their descriptors.

    Unlike a pipe such a file takes any size at once, and unlike a path nobody can replace it. Readers share one
    offset, so each start needs files of its own.
    """
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(_memory_file(each)) for each in contents)


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[int]:
    with open(os.memfd_create("guest"), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path.
        file.write(content)
        file.seek(0)
        os.fchmod(file.fileno(), 0o444)
        yield file.fileno()
