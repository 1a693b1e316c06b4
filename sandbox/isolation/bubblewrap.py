"""The bubblewrap program: which one, and the words that make it build a guest's world.

The words go to it through a descriptor, since a command line is public and they hold the host's paths.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datastore.errors import SandboxUnavailable
from sandbox.isolation.asking import Failed, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.isolation.interpreter import Interpreter

OLDEST: Final = (0, 8)
BOOTSTRAP: Final = "/bootstrap.pyz"
ENVIRONMENT: Final = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", "HOME": "/tmp"}  # noqa: S108
"""All that a guest finds in its environment; its /tmp is an empty folder that nobody can write to."""

_REMEDY: Final = "Install bubblewrap 0.8 or later."


def find() -> str:
    """Return the path of a bubblewrap that is new enough.

    Raises:
        SandboxUnavailable: There is none on PATH, or it is older than 0.8 (which brought --disable-userns).
    """
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxUnavailable("bubblewrap (bwrap) is not on PATH", _REMEDY)
    try:
        answer = ask([path, "--version"]).strip()
    except Failed as reason:
        raise SandboxUnavailable(f"bubblewrap does not run: {reason}", _REMEDY) from reason
    version = tuple(int(number) for number in re.findall(r"\d+", answer))
    if version < OLDEST:
        raise SandboxUnavailable(f"{path} says {answer!r}, which is too old", _REMEDY)
    return path


def arguments(interpreter: Interpreter, files: Mapping[str, int], *, seccomp: int) -> bytes:
    """Return bubblewrap's words for one guest, as `--args` reads them.

    Args:
        interpreter: What to mount.
        files: Descriptors of what else the guest can read, by its path there.
        seccomp: The descriptor of the filter.
    """
    confined = ["--disable-userns", "--assert-userns-disabled", "--as-pid-1", "--seccomp", str(seccomp)]
    return _joined([*_world(interpreter, files), *confined])


def arguments_of_zygote(interpreter: Interpreter, files: Mapping[str, int]) -> bytes:
    """Return bubblewrap's words for a process that makes guests: they get namespaces and a filter of their own.

    It is not the first process of its namespace, as its guests are of theirs: what tells processes apart by their
    number, and then makes new randomness, must see a change.
    """
    return _joined(_world(interpreter, files))


def _joined(words: list[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


def _world(interpreter: Interpreter, files: Mapping[str, int]) -> list[str]:
    return [*_namespaces(), *_environment(), *_files(interpreter), *_remaining(files)]


def _namespaces() -> list[str]:
    return [
        # No --new-session: the guest must stay in the process group by which it is killed.
        *("--unshare-all", "--unshare-user", "--die-with-parent"),
        *("--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
    ]


def _environment() -> list[str]:
    settings = [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return ["--clearenv", *settings]


def _files(interpreter: Interpreter) -> list[str]:
    mounts = [word for source, target in interpreter.mounts for word in ("--ro-bind", source, target)]
    hidden = [word for path in interpreter.hidden for word in ("--tmpfs", path, "--remount-ro", path)]
    return [*mounts, *hidden, *_links()]


def _links() -> list[str]:
    # The loader's path in every executable begins with /lib or /lib64, which most systems have merged into /usr.
    merged = [path for path in (Path("/lib"), Path("/lib64")) if path.is_symlink()]
    return [word for path in merged for word in ("--symlink", str(path.readlink()), str(path))]


def _remaining(files: Mapping[str, int]) -> list[str]:
    data = [("--perms", "0444", "--ro-bind-data", str(number), path) for path, number in files.items()]
    return [
        # All that is mounted writable is remounted: /dev, and / with /tmp in it. No /proc at all, and no terminals, of
        # which a machine has a limited number.
        *("--dev", "/dev", "--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts", "--remount-ro", "/dev"),
        *("--dir", "/tmp"),  # noqa: S108 - the guest's own.
        *(word for words in data for word in words),
        *("--remount-ro", "/", "--chdir", "/tmp"),  # noqa: S108
    ]
