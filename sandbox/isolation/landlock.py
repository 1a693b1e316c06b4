"""The level `landlock`: every guest is a process that has given up its rights itself, for machines without namespaces.

A guest sees of the host's files only what its Python needs, has no network, cannot signal or trace anybody, and has
a uid of its own for as long as it lives. It shares the pid and network namespaces with the host: that a process or
a file exists, its owner, size and times, it can find out. The tests of this package say which attacks were tried.
"""

from __future__ import annotations

import asyncio
import errno
import json
import mimetypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datastore.errors import SandboxUnavailable
from sandbox.isolation import packages, preflight, programs, seccomp, uids
from sandbox.isolation.bubblewrap import ENVIRONMENT
from sandbox.isolation.inside import landlock as kernel
from sandbox.isolation.process import launch, memory_files

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from sandbox.isolation.interpreter import Interpreter
    from sandbox.isolation.level import Guest
    from sandbox.isolation.process import Process
    from sandbox.isolation.uids import Uids

_READABLE: Final = ("/dev/zero", "/dev/random", "/dev/urandom")
_WRITABLE: Final = ("/dev/null",)
_DATA: Final = (
    *map(str, mimetypes.knownfiles),
    *("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo"),
)
"""Public tables that the standard library reads where they are; without them it works, refused it does not."""

_NEEDLESS: Final = (
    # Nothing is executed after the confinement.
    "execve",
    # Landlock has no say in these, and a file that a uid of ours owns, or that everybody may write, may lie around.
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat"),
)
"""System calls that `strict` allows and this level does not."""

_KERNEL: Final = "Use Linux 6.12 or later, built with CONFIG_SECURITY_LANDLOCK."


class Landlock:
    """Guests behind Landlock and seccomp, each under a uid of its own that is not the host's.

    Args:
        guests: How many may be alive at the same time.
        run_as: Their uids, as `uids.reserve` takes them.
        python: A base interpreter for the guests.
        site_packages: A folder of packages that agents may import.
    """

    def __init__(
        self,
        *,
        guests: int,
        run_as: str | int | None = None,
        python: str | None = None,
        site_packages: str | None = None,
    ) -> None:
        self.name = "landlock"
        self._guests = guests
        self._run_as = run_as
        self._python = python
        self._packages = site_packages
        self._slot: _Slot | None = None

    async def prepare(self) -> None:
        """Ask the kernel, find uids and an interpreter, then attack a real guest from inside and see that it holds."""
        slot = await asyncio.to_thread(_find_slot, self._run_as, self._guests, self._python, self._packages)
        await preflight.self_test(slot.spawn, self.name)
        self._slot = slot

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        """Start one guest."""
        if self._slot is None:
            raise RuntimeError("prepare() comes before spawn().")
        return self._slot.spawn(bootstrap, peer, {})

    async def close(self) -> None:
        """Nothing to release: every guest is a process of its own."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """What every guest of this level is started with."""

    uids: Uids
    interpreter: Interpreter
    readable: tuple[str, ...]
    filter: bytes

    def spawn(self, bootstrap: bytes, peer: socket.socket, _environment: Mapping[str, str]) -> Guest:
        """Start a guest. Its launcher becomes the guest, so that the two have one environment: the guest's."""
        order = {"parent": os.getpid(), "readable": self.readable, "writable": _WRITABLE}
        orders = json.dumps(order).encode() + b"\n" + self.filter

        def start(launcher: tuple[str, ...]) -> Process:
            with memory_files(programs.program("landlock"), orders, bootstrap) as files:
                program, given, archive = files
                words = (str(archive), str(peer.fileno()))
                command = self.interpreter.command(f"/proc/self/fd/{program}", given, *words)
                return launch([*launcher, *command], inherit=(*files, peer.fileno()), environment=ENVIRONMENT)

        return self.uids.take(start)


def _find_slot(run_as: str | int | None, guests: int, python: str | None, site_packages: str | None) -> _Slot:
    own = uids.reserve(run_as, guests)
    _require_landlock()
    rules = seccomp.program(platform.machine(), without=_NEEDLESS)
    found = packages.find(python, own.launcher, site_packages)
    return _Slot(own, found, (*_READABLE, *filter(os.path.exists, _DATA), *files(found)), rules)


def _require_landlock() -> None:
    try:
        version = kernel.abi()
    except OSError as error:
        raise _explained(error) from error
    if version < kernel.OLDEST:
        raise SandboxUnavailable(f"Landlock is of version {version} here, and scopes need {kernel.OLDEST}", _KERNEL)


def _explained(error: OSError) -> SandboxUnavailable:
    if error.errno == errno.EOPNOTSUPP:
        return SandboxUnavailable(
            "Landlock is disabled", "Add landlock to the parameter lsm= with which this kernel starts."
        )
    if error.errno == errno.EPERM:
        return SandboxUnavailable(
            "Landlock may not be used here", "Allow the calls landlock_* in the container's seccomp profile."
        )
    return SandboxUnavailable(f"this kernel has no Landlock: {error}", _KERNEL)


def files(found: Interpreter) -> list[str]:
    """Return what a guest may read: whole folders, or the entries of one that holds folders which it must not see."""
    sources = [Path(source) for source, _ in found.mounts]
    parted = {path for path in sources if any(Path(each).is_relative_to(path) for each in found.hidden)}
    entries = [each for path in parted for each in sorted(path.iterdir()) if str(each) not in found.hidden]
    # A link leads elsewhere; what it leads to is readable only if it is named itself.
    return [*(str(path) for path in sources if path not in parted), *(str(e) for e in entries if not e.is_symlink())]
