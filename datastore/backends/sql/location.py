"""Where a SQLite URL points, and the file and folder made there, for nobody else to read.

Theory of operation: what follows `sqlite:///` is a path and nothing but a path, without escapes and options, since the
default URL is made from a path that may hold any character. The file is made here, before SQLite sees it: SQLite would
make it readable for others, and gives its -wal and -shm files the mode of the database. An existing file is never
opened here, because closing any descriptor of a file drops all locks that this process holds on it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from datastore.errors import ConfigurationError

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_FORMS: Final = "Write sqlite:///relative.db, sqlite:////absolute/path.db, or sqlite:// for memory."


def locate(url: str) -> str | None:
    """Return the absolute path that the URL names, or None for a store in memory.

    Raises:
        ConfigurationError: the URL has another form.
    """
    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite" or not separator:
        raise ConfigurationError(f"this backend opens sqlite URLs only. {_FORMS}")
    if rest in ("", "/:memory:"):
        return None
    if not rest.startswith("/") or rest == "/":
        raise ConfigurationError(f"a sqlite URL names a file on this machine, without host and password. {_FORMS}")
    if "?" in rest or "\0" in rest:
        raise ConfigurationError(f"a sqlite URL takes no options, and no '?' or NUL in its path. {_FORMS}")
    return str(Path(rest[1:]).absolute())


def prepare(path: str) -> None:
    """Make the folder and the file if they are missing, and take others' rights away from an existing file.

    Raises:
        ConfigurationError: the system refuses, or something else than a file stands there.
    """
    try:
        _make_folder(Path(path).parent)
        _make_file(path)
        _check_access(path)
        _check_access(path)
    except OSError as error:
        reason = (error.strerror or "the system refuses").lower()
        raise ConfigurationError(
            f"the store's file {path!r} cannot be used: {reason}. Name a file in a folder that this process can write."
        ) from error


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def _make_file(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE))
    except FileExistsError:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigurationError(f"{path!r} is not a file. Name one, such as {path}/datastore.db.") from None
        if stat.S_IMODE(mode) & ~_FILE_MODE:
            Path(path).chmod(_FILE_MODE)


def _check_access(path: str) -> None:
    """Refuse now what SQLite would refuse at the first write; -wal and -shm need a folder that can be written."""
    effective = os.access in os.supports_effective_ids
    for each, rights in ((path, os.R_OK | os.W_OK), (Path(path).parent, os.R_OK | os.W_OK | os.X_OK)):
        if not os.access(each, rights, effective_ids=effective):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
