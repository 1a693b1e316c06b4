"""A process that watches: `python -m tests.contract.watcher URL PREFIX COUNT`.

It says "ready" once its watch has begun, and prints the versions of the next COUNT changes in order. Where the store is
away it goes on from its last cursor, as an agent would.
"""

from __future__ import annotations

import json
import sys

from datastore import Settings
from datastore.errors import StoreUnavailable
from sandbox import connect

QUIET_SECONDS = 120


def watch(url: str, prefix: str, count: int) -> list[str | None]:
    seen: list[str | None] = []
    with connect(url, user="alice", agent="watcher", settings=Settings(operation_timeout_seconds=60)) as data_store:
        changes = data_store.watch(prefix, timeout_seconds=QUIET_SECONDS)
        print("ready", flush=True)  # noqa: T201 - how it speaks to the test
        while len(seen) < count:
            try:
                change = next(changes)
            except StoreUnavailable:
                continue
            seen.append(change.version)
    return seen


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1], sys.argv[2], int(sys.argv[3]))))  # noqa: T201 - as above
