"""The words of `datastore doctor`. What it does is imported only when it is called."""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import Final

from admin.cli.options import AsJson, Isolation, Launcher, RunAs, SitePackages, Url, examples

EXAMPLES: Final = examples(
    "datastore doctor",
    "datastore doctor --url mongodb://db.example/agents --run-as agents",
    "datastore doctor --json | jq -r 'select(.works | not) | .remedy'",
)


def doctor(
    *,
    url: Url = None,
    isolation: Isolation = None,
    launcher: Launcher = None,
    run_as: RunAs = None,
    site_packages: SitePackages = None,
    json: AsJson = False,
) -> None:
    """Say what this machine can do, level by level, and why not.

    At each level an agent of our own runs; the store is opened, as every command opens it.

    Exit codes: 0 the configured level and the store work, 2 one of them does not, 3 the store is unavailable.
    """
    from admin.cli import checking, session
    from admin.cli.cell import Cell

    cell = Cell(isolation, False, launcher, run_as, site_packages, None)
    session.consider(url, lambda settings: checking.examine(settings, cell, json=json))
