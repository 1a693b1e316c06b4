"""The verbs about quotas: show, set, clear."""

from __future__ import annotations

from admin.actions import quotas
from admin.actions.quotas import Line, Setting
from admin.actions.subject import Owner
from admin.cli import render
from admin.cli.render import Column, Sheet
from admin.cli.text import as_json, say, visible
from datastore.service.store import Store

_LINES: Sheet[Line] = Sheet(
    (
        Column("namespace", lambda each: "(all)" if each.namespace is None else each.namespace),
        Column("bytes", lambda each: f"{each.held.bytes:,}", right=True),
        Column("of", lambda each: _most(each.ceiling.bytes), right=True),
        Column("keys", lambda each: f"{each.held.keys:,}", right=True),
        Column("of", lambda each: _most(each.ceiling.keys), right=True),
        Column("set for", lambda each: "this owner" if each.override else "everybody"),
    ),
    lambda each: {
        "namespace": each.namespace,
        "bytes": each.held.bytes,
        "most_bytes": each.ceiling.bytes,
        "keys": each.held.keys,
        "most_keys": each.ceiling.keys,
        "override": each.override,
    },
)


def _most(limit: int | None) -> str:
    return "any" if limit is None else f"{limit:,}"


async def show(store: Store, owner: Owner, *, json: bool) -> None:
    """List what is used, and of how much."""
    await render.listing(quotas.show(store, owner), _LINES, json=json)


async def put(store: Store, owner: Owner, setting: Setting, *, json: bool) -> None:
    """Set limits and say so."""
    await quotas.put(store, owner, setting)
    _say("Set", owner, setting.namespace, json=json)


async def clear(store: Store, owner: Owner, namespace: str | None, *, json: bool) -> None:
    """Take limits away and say so."""
    await quotas.clear(store, owner, namespace)
    _say("Cleared", owner, namespace, json=json)


def _say(done: str, owner: Owner, namespace: str | None, *, json: bool) -> None:
    if json:
        say(as_json({"owner": owner.id, "namespace": namespace}))
    else:
        where = "" if namespace is None else f", namespace {namespace}"
        say(visible(f"{done} the quota of {owner}{where}; hosts know within a few seconds"))
