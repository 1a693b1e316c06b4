"""The verbs of `datastore admin audit`: show, verify and prune."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from admin.actions import audit
from admin.actions.audit_check import Check, Finding
from admin.cli import render
from admin.cli.changing import Consent, confirmed
from admin.cli.failures import ExitCode
from admin.cli.render import Column, Sheet
from admin.cli.text import as_json, note, say
from datastore import names
from datastore.chain import Head, Row
from datastore.errors import InvalidArgument
from datastore.ports import Look
from datastore.service.store import Store

_AGE: Final = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def _text(fact: object) -> str:
    return "-" if fact is None else str(fact)


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


ROWS: Final[Sheet[Row]] = Sheet(
    (
        Column("time (UTC)", lambda each: _time(each.at)),
        Column("user", lambda each: _text(each.deed.by_user)),
        Column("agent", lambda each: _text(each.deed.by_agent)),
        Column("run", lambda each: _text(each.deed.by_run)),
        Column("operation", lambda each: _text(each.deed.operation)),
        Column("owner", lambda each: _text(each.deed.owner)),
        Column("namespace", lambda each: _text(each.deed.namespace)),
        Column("key", lambda each: _text(each.deed.key)),
        Column("bytes", lambda each: _text(each.deed.size_bytes), right=True),
        Column("version", lambda each: _text(each.deed.version)),
        Column("entries", lambda each: _text(each.deed.number), right=True),
        Column("outcome", lambda each: _text(each.deed.outcome)),
    ),
    lambda each: {
        "at": each.at.isoformat(timespec="milliseconds"),
        **asdict(each.deed),
        "chain": each.chain,
        "seq": each.seq,
        "emptied": each.salt is None,
    },
)
FINDINGS: Final[Sheet[Finding]] = Sheet((Column("finding", str),), asdict)


def look(
    user: str | None, agent: str | None, namespace: str | None, key: str | None, since: str | None, until: str | None
) -> Look:
    """Return which rows are wanted.

    Raises:
        InvalidName, InvalidArgument: a name or time is unusable.
    """
    given = {"user": user, "agent": agent, "stored namespace": namespace, "key": key}
    user, agent, namespace, key = (None if each is None else names.text(kind, each) for kind, each in given.items())
    times = (None if each is None else moment_of(name, each) for name, each in (("--since", since), ("--until", until)))
    return Look(user, agent, namespace, key, *times)


def moment_of(option: str, text: str, *, ages_only: bool = False) -> datetime:
    """Return a time: an age, counted from now, or an ISO 8601 time, of UTC where it names no other zone.

    Raises:
        InvalidArgument: it is neither.
    """
    if found := _AGE.fullmatch(text):
        age = timedelta(**{_UNITS[found[2]]: int(found[1])})
        now = datetime.now(UTC)
        return now - min(age, now - datetime(1970, 1, 1, tzinfo=UTC))
    try:
        when = None if ages_only else _in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        when = None
    if when is None:
        forms = "an age such as 90d or 36h" if ages_only else "a time such as 2026-11-20T12:00, or an age such as 36h"
        raise InvalidArgument(f"{option} takes {forms}, got {text!r}.")
    return when


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


async def show(store: Store, wanted: Look, limit: int | None, *, json: bool) -> None:
    """List rows."""
    if not await render.listing(audit.rows(store, wanted, limit), ROWS, json=json):
        note("the audit log has no such rows")


def heads(files: list[str]) -> dict[str, Head] | None:
    """Return the last known head of each chain, or None where no file is given.

    Raises:
        InvalidArgument: a file cannot be read, or holds something else.
    """
    known: dict[str, Head] = {}
    for name in files:
        try:
            with Path(name).open("rb") as source:
                audit.heads(source, name, known)
        except OSError as error:
            reason = (error.strerror or "the system refuses").lower()
            raise InvalidArgument(f"--head {name!r} cannot be read: {reason}. Name a file of heads.") from error
    return known if files else None


async def verify(store: Store, known: dict[str, Head] | None, *, json: bool) -> ExitCode:
    """Print what is wrong with the log, then how much was looked at."""
    check = Check(known)

    async def pages() -> AsyncIterator[list[Finding]]:
        async for page in audit.verify(store, check):
            yield page

    await render.listing(pages(), FINDINGS, json=json)
    if json:
        counts = {name: getattr(check, name) for name in ("rows", "chains", "emptied", "findings")}
        say(as_json({**counts, "unvouched": None if known is None else check.unvouched}))
    else:
        say(_summary(check))
    return ExitCode.REFUSED if check.findings else ExitCode.DONE


def _summary(check: Check) -> str:
    found = _number(check.findings, "finding") if check.findings else "nothing is wrong"
    told = f"{_number(check.rows, 'row')} in {_number(check.chains, 'chain')}, {check.emptied:,} emptied: {found}."
    if check.heads is None:
        return f"{told} Without --head, that rows were cut off the end of a chain cannot be excluded."
    return f"{told} No head vouches for {check.unvouched:,} of them." if check.unvouched else told


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


async def prune(store: Store, before: datetime, consent: Consent, *, json: bool) -> ExitCode:
    """Say how many rows go, ask, do it, and say what went."""
    count = await audit.old(store, before)
    told = f"{_number(count, 'row')} of the audit log from before {_time(before)} UTC"
    if not (consent.yes or consent.dry_run) and not await confirmed(f"Remove {told}? [y/N] "):
        note("nothing was removed")
        return ExitCode.REFUSED
    removed = 0 if consent.dry_run else await audit.prune(store, before)
    if json:
        say(as_json({"rows": count, "removed": removed, "dry_run": consent.dry_run}))
    else:
        say(f"Would remove {told}" if consent.dry_run else f"Removed {_number(removed, 'row')} of the audit log")
    return ExitCode.DONE
