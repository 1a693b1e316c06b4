"""A process that watches: `python -m tests.contract.watcher URL PREFIX COUNT LIFE`.

It says "ready" once its watch has begun, and prints key and version of the next COUNT changes in order. Where the
store is away it goes on from its last cursor, as an agent would. After LIFE changes it closes its store, opens it again
and goes on from there.
"""

from __future__ import annotations

import json
import sys

from datastore import Settings
from datastore.errors import StoreUnavailable
from sandbox import connect

QUIET_SECONDS = 120
Seen = tuple[str, str | None]


def watch(url: str, prefix: str, count: int, life: int) -> list[Seen]:
    seen: list[Seen] = []
    cursor = None
    while len(seen) < count:
        some, cursor = live(url, prefix, min(life, count - len(seen)), cursor)
        seen += some
    return seen


def live(url: str, prefix: str, count: int, cursor: str | None) -> tuple[list[Seen], str | None]:
    """Watch through one store; return what was seen, and where to go on."""
    seen: list[Seen] = []
    with connect(url, user="alice", agent="watcher", settings=Settings(operation_timeout_seconds=60)) as data_store:
        changes = data_store.watch(prefix, cursor=cursor, timeout_seconds=QUIET_SECONDS)
        if cursor is None:
            print("ready", flush=True)  # noqa: T201 - how it speaks to the test
        while len(seen) < count:
            try:
                change = next(changes)
            except StoreUnavailable:
                continue
            seen.append((change.key, change.version))
        return seen, changes.cursor


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201 - as above
