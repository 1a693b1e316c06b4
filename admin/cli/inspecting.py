"""The verbs that look: users, namespaces, keys, show."""

from __future__ import annotations

from typing import Literal

from admin.actions import looks
from admin.actions.subject import Area, Owner
from admin.cli import render
from admin.cli.text import as_json, note, say
from datastore.errors import InvalidArgument
from datastore.service.store import Store


async def users(store: Store, *, json: bool) -> None:
    """List owners."""
    if not await render.listing(looks.users(store), render.HOLDERS, json=json):
        note("the store holds nothing")


async def namespaces(store: Store, owner: Owner, prefix: str | None, *, json: bool) -> None:
    """List an owner's namespaces."""
    if not await render.listing(looks.namespaces(store, owner, prefix), render.NAMESPACES, json=json):
        note(f"{owner} has no namespaces{_beginning(prefix)}")


async def keys(store: Store, area: Area, prefix: str | None, limit: int | None, *, json: bool) -> None:
    """List a namespace's entries."""
    if not await render.listing(looks.keys(store, area, prefix, limit), render.KEYS, json=json):
        note(f"{area} has no keys{_beginning(prefix)}")


Form = Literal["raw", "json", "facts"]
"""How one entry is printed: its value alone, all of it as JSON, or for a person."""


def form(*, raw: bool, json: bool) -> Form:
    """Return how one entry is to be printed.

    Raises:
        InvalidArgument: in two ways.
    """
    if raw and json:
        raise InvalidArgument("--raw and --json exclude each other. Keep one.")
    return "raw" if raw else "json" if json else "facts"


async def show(store: Store, area: Area, key: str, form: Form) -> None:
    """Print one entry."""
    found = await looks.entry(store, area, key)
    match form:
        case "raw":
            render.raw(found)
        case "json":
            say(as_json(found.as_dict()))
        case _:
            render.entry(found, str(area.owner))


def _beginning(prefix: str | None) -> str:
    return f" that begin with {prefix!r}" if prefix else ""
