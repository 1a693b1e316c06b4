"""The verb `doctor`: a line for each level and one for the store, and an exit code for what is configured."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final

from admin.actions import checks
from admin.actions.checks import Finding
from admin.cli import render
from admin.cli.cell import Cell
from admin.cli.failures import ExitCode
from admin.cli.render import Column, Sheet
from admin.cli.text import discreet
from datastore.settings import Settings
from sandbox.isolation import LEVELS, choose

_ZYGOTE: Final = "strict, zygote"
"""The fast starts of strict; no setting asks for them."""


def _because(finding: Finding) -> str:
    if finding.reason is not None:
        return discreet(" ".join(f"{part.rstrip('.')}." for part in (finding.reason, finding.remedy) if part))
    if finding.name == "store":
        return f"it opened in {finding.seconds * 1000:,.0f} ms"
    isolation = ", without any isolation" if finding.name == "unsafe_process" else ""
    return f"an agent ran in {finding.seconds * 1000:,.0f} ms{isolation}"


FINDINGS: Final[Sheet[Finding]] = Sheet(
    (
        Column("check", lambda each: each.name),
        Column("configured", lambda each: "yes" if each.configured else "no"),
        Column("works", lambda each: "yes" if each.works else "no"),
        Column("because", _because),
    ),
    lambda each: {
        "check": each.name,
        "configured": each.configured,
        "works": each.works,
        "seconds": round(each.seconds, 3),
        "reason": each.reason and discreet(each.reason),
        "remedy": each.remedy,
    },
)


async def examine(settings: Settings, cell: Cell, *, json: bool) -> ExitCode:
    """Print what works; return DONE if all that is configured does.

    Raises:
        ConfigurationError: there is no level of the configured name.
    """
    configured = cell.isolation or settings.isolation
    if configured not in LEVELS:
        choose(configured)
    ends = [ExitCode.DONE]

    async def pages() -> AsyncIterator[list[Finding]]:
        found = [await _level(name, settings, cell, configured=name == configured) for name in LEVELS]
        its = replace(cell, isolation="strict", launcher=None)
        found.insert(1, await checks.level(_ZYGOTE, lambda: its.level(settings, zygote=True), configured=False))
        found.append(await checks.store(settings))
        ends.extend(_end(each) for each in found if each.configured and not each.works)
        yield found

    with _unheard_warnings():
        await render.listing(pages(), FINDINGS, json=json)
    return ends[1] if ends[1:] else ends[0]


async def _level(name: str, settings: Settings, cell: Cell, *, configured: bool) -> Finding:
    launcher = cell.launcher if name == "external" else None
    its = replace(cell, isolation=name, accept_no_isolation=True, launcher=launcher)
    return await checks.level(name, lambda: its.level(settings), configured=configured)


def _end(finding: Finding) -> ExitCode:
    return ExitCode.UNAVAILABLE if finding.code == "store_unavailable" else ExitCode.USAGE


@contextlib.contextmanager
def _unheard_warnings() -> Iterator[None]:
    """Keep what the sandbox warns of at each start, which the list says too, out of stderr."""
    log, unheard = logging.getLogger("datastore.sandbox"), _Nothing()
    log.addFilter(unheard)
    try:
        yield
    finally:
        log.removeFilter(unheard)


class _Nothing(logging.Filter):
    def filter(self, _record: logging.LogRecord) -> bool:
        return False
