"""A bootstrap that attacks the isolation from inside and reports what held.

It reads one JSON line from the socket that it was given (the secrets which were planted on the host) and answers
with one: the names of the attacks that were refused, and for each other one what it reached. It is on the guest's
side, so it uses nothing but the standard library.
"""

import ctypes
import importlib
import itertools
import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
ENVIRONMENT = {"PATH", "LANG", "MALLOC_ARENA_MAX", "HOME", "PWD"}
MODULES = ("ssl", "sqlite3", "ctypes", "lzma", "bz2", "zlib", "decimal", "hashlib", "asyncio", "json")
FOLDERS = ("/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", sys.prefix)  # noqa: S108 - nothing is left there


class Reached(Exception):  # noqa: N818 - an attack's success, not an error of this program.
    """An attack went through; the message says what it reached."""


def identity(_planted: dict[str, str]) -> None:
    """Root inside would keep more of the kernel's doors open."""
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        raise Reached("uid or gid 0")


def network(_planted: dict[str, str]) -> None:
    """A socket of its own would reach whatever the network namespace has."""
    with socket.socket():
        raise Reached("socket() gave one")


def fork(_planted: dict[str, str]) -> None:
    """A child would survive limits that count per process."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    raise Reached("fork() made a process")


def namespaces(_planted: dict[str, str]) -> None:
    """A user namespace of its own would give it capabilities, and with them more of the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) == 0:
        raise Reached("unshare() made a user namespace")


def writing(_planted: dict[str, str]) -> None:
    """Whatever can be written can be filled, or left behind for the next guest."""
    # A folder that cannot be listed may be writable all the same.
    for folder in itertools.chain(FOLDERS, (found for found, _folders, _files in os.walk("/"))):
        target = Path(folder, f"probe-{os.getpid()}")
        if can_open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY):
            target.unlink()
            raise Reached(f"{folder} is writable")


def own_files(_planted: dict[str, str]) -> None:
    """Its own code and its Python must stay the ones that it was given."""
    for path in (sys.argv[0], Path(__file__).parent, sys.executable, os.__file__):
        if can_open(Path(path), os.O_WRONLY):
            raise Reached(f"{path} is writable")


def can_open(path: Path, flags: int) -> bool:
    """Whether a file opens this way."""
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True


def environment(planted: dict[str, str]) -> None:
    """The host's environment holds its credentials."""
    if extra := set(os.environ) - ENVIRONMENT:
        raise Reached(f"variables of the host: {', '.join(sorted(extra))}")
    if planted["secret"] in os.environ.values():
        raise Reached("the planted variable")


def processes(_planted: dict[str, str]) -> None:
    """Through /proc it would read other processes' environments and memory."""
    raise Reached(f"{len(list(Path('/proc').iterdir()))} names in /proc")


def signals(planted: dict[str, str]) -> None:
    """Whom it may signal it may kill."""
    os.kill(int(planted["host"]), 0)
    raise Reached("the host may be signalled")


def files(planted: dict[str, str]) -> None:
    """The host's files are none of its business."""
    if planted["secret"] in Path(planted["path"]).read_text(encoding="utf-8"):
        raise Reached("the planted file")


def descriptors(planted: dict[str, str]) -> None:
    """A descriptor of the host would be a door that no namespace closes."""
    # A guest that has no file of its own has its archive as a descriptor.
    own = {int(planted["peer"]), *(int(number) for number in re.findall(r"^/proc/self/fd/(\d+)$", sys.argv[0]))}
    for descriptor in set(range(3, 1024)) - own:
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        raise Reached(f"descriptor {descriptor} is open")


def standard_library(_planted: dict[str, str]) -> None:
    """The other way round: what agents need must be there."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Reached(f"{name} does not import: {error}") from error


ATTACKS: tuple[Callable[[dict[str, str]], None], ...] = (
    *(identity, network, fork, namespaces, writing, own_files),
    *(environment, processes, signals, files, descriptors, standard_library),
)


def report(planted: dict[str, str]) -> dict[str, str]:
    """Return what each attack reached; an empty string for one that was refused."""
    return {attack.__name__: outcome(attack, planted) for attack in ATTACKS}


def outcome(attack: Callable[[dict[str, str]], None], planted: dict[str, str]) -> str:
    """Return what one attack reached. A refusal is an OSError, or a return without anything reached."""
    try:
        attack(planted)
    except Reached as success:
        return str(success)
    except OSError:
        return ""
    return ""


def prepare(_packages: str | None = None, *, whole: bool = False) -> None:
    """Nothing needs to be done beforehand."""


def main(descriptor: int) -> None:
    """Read what was planted, attack, answer."""
    with socket.socket(fileno=descriptor) as peer, peer.makefile("rw", encoding="utf-8") as stream:
        planted = {**json.loads(stream.readline()), "peer": str(descriptor)}
        stream.write(json.dumps(report(planted)) + "\n")
