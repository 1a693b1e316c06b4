"""A host that watches under faults: `python -m tests.faults.watcher URL FOLDER NAME DRIVER`.

Its agent goes on from its last cursor whatever happens, and in a new connection after every few changes. It ends when
it sees the last key, which is written when every fault is over.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final, Literal, cast

from datastore import Settings
from datastore.errors import StoreUnavailable
from sandbox import connect
from tests.faults.histories import Recorder
from tests.faults.worker import USER

PREFIX: Final = "seen:"
LAST: Final = f"{PREFIX}~"
_LIFE_CHANGES: Final = 20
_QUIET_SECONDS: Final = 60
_PAUSE_SECONDS: Final = 0.2

Seen = list[tuple[str, str | None]]


def watch(url: str, settings: Settings) -> Seen:
    """Return every change until the last key."""
    seen: Seen = []
    cursor: str | None = None
    while not seen or seen[-1][0] != LAST:
        try:
            cursor = _live(url, settings, cursor, seen)
        except StoreUnavailable:  # At the opening.
            time.sleep(_PAUSE_SECONDS)
    return seen


def _live(url: str, settings: Settings, cursor: str | None, seen: Seen) -> str | None:
    """Watch through one connection, and add what was seen; return where to go on."""
    with connect(url, user=USER, agent="watcher", settings=settings) as data_store:
        changes = data_store.watch(PREFIX, cursor=cursor, timeout_seconds=_QUIET_SECONDS)
        if cursor is None:
            print("ready", flush=True)  # noqa: T201 - how it speaks to the test
        for _ in range(_LIFE_CHANGES):
            while True:
                try:
                    change = next(changes)
                    break
                except StoreUnavailable:
                    time.sleep(_PAUSE_SECONDS)
            seen.append((change.key, change.version))
            if change.key == LAST:
                break
        return changes.cursor


def main(url: str, folder: str, name: str, driver: str) -> None:
    settings = Settings(mongo_driver=cast('Literal["motor", "pymongo"]', driver), connect_timeout_seconds=60)
    seen = watch(url, settings)
    with (Path(folder) / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        Recorder(file).note("watched", changes=[each for each in seen if each[0] != LAST])


if __name__ == "__main__":
    main(*sys.argv[1:])
