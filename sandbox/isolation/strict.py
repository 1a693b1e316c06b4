"""The level `strict`: every guest in new namespaces of its own, built by bubblewrap, behind a seccomp filter.

A guest has no network, no /proc, nothing writable, no capability, no other process, and of the host's files only
what its Python needs. The tests of this package say which attacks were tried.
"""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.isolation import account, bubblewrap, interpreter, preflight, seccomp
from sandbox.isolation.process import launch, memory_files

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from sandbox.isolation.interpreter import Interpreter
    from sandbox.isolation.level import Guest


class Strict:
    """Guests behind bubblewrap and seccomp, launched by an account that is not root."""

    def __init__(self, *, run_as: str | int | None = None, python: str | None = None) -> None:
        self.name = "strict"
        self._run_as = run_as
        self._python = python
        self._slot: _Slot | None = None

    async def prepare(self) -> None:
        """Find bubblewrap and an interpreter, then attack a real guest from inside and see that it holds."""
        slot = await asyncio.to_thread(_find_slot, self._run_as, self._python)
        await preflight.self_test(slot.spawn)
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

    launcher: tuple[str, ...]
    bubblewrap: str
    interpreter: Interpreter
    filter: bytes

    def spawn(self, bootstrap: bytes, peer: socket.socket, environment: Mapping[str, str]) -> Guest:
        """Start a guest; the environment is bubblewrap's own, and must not reach the guest."""
        with memory_files(bootstrap, self.filter) as (program, rules):
            words = bubblewrap.arguments(self.interpreter, {bubblewrap.BOOTSTRAP: program}, seccomp=rules)
            with memory_files(words) as (arguments,):
                command = self.interpreter.command(bubblewrap.BOOTSTRAP, peer.fileno())
                return launch(
                    [*self.launcher, self.bubblewrap, "--args", str(arguments), "--", *command],
                    inherit=(program, rules, arguments, peer.fileno()),
                    environment=environment,
                )


def _find_slot(run_as: str | int | None, python: str | None) -> _Slot:
    path = bubblewrap.find()
    rules = seccomp.program(platform.machine())
    launcher = account.launcher(run_as).prefix
    return _Slot(launcher, path, interpreter.find(python, launcher), rules)
