"""Run by an interpreter that guests may get: say what of the file system it needs, as one JSON line.

It runs under the launcher's uid, so its success also proves that this uid may read all of it. Its arguments name
shared libraries that are wanted besides. The loader is asked which libraries it found and by which names; reading
the names from `ldd` would take a process per module.
"""

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

# What needs a terminal, a display, a network or a database file. Their libraries would be half of the list.
UNWANTED = ("_curses", "_dbm", "_gdbm", "_tkinter", "nis", "ossaudiodev", "readline")


class _Object(ctypes.Structure):
    """The head of `struct dl_phdr_info`."""

    _fields_ = (("address", ctypes.c_void_p), ("name", ctypes.c_char_p))


def load_everything(folders: list[Path]) -> None:
    """Load every extension module's libraries, without initialising the modules."""
    modules = [path for folder in folders for path in folder.iterdir() if not path.name.startswith(UNWANTED)]
    # libc loads libgcc_s by itself when a thread is cancelled or ends early.
    for name in [*map(str, modules), "libgcc_s.so.1", *sys.argv[1:]]:
        # What cannot be loaded here cannot be loaded in a guest either.
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)


def loaded() -> list[str]:
    """Return every shared object of this process by the path under which the loader found it."""
    names: list[str] = []

    def note(item: "ctypes._Pointer[_Object]", _size: int, _data: int | None) -> int:
        names.append(os.fsdecode(item.contents.name or b""))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Object), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(callback(note), None)
    return [name for name in names if name.startswith("/")]


def main() -> None:
    """Print the survey."""
    # setpriv still has root's capabilities when it starts us, so that we run proves nothing about our own file.
    Path(sys.executable).open("rb").close()
    folders = [path for path in map(Path, sys.path) if path.is_dir()]
    load_everything([path for path in folders if path.name == "lib-dynload"])
    answer = {"version": sys.version_info[:2], "folders": [*map(str, folders)], "loaded": loaded()}
    print(json.dumps(answer))  # noqa: T201 - standard output is the answer.


if __name__ == "__main__":
    main()
