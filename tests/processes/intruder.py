"""A host that writes for a user in every way there is: `python -m tests.processes.intruder URL USER`.

It says "writing" once each way has worked, and "refused" once each has been refused; then it goes on trying until its
stdin ends, and says how many attempts worked after that.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from datastore import Grant, Scope
from datastore.errors import AccessDenied, DataStoreError
from sandbox import ConnectedDataStore, connect

GRANTS = (Grant.own(), Grant(namespace="*", space="team"))


def attempts(store: ConnectedDataStore, turn: int) -> list[Callable[[], object]]:
    """Every way to leave something behind."""

    def atomic() -> None:
        with store.atomic() as changes:
            changes.set(f"a{turn}", 1).set(f"b{turn}", 2)

    def locked() -> None:
        with store.lock(f"l{turn}"):
            pass

    return [
        lambda: store.set(f"k{turn}", turn),
        lambda: store.set("noted", turn, {f"m{turn % 7}": turn}),
        lambda: store.set_many({f"m{turn}:{number}": number for number in range(20)}, ttl_seconds=60),
        lambda: store.incr("n"),
        lambda: store.add(f"once{turn}", 1),
        lambda: store.copy_to(f"copy{turn % 3}", "m1:"),
        lambda: store.private().set("p", turn),
        lambda: store.shared("team").set(f"s{turn}", turn),
        lambda: store.get_many(["k1", "n"]),
        atomic,
        locked,
    ]


def work(url: str, user: str) -> None:
    ended, refused, turn, late = threading.Event(), False, 0, 0
    threading.Thread(target=_wait, args=[ended], daemon=True).start()
    with connect(url, scope=Scope(user=user, agent="intruder", grants=GRANTS)) as store:
        while not ended.is_set():
            worked = sum(_works(each) for each in attempts(store, turn))
            late += worked if refused else 0
            if turn == 0 and worked:
                print("writing", flush=True)  # noqa: T201 - how it speaks to the test
            if not worked and not refused:
                refused = True
                print("refused", flush=True)  # noqa: T201 - as above
            turn += 1
    print(late, flush=True)  # noqa: T201 - as above


def _wait(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except AccessDenied:
        return False
    except DataStoreError:  # What it worked on may be taken from under it.
        return True
    return True


if __name__ == "__main__":
    work(*sys.argv[1:])
