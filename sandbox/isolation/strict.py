"""The level `strict`: every guest in new namespaces of its own, built by bubblewrap, behind a seccomp filter.

A guest has no network, no /proc, nothing writable, no capability, no other process, and of the host's files only
what its Python needs. The tests of this package say which attacks were tried.
"""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.isolation import account, bubblewrap, packages, preflight, seccomp
from sandbox.isolation.process import launch, memory_files
from sandbox.isolation.programs import program

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from sandbox.isolation.interpreter import Interpreter
    from sandbox.isolation.level import Guest
    from sandbox.isolation.process import Process

_ZYGOTE: Final = "/zygote.pyz"
_FILTER: Final = "/filter.bpf"


class Strict:
    """Guests behind bubblewrap and seccomp, launched by an account that is not root."""

    def __init__(
        self, *, run_as: str | int | None = None, python: str | None = None, site_packages: str | None = None
    ) -> None:
        self.name = "strict"
        self._run_as = run_as
        self._python = python
        self._packages = site_packages
        self._cell: Cell | None = None

    async def prepare(self) -> None:
        """Find bubblewrap and an interpreter, then attack a real guest from inside and see that it holds."""
        cell = await asyncio.to_thread(find_cell, self._run_as, self._python, self._packages)
        await preflight.self_test(cell.spawn, self.name)
        self._cell = cell

    def spawn(self, bootstrap: bytes, peer: socket.socket) -> Guest:
        """Start one guest."""
        if self._cell is None:
            raise RuntimeError("prepare() comes before spawn().")
        return self._cell.spawn(bootstrap, peer, {})

    async def close(self) -> None:
        """Nothing to release: every guest is a process of its own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What every guest of this level is started with. The environment given is bubblewrap's own, never the guest's."""

    launcher: tuple[str, ...]
    bubblewrap: str
    interpreter: Interpreter
    filter: bytes

    def spawn(self, bootstrap: bytes, peer: socket.socket, environment: Mapping[str, str]) -> Process:
        """Start a guest."""
        with memory_files(bootstrap, self.filter) as (archive, rules):
            words = bubblewrap.arguments(self.interpreter, {bubblewrap.BOOTSTRAP: archive}, seccomp=rules)
            command = self.interpreter.command(bubblewrap.BOOTSTRAP, peer.fileno())
            return self._launch(words, command, (archive, rules, peer.fileno()), environment)

    def spawn_zygote(self, bootstrap: bytes, control: socket.socket, environment: Mapping[str, str]) -> Process:
        """Start a process that forks guests for whoever holds the other end of a control socket."""
        with memory_files(bootstrap, program("zygote"), self.filter) as (archive, zygote, rules):
            files = {bubblewrap.BOOTSTRAP: archive, _ZYGOTE: zygote, _FILTER: rules}
            words = bubblewrap.arguments_of_zygote(self.interpreter, files)
            command = self.interpreter.command(_ZYGOTE, control.fileno(), bubblewrap.BOOTSTRAP, _FILTER)
            return self._launch(words, command, (archive, zygote, rules, control.fileno()), environment)

    def _launch(
        self, words: bytes, command: tuple[str, ...], inherit: tuple[int, ...], environment: Mapping[str, str]
    ) -> Process:
        with memory_files(words) as (arguments,):
            return launch(
                [*self.launcher, self.bubblewrap, "--args", str(arguments), "--", *command],
                inherit=(*inherit, arguments),
                environment=environment,
            )


def find_cell(run_as: str | int | None, python: str | None, site_packages: str | None) -> Cell:
    """Return what guests need on this machine.

    Raises:
        ConfigurationError: guests must not see the packages.
        SandboxUnavailable: something is missing.
    """
    path = bubblewrap.find()
    rules = seccomp.program(platform.machine())
    launcher = account.launcher(run_as).prefix
    found = packages.find(python, launcher, site_packages, at=packages.MOUNTED)
    return Cell(launcher, path, found, rules)
