"""The verbs that take data away and bring it back: export, import and copy."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from admin.actions import archive, copying
from admin.actions.archive import Arrival, Existing, Restored
from admin.actions.copying import Move
from admin.actions.subject import Area, Owner
from admin.cli import sources
from admin.cli.progress import shown
from admin.cli.text import as_json, note, number_of, say, size, visible
from datastore.assembly import open_store
from datastore.errors import InvalidArgument
from datastore.service.store import Store
from datastore.settings import Settings


def check_stdout() -> None:
    """Refuse to write an archive to a terminal, which would obey what is in it.

    Raises:
        InvalidArgument: stdout is one.
    """
    if sys.stdout.isatty():
        raise InvalidArgument("an archive is not for a terminal. Write > FILE after the command.")


async def export(store: Store, owner: Owner, namespace: str | None) -> None:
    """Write an archive to stdout, and say on stderr what it holds."""
    held = await archive.contents(store, owner, namespace)
    with shown("exporting", sum(each.keys for each in held.values())) as progress:
        done = await archive.export(store, owner, namespace, sys.stdout.buffer, progress)
    where = str(owner) if namespace is None else str(Area(owner, namespace))
    note(f"exported {number_of(done.entries)} ({size(done.bytes)}) of {where}")


async def load(store: Store, owner: Owner, file: str, existing: Existing, *, with_limits: bool, json: bool) -> None:
    """Restore an archive, and say what was done."""
    name = sources.named(file)
    with sources.usable(file) as source, shown("checking, then restoring", None) as progress:
        done = await archive.load(store, Arrival(owner, source, name, existing, with_limits), progress)
    if json:
        say(as_json(_facts(owner, done)))
    else:
        say(visible(_words("Restored", str(owner), done)))


async def copy(store: Store, settings: Settings, move: Move, *, json: bool) -> None:
    """Copy entries, and say what was done."""
    async with nullcontext(store) if move.url is None else open_store(move.url, settings=settings) as target:
        held = await archive.contents(store, move.owner, move.namespace)
        with shown("copying", 3 * sum(each.keys for each in held.values())) as progress:
            done = await copying.copy(store, move, target, progress)
    if json:
        say(as_json({"from": move.owner.id, **_facts(move.target, done)}))
    else:
        say(visible(_words("Copied", f"{move.owner} to {move.target}", done)))


def _facts(owner: Owner, done: Restored) -> dict[str, object]:
    counts = {"restored": done.restored, "unchanged": done.unchanged, "skipped": done.skipped, "expired": done.expired}
    return {"owner": owner.id, **counts, "bytes": done.bytes, "limits": done.limits}


def _words(did: str, whose: str, done: Restored) -> str:
    besides = [
        f"{count:,} {what}"
        for count, what in (
            (done.unchanged, "there already"),
            (done.skipped, "left as they stand"),
            (done.expired, "expired since"),
        )
        if count
    ]
    told = f"{did} {number_of(done.restored)} ({size(done.bytes)}) of {whose}"
    return "; ".join([told, *besides, *(["its quota as well"] if done.limits else [])])
