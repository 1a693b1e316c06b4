"""Choosing a level: by its name, explicitly, and never by falling back to a weaker one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datastore.errors import ConfigurationError, SandboxUnavailable
from sandbox.isolation.external import External
from sandbox.isolation.landlock import Landlock
from sandbox.isolation.strict import Strict
from sandbox.isolation.unsafe import UnsafeProcess
from sandbox.isolation.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.isolation.level import Level

LEVELS: Final = ("strict", "landlock", "unsafe_process", "external")


def choose(
    name: str,
    *,
    accept_no_isolation: bool = False,
    run_as: str | int | None = None,
    python: str | None = None,
    zygote: bool = False,
    site_packages: str | None = None,
    launcher: Sequence[str] | None = None,
    guests: int = 1,
) -> Level:
    """Return the isolation level of that name; nothing is started or checked before its `prepare`.

    Args:
        name: One of `LEVELS`.
        accept_no_isolation: Must be True for `unsafe_process`.
        run_as: The account that launches guests, as a uid or a name; required when the host is root. At `landlock` a
            range of uids.
        python: A base interpreter for the guests, instead of the host's own or the system's.
        zygote: Whether guests are forked by a sandboxed parent, at `strict` only.
        site_packages: A folder of packages that agents may import.
        launcher: The command of `external`, which needs it.
        guests: How many may be alive at once; `landlock` takes a uid for each.

    Raises:
        ConfigurationError: There is no such level, or an argument is not for it.
        SandboxUnavailable: `unsafe_process` was asked for only once.
    """
    if name not in LEVELS:
        raise ConfigurationError(f"there is no isolation level {name!r}. Levels: {', '.join(LEVELS)}.")
    if zygote and name != "strict":
        raise ConfigurationError(f"zygote=True needs isolation='strict', not {name!r}.")
    if name == "external":
        return _external(launcher, run_as, inside={"python": python, "site_packages": site_packages})
    if launcher is not None:
        raise ConfigurationError(f"{name} has no launcher. Use the level external, or leave launcher out.")
    if name == "strict":
        kind = Zygote if zygote else Strict
        return kind(run_as=run_as, python=python, site_packages=site_packages)
    if name == "landlock":
        return Landlock(guests=guests, run_as=run_as, python=python, site_packages=site_packages)
    if not accept_no_isolation:
        raise SandboxUnavailable(
            "unsafe_process gives agent code no isolation at all",
            "Use strict, or accept that with accept_no_isolation=True (--accept-no-isolation).",
        )
    return UnsafeProcess(run_as=run_as, python=python, site_packages=site_packages)


def _external(
    launcher: Sequence[str] | None, run_as: str | int | None, *, inside: Mapping[str, str | None]
) -> External:
    if launcher is None:
        raise ConfigurationError(
            "external needs the command of your launcher. Give --launcher or DATASTORE_LAUNCHER, or in Python"
            " isolation=External(['/path/to/launcher'])."
        )
    for name, given in inside.items():
        if given is not None:
            raise ConfigurationError(f"{name} is the launcher's business at external. Give it there, not to us.")
    return External(launcher, run_as=run_as)
