"""The parent of guests: it has imported what they need, forks one for each socket it is sent, and runs no agent code.

A guest is its grandchild. The process between them makes the namespaces, since one that makes a new pid namespace
does not enter it itself; it ends at once, and the guest becomes the zygote's child. Before a guest serves its socket
it has closed the control socket, given up every capability and installed its filter.

The host sends a number with a socket; it is told, as JSON: `started` with that number, the guest's pid here and a
pidfd; `failed` with the number and the reason; `ended` with the pid, the exit status and the processor time in
seconds. When the host sends no more, the zygote ends after its last guest.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from . import kernel

_NUMBER_BYTES = 64


def main() -> None:
    """Load the bootstrap, then serve the control socket until the host sends no more."""
    control, bootstrap = int(sys.argv[1]), sys.argv[2]
    with open(sys.argv[3], "rb") as file:  # noqa: PTH123 - what is imported here stays in every guest
        rules = file.read()
    sys.path[0] = bootstrap
    guest = importlib.import_module("bootstrap")
    guest.prepare(*sys.argv[4:], whole=True)
    sys.argv = [bootstrap]
    kernel.adopt_orphans()
    Zygote(socket.socket(fileno=control), rules, guest.main).serve()


class Zygote:
    """Forks guests.

    Args:
        control: a sequenced-packet socket to the host.
        rules: the guests' filter.
        guest: serves a run on a socket's descriptor.
    """

    def __init__(self, control: socket.socket, rules: bytes, guest: Callable[[int], None]) -> None:
        self._control = control
        self._rules = rules
        self._guest = guest
        self._between: set[int] = set()

    def serve(self) -> None:
        """Fork and bury until the host sends no more and nobody is left."""
        woken, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        ready = select.poll()
        ready.register(woken, select.POLLIN)
        ready.register(self._control, select.POLLIN)
        is_open = True
        while self._bury() or is_open:
            for descriptor, _ in ready.poll():
                if descriptor == woken:
                    os.read(woken, 4096)
                elif not self._take():
                    ready.unregister(self._control)
                    is_open = False

    def _take(self) -> bool:
        """Fork for one request; say whether more may come."""
        number, descriptors, _, _ = socket.recv_fds(self._control, _NUMBER_BYTES, 1)
        if not number:
            return False
        try:
            child = os.fork()
        except OSError as error:  # The account or the machine has no process left; its guests must not suffer for it.
            self._fail(int(number), error)
        else:
            if child == 0:
                self._bear(int(number), descriptors[0])
            self._between.add(child)
        os.close(descriptors[0])
        return True

    def _bear(self, number: int, descriptor: int) -> NoReturn:
        """Be the process between: make namespaces and the guest, report it, and end."""
        try:
            os.setsid()
            kernel.unshare(kernel.NAMESPACES)
            pid = os.fork()
        except OSError as error:
            self._fail(number, error)
            os._exit(1)
        if pid == 0:
            self._become(descriptor)
        try:
            self._say(["started", number, pid], [os.pidfd_open(pid)])
        except OSError as error:  # Nobody could end it.
            os.kill(pid, signal.SIGKILL)
            self._fail(number, error)
        os._exit(0)

    def _become(self, descriptor: int) -> NoReturn:
        """Be the guest."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.closerange(3, descriptor)
            os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
            kernel.drop_capabilities()
            kernel.no_new_privileges()
            kernel.install_filter(self._rules)
            self._guest(descriptor)
        except BaseException:  # noqa: BLE001 - a guest must never return into the loop of its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _bury(self) -> bool:
        """Collect those that have ended, and report guests; say whether anybody is left."""
        try:
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid in self._between:
                    self._between.remove(pid)
                else:
                    self._say(["ended", pid, os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime])
        except ChildProcessError:
            return False

    def _fail(self, number: int, error: OSError) -> None:
        self._say(["failed", number, error.strerror or str(error)])

    def _say(self, message: list[str | float], descriptors: list[int] | None = None) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], descriptors or [])
