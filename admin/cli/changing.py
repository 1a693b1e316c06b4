"""The verbs that change: set and delete. A deletion says what it will take, and asks."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from admin.actions import changes
from admin.actions.changes import Draft, Loss, Selection
from admin.actions.subject import Area, NotFound
from admin.cli import sources
from admin.cli.failures import ExitCode
from admin.cli.options import DEFAULT_NAMESPACE
from admin.cli.sources import STDIN
from admin.cli.text import as_json, discreet, note, number_of, say, size, visible
from datastore import names
from datastore.errors import Conflict, InvalidArgument
from datastore.service.store import Store


def draft(
    key: str,
    value: str | None,
    file: str | None,
    *,
    text: bool,
    binary: bool = False,
    metadata: str | None,
    ttl_seconds: float | None,
    if_version: str | None,
) -> Draft:
    """Read what is to be written.

    Raises:
        InvalidArgument: there is no value or there are two, or something is no JSON.
        ValueTooLarge: there are more bytes than a value may have.
    """
    if (value is None) == (file is None):
        raise InvalidArgument("give the value once: VALUE, --file FILE, or - for stdin.")
    if text and binary:
        raise InvalidArgument("--text and --binary exclude each other. Keep one.")
    return Draft(
        key,
        _content(value, STDIN if value == STDIN else file, text=text, binary=binary),
        None if metadata is None else sources.object_of(metadata, "--metadata"),
        None if ttl_seconds is None else names.seconds("--ttl-seconds", ttl_seconds),
        if_version,
    )


def _content(value: str | None, path: str | None, *, text: bool, binary: bool) -> Any:
    if binary:
        if path is None:
            raise InvalidArgument("--binary takes bytes from --file FILE, or - for stdin.")
        return sources.bytes_of(path)
    given = str(value) if path is None else sources.text_of(path)
    return given if text else sources.json_of(given, "VALUE", " To store it as a string, add --text.")


async def put(store: Store, area: Area, draft: Draft, *, json: bool) -> None:
    """Write an entry and print its version."""
    try:
        version = await changes.put(store, area, draft)
    except Conflict as error:
        raise _mended(area, draft, error) from error
    if json:
        say(as_json({"owner": area.owner.id, "namespace": area.namespace, "key": draft.key, "version": version}))
    else:
        say(visible(f"Set {draft.key!r} of {area}: version {version}"))


def _mended(area: Area, draft: Draft, error: Conflict) -> Exception:
    """Return a conflict in the words of the command; Conflict's own are an agent's."""
    if error.fields["version"] is None:
        return NotFound(f"{area} has no key {draft.key!r}, so nothing stands at version {draft.if_version!r}.")
    mended = Conflict(draft.key, error.fields["version"])
    mended.message = (
        f"{draft.key!r} of {area} is at version {error.fields['version']!r}, not {draft.if_version!r}; "
        "nothing was written. Look at it with `datastore admin show`."
    )
    return mended


def namespace_of(selection: Selection, named: str | None) -> str:
    """Return the namespace to delete from; more than one key is never taken from one that was not named.

    Raises:
        InvalidArgument: it must be named.
    """
    if named is None and selection.key is None:
        raise InvalidArgument("--prefix and --all need the namespace in words: --namespace NAME.")
    return DEFAULT_NAMESPACE if named is None else named


@dataclass(frozen=True, slots=True)
class Consent:
    """What the operator said beforehand about a deletion."""

    yes: bool
    dry_run: bool

    def check(self) -> None:
        """Refuse a deletion that would have to ask nobody.

        Raises:
            InvalidArgument: there is no terminal to ask on.
        """
        if not (self.yes or self.dry_run or sources.interactive()):
            raise InvalidArgument("there is no terminal to confirm the deletion on. Write --yes, or --dry-run to look.")


async def delete(store: Store, area: Area, selection: Selection, consent: Consent, *, json: bool) -> ExitCode:
    """Say what a deletion takes, ask, do it, and say what went."""
    loss = await changes.loss(store, area, selection)
    taken = f"{_described(selection, loss)} of {area}"
    if not (consent.yes or consent.dry_run) and not await confirmed(f"Delete {taken}? [y/N] "):
        note("nothing was deleted")
        return ExitCode.REFUSED
    if consent.yes and not consent.dry_run:
        note(f"deleting {taken}")
    deleted = 0 if consent.dry_run else await changes.delete(store, area, selection)
    if json:
        say(as_json(_outcome(area, loss, deleted, consent)))
    else:
        say(visible(f"Would delete {taken}" if consent.dry_run else f"Deleted {number_of(deleted)} of {area}"))
    return ExitCode.DONE


def _described(selection: Selection, loss: Loss) -> str:
    if selection.key is not None:
        return f"key {selection.key!r} ({size(loss.bytes)})"
    beginning = "" if selection.prefix is None else f" that begin with {selection.prefix!r}"
    return f"{number_of(loss.keys)} ({size(loss.bytes)}){beginning}"


def _outcome(area: Area, loss: Loss, deleted: int, consent: Consent) -> dict[str, object]:
    found = {"owner": area.owner.id, "namespace": area.namespace, "keys": loss.keys, "bytes": loss.bytes}
    return {**found, "deleted": deleted, "dry_run": consent.dry_run}


async def confirmed(question: str) -> bool:
    """Ask on the terminal; whatever is not yes is no.

    The loop waits for the line, because a blocked read would swallow the first Ctrl-C.
    """
    sys.stderr.write(visible(discreet(question)))
    sys.stderr.flush()
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, answered.set)
    try:
        await answered.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
