"""A host that watches under faults: `python -m tests.faults.watcher URL FOLDER NAME DRIVER`.

Its agent goes on from its last cursor whatever happens, and in a new connection after every few changes. It ends when
it sees the last key, which is written when every fault is over.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast

from datastore import Settings
from datastore.errors import StoreUnavailable
from sandbox import connect
from tests.faults.histories import Recorder
from tests.faults.roles import USER

PREFIX: Final = "seen:"
LAST: Final = f"{PREFIX}~"
_LIFE_CHANGES: Final = 20
_QUIET_SECONDS: Final = 10
_LIFETIME_SECONDS: Final = 240
_PAUSE_SECONDS: Final = 0.2

Seen = list[tuple[str, str | None]]


def watch(url: str, settings: Settings) -> Seen:
    """Return every change until the last key."""
    view = View()
    until = time.monotonic() + _LIFETIME_SECONDS
    while not view.is_over and time.monotonic() < until:
        try:
            _live(url, settings, view)
        except StoreUnavailable:
            time.sleep(_PAUSE_SECONDS)
    return view.seen


@dataclass
class View:
    """The changes that were seen, and the cursor to go on from."""

    seen: Seen = field(default_factory=list)
    cursor: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the last key was seen."""
        return bool(self.seen) and self.seen[-1][0] == LAST


def _live(url: str, settings: Settings, view: View) -> None:
    """Watch through one connection, until it has told of some changes, of none for long, or has failed."""
    with connect(url, user=USER, agent="watcher", settings=settings) as data_store:
        changes = data_store.watch(PREFIX, cursor=view.cursor, timeout_seconds=_QUIET_SECONDS)
        if view.cursor is None:
            view.cursor = changes.cursor
            print("ready", flush=True)  # noqa: T201 - how it speaks to the test
        for _ in range(_LIFE_CHANGES):
            if (change := next(changes, None)) is None:
                return
            view.seen.append((change.key, change.version))
            view.cursor = change.cursor
            if view.is_over:
                return


def main(url: str, folder: str, name: str, driver: str) -> None:
    settings = Settings(mongo_driver=cast('Literal["motor", "pymongo"]', driver), connect_timeout_seconds=60)
    seen = watch(url, settings)
    with (Path(folder) / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        Recorder(file).note("watched", changes=[each for each in seen if each[0] != LAST])


if __name__ == "__main__":
    main(*sys.argv[1:])
