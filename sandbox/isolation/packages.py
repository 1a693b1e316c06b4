"""The folder of packages that agents may import: which ones are refused, and proof that guests can read it.

A guest sees it read-only, and its bootstrap appends it to sys.path by hand: no `.pth` file of it is ever executed,
and nothing in it stands before the standard library. What guests see must hold nothing of the host, so the host's own
environment, homes, and whatever contains them are refused.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from datastore.errors import ConfigurationError, SandboxUnavailable
from sandbox.isolation import interpreter
from sandbox.isolation.asking import Failed, ask
from sandbox.isolation.interpreter import FLAGS, Interpreter

MOUNTED: Final = "/packages"
"""Where guests with a file system of their own find the folder."""

LIBRARIES: Final = ("libstdc++.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1")
"""What compiled wheels may expect of every Linux (PEP 600) and Python itself does not need; they carry the rest."""

_READ_SECONDS: Final = 60
_REMEDY: Final = "Give a folder made for agents, such as one that `pip install --target` filled."


def find(python: str | None, prefix: tuple[str, ...], folder: str | None, *, at: str | None = None) -> Interpreter:
    """Return the interpreter of guests that may import the packages of a folder.

    Args:
        python: As `interpreter.find` takes it.
        prefix: The words before a command that make it run under the launcher's uid.
        folder: The packages; None for none.
        at: Where guests find it; None for where it is.

    Raises:
        ConfigurationError: The folder does not exist, or guests must not see it.
        SandboxUnavailable: No interpreter fits, or the launcher's uid may not read all of the folder.
    """
    if folder is None:
        return interpreter.find(python, prefix)
    path = _checked(folder)
    found = interpreter.find(python, prefix, LIBRARIES)
    _prove_readable(path, found, prefix)
    target = at or str(path)
    return replace(found, mounts=(*found.mounts, (str(path), target)), packages=target)


def _checked(folder: str) -> Path:
    path = Path(os.path.realpath(folder))
    if not path.is_dir():
        raise ConfigurationError(f"site_packages={folder!r} is no folder. {_REMEDY}")
    for private, what in _private():
        if private.is_relative_to(path):
            raise ConfigurationError(f"site_packages={folder!r} is or holds {what}, {str(private)!r}. {_REMEDY}")
    for prefix in {sys.prefix, sys.exec_prefix}:
        if path.is_relative_to(os.path.realpath(prefix)):
            raise ConfigurationError(f"site_packages={folder!r} lies in the host's own environment. {_REMEDY}")
    return path


def _private() -> Iterator[tuple[Path, str]]:
    """Give what no folder for agents may be or hold."""
    for home in filter(None, (os.environ.get("HOME"), *(each.pw_dir for each in pwd.getpwall()))):
        yield Path(os.path.realpath(home)), "a home folder"
    for own in (sys.prefix, sys.exec_prefix, *(each for each in sys.path if Path(each).is_dir())):
        yield Path(os.path.realpath(own)), "part of the host's own environment"


def _prove_readable(path: Path, python: Interpreter, prefix: tuple[str, ...]) -> None:
    script = Path(__file__).with_name("readable.py").read_text(encoding="utf-8")
    command = [*prefix, python.executable, *FLAGS, "-c", script, str(path)]
    try:
        ask(command, _READ_SECONDS)
    except Failed as reason:
        raise SandboxUnavailable(
            f"the account that launches guests cannot read site_packages ({reason})",
            f"Let it read all of {path} and pass the folders above: chmod -R a+rX.",
        ) from reason
