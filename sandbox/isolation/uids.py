"""The uids of guests that share the host's namespaces: one for each guest, for as long as it lives.

The kernel counts threads, queued signals, memory of pipes and much else by uid, and lets processes of one uid do to
each other what it lets nobody else do. Where no namespace parts neighbours, their uids must.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from datastore.errors import SandboxUnavailable
from sandbox.isolation import account

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.isolation.account import Account
    from sandbox.isolation.process import Process

MOST: Final = 4096

_GIVE_A_RANGE: Final = (
    "Give run_as= (--run-as, DATASTORE_RUN_AS) a range that nothing else on this machine uses, with a uid for each"
    " guest: FIRST-LAST, such as 200000-200063."
)
_LARGEST: Final = 2**32 - 2

_lock: Final = threading.Lock()
_holders: Final[weakref.WeakValueDictionary[int, Process]] = weakref.WeakValueDictionary()
"""Who has a uid, over all sandboxes of this process. Who has it elsewhere, a guest finds out as it starts."""


class Uids:
    """A range of uids, given out one at a time."""

    def __init__(self, accounts: list[Account]) -> None:
        self._free = deque(accounts)
        self.launcher = accounts[0].prefix

    def take(self, start: Callable[[tuple[str, ...]], Process]) -> Process:
        """Start a guest under a uid that no other living one has, the one that has been free for longest.

        Args:
            start: Starts it, given the words that go before its command.

        Raises:
            SandboxUnavailable: Every uid has its guest, or `start` raises it.
        """
        with _lock:
            for _ in self._free:
                self._free.rotate(-1)
                each = self._free[-1]
                holder = _holders.get(each.uid)
                if holder is None or holder.has_ended:
                    guest = _holders[each.uid] = start(each.prefix)
                    return guest
        raise SandboxUnavailable(f"all {len(self._free)} uids of run_as have a guest", _GIVE_A_RANGE)


def reserve(run_as: str | int | None, guests: int) -> Uids:
    """Return the uids that run_as names: an account, a uid, or a range such as 200000-200063.

    Args:
        run_as: What the operator gave; there is no default, since these uids must be used by nothing else.
        guests: How many guests may be alive at once.

    Raises:
        SandboxUnavailable: They are none, too few, root's, or in a range those of an account; or the host is not root
            itself, which alone can give guests uids that are not its own.
    """
    if run_as is None:
        raise SandboxUnavailable("landlock needs uids for its guests that are not the host's", _GIVE_A_RANGE)
    if os.geteuid() != 0:
        raise SandboxUnavailable(
            "only a host that is root can give guests uids that are not its own", "Run the host as root, or use strict."
        )
    bounds = re.fullmatch(r"(\d+)-(\d+)", str(run_as))
    accounts = _range(int(bounds[1]), int(bounds[2])) if bounds else [account.launcher(run_as)]
    if len(accounts) < guests:
        raise SandboxUnavailable(
            f"this sandbox may hold {guests} guests at once, and run_as={run_as!r} names {len(accounts)} uids",
            _GIVE_A_RANGE,
        )
    return Uids(accounts)


def _range(first: int, last: int) -> list[Account]:
    if not 0 < first <= last <= _LARGEST or last - first >= MOST:
        raise SandboxUnavailable(f"run_as={first}-{last} is no range of at most {MOST:,} uids", _GIVE_A_RANGE)
    for uid in range(first, last + 1):
        with contextlib.suppress(KeyError):
            name = pwd.getpwuid(uid).pw_name
            raise SandboxUnavailable(f"uid {uid} of run_as={first}-{last} is the account {name!r}", _GIVE_A_RANGE)
    return account.launchers(range(first, last + 1))
