"""Under which uid guests are launched: never root at `strict`, since a bubblewrap that root starts is escapable.

(Even with every capability dropped, /proc/sys/kernel/core_pattern opens for writing.) A host that runs as root
launches through setpriv, which costs about a millisecond; letting Python change the uid would make it fork.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from typing import Final

from datastore.errors import SandboxUnavailable
from sandbox.isolation.asking import Failed, ask
from sandbox.isolation.diagnosis import SETPRIV

_NAME_AN_ACCOUNT: Final = "Name an unprivileged account with run_as=, --run-as or DATASTORE_RUN_AS, for example nobody."


@dataclass(frozen=True, slots=True)
class Account:
    """The uid that launches guests, and the words that go before a command to become it."""

    uid: int
    prefix: tuple[str, ...] = ()


def launcher(run_as: str | int | None, *, allow_root: bool = False) -> Account:
    """Return the account that guests are launched by.

    Args:
        run_as: A uid or a user's name; None for the host's own.
        allow_root: Whether a host that is root may launch guests as root.

    Raises:
        SandboxUnavailable: It would be root, does not exist, or the host may not become it.
    """
    own = os.geteuid()
    if run_as is None:
        return _stay(own, allow_root=allow_root)
    uid, gid = _look_up(run_as)
    if 0 in (uid, gid):
        raise SandboxUnavailable(f"run_as={run_as!r} is root's account or group", _NAME_AN_ACCOUNT)
    if uid == own:
        return Account(uid)
    return _become(uid, gid)


def launchers(uids: range) -> list[Account]:
    """Return an account for each of some uids that have none on this machine and are not ours; the last one is tried.

    Raises:
        SandboxUnavailable: The host may not become it.
    """
    setpriv = launcher(uids[-1]).prefix[0]
    return [Account(uid, _prefix(setpriv, uid, uid)) for uid in uids]


def _stay(own: int, *, allow_root: bool) -> Account:
    if own == 0 and not allow_root:
        raise SandboxUnavailable("the host runs as root, and guests are never launched by root", _NAME_AN_ACCOUNT)
    return Account(own)


def _become(uid: int, gid: int) -> Account:
    if os.geteuid() != 0:
        raise SandboxUnavailable(
            f"only root can launch guests as another user, uid {uid}",
            "Leave run_as unset: this host is unprivileged already.",
        )
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SandboxUnavailable("setpriv is not installed", "Install util-linux.")
    account = Account(uid, _prefix(setpriv, uid, gid))
    _prove(uid, (*account.prefix, setpriv, "--version"))
    return account


def _prefix(setpriv: str, uid: int, gid: int) -> tuple[str, ...]:
    return (setpriv, "--reuid", str(uid), "--regid", str(gid), "--clear-groups", "--")


def _prove(uid: int, command: tuple[str, ...]) -> None:
    """See that a command can be run as the account: a host that is root may lack the capabilities."""
    try:
        ask(command)
    except Failed as reason:
        raise SandboxUnavailable(f"guests cannot be launched as uid {uid}: {reason}", SETPRIV) from reason


def _look_up(run_as: str | int) -> tuple[int, int]:
    if isinstance(run_as, str) and not run_as.isdecimal():
        return _by_name(run_as)
    uid = int(run_as)
    try:
        return uid, pwd.getpwuid(uid).pw_gid
    except KeyError:
        # A uid without an account is fine, and common in containers; its group is then its own number.
        return uid, uid


def _by_name(name: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise SandboxUnavailable(f"run_as names no user of this machine: {name!r}", _NAME_AN_ACCOUNT) from error
    return entry.pw_uid, entry.pw_gid
