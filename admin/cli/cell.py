"""Where agents run: the isolation level, by the command line's words over the settings."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Final

from datastore import names
from datastore.errors import ConfigurationError
from datastore.service.store import Store
from datastore.settings import Settings
from sandbox import RunLimits, Sandbox
from sandbox.isolation import Level, choose

UNPRIVILEGED: Final = "nobody"
"""Who launches sandboxes where the host is root and names nobody else."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where it runs: what is not given comes from the settings."""

    isolation: str | None
    accept_no_isolation: bool
    launcher: str | None
    run_as: str | None
    site_packages: str | None
    wall_seconds: float | None

    def limits(self) -> RunLimits:
        """Return the limits of the run.

        Raises:
            InvalidArgument: the duration is unusable.
        """
        if self.wall_seconds is None:
            return RunLimits()
        return RunLimits(wall_seconds=names.seconds("--wall-seconds", self.wall_seconds))

    def sandbox(self, store: Store, settings: Settings) -> Sandbox:
        """Return the sandbox, not started yet.

        Raises:
            ConfigurationError, SandboxUnavailable: there is no such level, or it was asked for only once.
        """
        return Sandbox(store, isolation=self.level(settings), limits=self.limits())

    def level(self, settings: Settings, *, zygote: bool = False) -> Level:
        """Return the level of isolation, not prepared yet.

        Raises:
            ConfigurationError, SandboxUnavailable: there is no such level, or it was asked for only once.
        """
        name = self.isolation or settings.isolation
        # A launcher of the operator's own may need to be root; a uid that others have is none for guests at landlock.
        fallback = UNPRIVILEGED if os.geteuid() == 0 and name not in {"external", "landlock"} else None
        return choose(
            name,
            accept_no_isolation=self.accept_no_isolation,
            run_as=self.run_as or settings.run_as or fallback,
            zygote=zygote,
            site_packages=self.site_packages or settings.site_packages,
            launcher=_words(self.launcher, settings.launcher if name == "external" else None),
        )


def _words(*commands: str | None) -> list[str] | None:
    """Return the words of the first command that is given."""
    command = next(filter(None, commands), None)
    try:
        return None if command is None else shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"the launcher {command!r} cannot be split into words: {error}.") from error
