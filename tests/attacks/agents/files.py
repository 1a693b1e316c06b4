"""Attacks on files: reading the host's, writing where the next guest or the host would meet it, filling the disk."""

# An attacker's file calls are the plain ones, on the paths that every machine has:
# ruff: noqa: PTH101, PTH104, PTH108, PTH109, PTH112, PTH114, PTH116, PTH118, PTH123, PTH202, PTH208, PTH211, S103, S108

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator

from tests.attacks.agents.attempt import Attempt

WRITABLE = ("/tmp", "/dev/shm", "/var/tmp", "/run", "/dev", "/", os.getcwd())
FILES = 200
FILL = 4 * 1024 * 1024


def read_file(attempt: Attempt) -> str:
    attempt.begin()
    with open(attempt.given["path"], "rb") as file:
        return file.read(4096).decode("latin-1")


def reopen_file(attempt: Attempt) -> str:
    """Open only the name of a file, and what is behind it through the descriptor of that."""
    attempt.begin()
    name = os.open(attempt.given["path"], os.O_PATH)
    with open(f"/proc/self/fd/{name}", "rb") as file:
        return file.read(4096).decode("latin-1")


def describe_file(attempt: Attempt) -> str:
    """Learn that a file exists, and its owner, size and times."""
    attempt.begin()
    return str(os.stat(attempt.given["path"]))


def watch_folder(attempt: Attempt) -> str:
    """Be told of what others do; a user may have a hundred of these."""
    descriptor = attempt.libc("inotify_init")
    os.close(descriptor)
    return f"descriptor {descriptor}"


def set_times(attempt: Attempt) -> str:
    """Set the times of a file that everybody may write."""
    attempt.begin()
    os.utime(attempt.given["path"])
    return "they are now"


def cut_off(attempt: Attempt) -> str:
    """Cut a file that everybody may write, without opening it; here to the length that it has."""
    attempt.begin()
    os.truncate(attempt.given["path"], attempt.given["length"])
    return "its length is our choice"


def rename_file(attempt: Attempt) -> str:
    """Rename a file in a folder that everybody may write, and back."""
    path = attempt.given["path"]
    attempt.begin()
    os.rename(path, path + attempt.given["unique"])
    os.rename(path + attempt.given["unique"], path)
    return "its name is our choice"


def list_folder(attempt: Attempt) -> str:
    attempt.begin()
    return f"{len(os.listdir(attempt.given['path']))} names"


def own_environment(attempt: Attempt) -> str:
    attempt.begin()
    return " ".join(value for name, value in os.environ.items() if name.startswith("ATTACKS_"))


def own_proc_environ(attempt: Attempt) -> str:
    attempt.begin()
    with open("/proc/self/environ", "rb") as file:
        return file.read().decode("latin-1")


def inherited_descriptors(attempt: Attempt) -> str:
    """Read every descriptor that is open as a file from its beginning."""
    seen = b""
    attempt.begin()
    for descriptor in range(1024):
        with contextlib.suppress(OSError):
            seen += os.pread(descriptor, 4096, 0)
    return seen.decode("latin-1")


def further_descriptors(attempt: Attempt) -> str:
    """Find what is open besides the one socket that a guest is given: its zygote's, for one, would obey us."""
    attempt.begin()
    kinds = {each: stat.S_IFMT(os.fstat(each).st_mode) for each in range(3, 1024) if _is_open(each)}
    streams = [each for each in kinds if kinds[each] == stat.S_IFSOCK and _is_stream(each)]
    return " ".join(f"{each}:{kinds[each]:o}" for each in kinds if each not in streams[:1])


def create_in_folder(attempt: Attempt) -> str:
    path = os.path.join(attempt.given["path"], attempt.given["unique"])
    attempt.begin()
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)
    return f"{path} could be made"


def open_standard_library_for_writing(attempt: Attempt) -> str:
    return _open_for_writing(attempt, os.__file__)


def change_mode_of_interpreter(attempt: Attempt) -> str:
    attempt.begin()
    os.chmod(os.path.realpath(sys.executable), 0o755)
    return "its mode could be set"


def open_bootstrap_for_writing(attempt: Attempt) -> str:
    return _open_for_writing(attempt, attempt.given.get("bootstrap", sys.argv[0]))


def open_for_writing(attempt: Attempt) -> str:
    """Open a file of the kernel's for writing, and write nothing."""
    return _open_for_writing(attempt, attempt.given["path"])


def replace_bootstrap(attempt: Attempt) -> str:
    path = attempt.given.get("bootstrap", sys.argv[0])
    attempt.begin()
    os.rename(path, f"{path}.old")
    os.rename(f"{path}.old", path)
    return "it could be renamed"


def link_to_a_root(attempt: Attempt) -> str:
    """Read the host's files through a link to the root folder of a process outside."""
    root = f"/proc/{attempt.given['pid']}/root"
    with (
        _name_somewhere(attempt, lambda path: os.symlink(root, path)) as link,
        open(link + attempt.given["secret_file"], encoding="latin-1") as file,
    ):
        return file.read(4096)


def fill_disk(attempt: Attempt) -> str:
    """Write megabytes wherever that is possible; a few, since what stops the first stops all."""

    def fill(path: str) -> None:
        with open(path, "xb") as file:
            file.write(bytes(FILL))

    with _name_somewhere(attempt, fill) as path:
        return f"{os.path.getsize(path)} bytes"


def fill_inodes(attempt: Attempt) -> str:
    with _name_somewhere(attempt, os.mkdir) as folder:
        names = [os.path.join(folder, str(each)) for each in range(FILES)]
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        for name in names:
            os.unlink(name)
        return f"{len(names)} files"


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _is_stream(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as opened:
        return opened.type == socket.SOCK_STREAM


def _open_for_writing(attempt: Attempt, path: str) -> str:
    attempt.begin()
    os.close(os.open(path, os.O_WRONLY))
    return f"{path} opened"


@contextlib.contextmanager
def _name_somewhere(attempt: Attempt, make: Callable[[str], None]) -> Iterator[str]:
    """Make something in the first folder that lets us, and take it away again; the last refusal counts."""
    refusal = OSError("no folder")
    attempt.begin()
    for folder in WRITABLE:
        path = os.path.join(folder, attempt.given["unique"])
        try:
            make(path)
        except OSError as error:
            refusal = error
            continue
        try:
            yield path
        finally:
            (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
        return
    raise refusal
