"""The Python that guests run, and the only files of the host that they see: what that Python needs to run.

The host's own interpreter is preferred. Where the launcher's uid may not read it (it lives in root's home, say)
the system's is taken. A guest sees the executable, its standard library without installed packages, the loader,
and the shared libraries. These all go beside libc, where every loader looks, so that a guest needs neither the
loader's cache nor a search path of its own.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from datastore.errors import SandboxUnavailable
from sandbox.isolation.asking import Failed, ask

OLDEST: Final = (3, 11)
FLAGS: Final = ("-I", "-S", "-E", "-B")

_SYSTEM_FOLDERS: Final = (Path("/usr/bin"), Path("/usr/local/bin"))
_PACKAGE_FOLDERS: Final = ("site-packages", "dist-packages")
_REMEDY: Final = "Install Python 3.11 or later for all users, or name one that they may read with python=."


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python and the files it needs.

    Attributes:
        executable: Its real path, on the host and in a guest.
        mounts: What a guest sees, as pairs of the path on the host and the path in the guest.
        hidden: Folders beneath the mounts that a guest sees empty.
        packages: Where a guest finds the packages that agents may import; None for none.
    """

    executable: str
    mounts: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]
    packages: str | None = None

    def command(self, archive: str, descriptor: int, *files: str) -> tuple[str, ...]:
        """Return the command that runs an archive on a socket's descriptor, files and, if there are any, packages."""
        packages = () if self.packages is None else (self.packages,)
        return (self.executable, *FLAGS, archive, str(descriptor), *files, *packages)


def find(python: str | None, prefix: tuple[str, ...], libraries: tuple[str, ...] = ()) -> Interpreter:
    """Return the first interpreter that fits. It blocks for some 70 ms when it is asked for the first time.

    Args:
        python: The only one to consider; None for the host's own, then the system's.
        prefix: The words before a command that make it run under the launcher's uid.
        libraries: Names of shared libraries that guests need besides, where this machine has them.

    Raises:
        SandboxUnavailable: None fits; the message says why for each.
    """
    refusals = []
    for executable in _candidates(python):
        try:
            return _examine(executable, prefix, libraries)
        except _Unfit as reason:
            refusals.append(f"{executable}: {reason}")
    raise SandboxUnavailable(f"no interpreter that the guest may read ({'; '.join(refusals)})", _REMEDY)


class _Unfit(Exception):  # noqa: N818 - a reason, never seen outside.
    """Why an interpreter was passed over."""


def _candidates(python: str | None) -> list[str]:
    if python is not None:
        return [os.path.realpath(python)]
    system = [path for folder in _SYSTEM_FOLDERS for path in sorted(folder.glob("python3*"))]
    named = [str(path) for path in system if re.fullmatch(r"python3(\.\d+)?", path.name)]
    own: str = getattr(sys, "_base_executable", sys.executable)
    return list(dict.fromkeys(map(os.path.realpath, [own, *named])))


@functools.cache
def _examine(executable: str, prefix: tuple[str, ...], libraries: tuple[str, ...]) -> Interpreter:
    answer = _survey(executable, prefix, libraries)
    if answer.version < OLDEST:
        raise _Unfit("older than 3.11")
    folders = [each for each in answer.folders if not _inside(each, answer.folders)]
    own = [(each, each) for each in (executable, *folders)]
    packages = [Path(each, name) for each in folders for name in _PACKAGE_FOLDERS]
    hidden = tuple(str(each) for each in packages if each.is_dir())
    return Interpreter(executable, (*own, *_libraries(answer.loaded, folders)), hidden)


class _Survey(BaseModel):
    """What survey.py prints."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    version: tuple[int, int]
    folders: list[str]
    loaded: list[str]


def _survey(executable: str, prefix: tuple[str, ...], libraries: tuple[str, ...]) -> _Survey:
    script = Path(__file__).with_name("survey.py").read_text(encoding="utf-8")
    try:
        return _Survey.model_validate_json(ask([*prefix, executable, *FLAGS, "-c", script, *libraries]))
    except Failed as reason:
        raise _Unfit(str(reason)) from reason
    except ValidationError as error:
        raise _Unfit("it answered no survey, so it is hardly a Python") from error


def _libraries(loaded: list[str], folders: list[str]) -> list[tuple[str, str]]:
    found = [Path(each) for each in loaded if not _inside(each, folders)]
    beside = next((_real_folder(each) for each in found if each.name.startswith("libc.so")), None)
    if beside is None:
        raise _Unfit("its C library is not glibc")
    return [(str(each), str(_target(each, beside))) for each in found]


def _target(library: Path, beside: Path) -> Path:
    # The loader's path is written into the executable; a library is found by its name.
    folder = _real_folder(library) if library.name.startswith("ld-") else beside
    return folder / library.name


def _real_folder(library: Path) -> Path:
    # Only the folder is resolved: the name must stay the one that the loader looks for.
    return library.parent.resolve()


def _inside(path: str, folders: list[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)
