"""The verbs that keep a user out, and take it out: block, unblock, erase."""

from __future__ import annotations

from dataclasses import asdict

from admin.actions import blocking
from admin.actions import erase as erasing
from admin.actions.blocking import Receipt
from admin.actions.subject import Owner
from admin.cli import changing
from admin.cli.changing import Consent
from admin.cli.failures import ExitCode
from admin.cli.progress import shown
from admin.cli.text import as_json, note, number_of, say, size, visible
from datastore.ports import Traces
from datastore.service.store import Store
from datastore.settings import Settings


def user_of(user: str | None) -> str:
    """Return the user that was named.

    Raises:
        InvalidArgument: none was, or a space.
        InvalidName: the name is unusable.
    """
    return Owner.of(user, None).name


async def block(store: Store, user: str, *, json: bool) -> None:
    """Block a user, and say so."""
    new = await blocking.block(store, user)
    if json:
        say(as_json({"user": user, "blocked": True}))
    else:
        say(visible(f"Blocked user {user}" if new else f"User {user} was blocked already"))


async def unblock(store: Store, user: str, *, json: bool) -> None:
    """Unblock a user, and say so."""
    await blocking.unblock(store, user)
    say(as_json({"user": user, "blocked": False}) if json else visible(f"Unblocked user {user}"))


async def erase(store: Store, settings: Settings, user: str, consent: Consent, *, json: bool) -> ExitCode:
    """Say what an erasure takes, ask, do it, and print the receipt."""
    prospect = await erasing.prospect(store, user)
    if prospect.done is not None:
        _tell(user, prospect.done, f"Nothing is left of user {user}", json=json)
        return ExitCode.DONE
    taken = f"user {user}: {_words(prospect.found)}"
    if consent.dry_run:
        say(as_json(_facts(user, prospect.found, None)) if json else visible(f"Would erase {taken}"))
        return ExitCode.DONE
    if not consent.yes and not await changing.confirmed(f"Erase {taken}? It stays blocked afterwards. [y/N] "):
        note("nothing was erased")
        return ExitCode.REFUSED
    seconds = erasing.settle_seconds(settings)
    note(f"erasing {taken}; it takes {seconds:g} seconds at least, until no host writes for the user any more")
    with shown("erasing", sum(_pieces(prospect.found))) as progress:
        receipt = await erasing.erase(store, user, seconds, progress)
    _tell(user, receipt, f"Erased user {user}, which stays blocked", json=json)
    return ExitCode.DONE


def _tell(user: str, receipt: Receipt, words: str, *, json: bool) -> None:
    if json:
        counts = Traces(receipt.keys, receipt.bytes, receipt.shared, receipt.changes, receipt.counters)
        say(as_json(_facts(user, counts, receipt)))
    else:
        say(visible(f"{words}; receipt {receipt.id}, of {receipt.ended_at}"))


def _words(found: Traces) -> str:
    spaces = "1 entry" if found.shared == 1 else f"{found.shared:,} entries"
    return f"{number_of(found.keys)} ({size(found.bytes)}), and its name in {spaces} of spaces"


def _pieces(found: Traces) -> tuple[int, int, int]:
    return found.keys + found.counters, found.shared, found.keys + found.changes


def _facts(user: str, found: Traces, receipt: Receipt | None) -> dict[str, object]:
    kept = None if receipt is None else {**receipt.as_dict(), "pseudonym": receipt.pseudonym}
    return {"user": user, **asdict(found), "dry_run": receipt is None, "receipt": kept}
