"""The level `unsafe_process`: a plain process, which can reach whatever its uid can. For trusted code only.

It exists for machines without namespaces, and as the positive control of the attack tests. It must be asked for
twice, by name and by accept_no_isolation, and says so in the log at every start.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sandbox.isolation import account, packages
from sandbox.isolation.bubblewrap import ENVIRONMENT
from sandbox.isolation.process import launch, memory_files

if TYPE_CHECKING:
    import socket

    from sandbox.isolation.account import Account
    from sandbox.isolation.interpreter import Interpreter
    from sandbox.isolation.level import Guest

_log = logging.getLogger("datastore.sandbox")


class UnsafeProcess:
    """Guests without any isolation. A host that is root launches them as root unless run_as names another."""

    def __init__(
        self, *, run_as: str | int | None = None, python: str | None = None, site_packages: str | None = None
    ) -> None:
        self.name = "unsafe_process"
        self._run_as = run_as
        self._python = python
        self._packages = site_packages
        self._found: tuple[Account, Interpreter] | None = None

    async def prepare(self) -> None:
        """Find an interpreter, and warn."""
        _log.warning(
            "unsafe_process gives no isolation: agent code can read and write whatever this account can,"
            " and reach the network. Use strict for code that you do not trust."
        )
        self._found = await asyncio.to_thread(_find, self._run_as, self._python, self._packages)

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        """Start one guest. Its bootstrap is an inherited descriptor: modules must be loaded before it is closed."""
        if self._found is None:
            raise RuntimeError("prepare() comes before spawn().")
        launcher, python = self._found
        with memory_files(bootstrap) as (program,):
            return launch(
                [*launcher.prefix, *python.command(f"/proc/self/fd/{program}", peer.fileno())],
                inherit=(program, peer.fileno()),
                environment=ENVIRONMENT,
            )

    async def close(self) -> None:
        """Nothing to release: every guest is a process of its own."""


def _find(run_as: str | int | None, python: str | None, site_packages: str | None) -> tuple[Account, Interpreter]:
    launcher = account.launcher(run_as, allow_root=True)
    return launcher, packages.find(python, launcher.prefix, site_packages)
