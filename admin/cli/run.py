"""The words of `datastore run`. What it does is imported only when it is called."""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import Annotated

import typer

from admin.cli.options import Isolation, Launcher, RunAs, SitePackages, Url, examples

EXAMPLES = examples(
    "datastore run summarize.py --user alice",
    """datastore run summarize.py --user alice --input '{"file": "a.py"}' | jq .summary""",
    "datastore run summarize.py --user alice --manifest summarize.toml",
    "datastore run trusted.py --user alice --isolation unsafe_process --accept-no-isolation",
)


def run(
    agent_file: Annotated[str, typer.Argument(metavar="AGENT.py", help="The agent: def run(input_dict, tools).")],
    *,
    user: Annotated[str, typer.Option(metavar="USER", help="Whose data the agent sees.")],
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Its name.  [default: the file's stem]")] = None,
    given: Annotated[str | None, typer.Option("--input", metavar="JSON", help="input_dict.  [default: {}]")] = None,
    given_file: Annotated[
        str | None, typer.Option("--input-file", metavar="FILE", help="Read input_dict from FILE; - is stdin.")
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What it may read and write.  [default: all of the user's]"),
    ] = None,
    url: Url = None,
    isolation: Isolation = None,
    accept_no_isolation: Annotated[
        bool, typer.Option("--accept-no-isolation", help="The second yes that unsafe_process needs.")
    ] = False,
    launcher: Launcher = None,
    run_as: RunAs = None,
    site_packages: SitePackages = None,
    wall_seconds: Annotated[
        float | None, typer.Option(metavar="N", help="How long the run may take.  [default: 30]")
    ] = None,
) -> None:
    """Run an agent in a sandbox.

    Its result is printed on stdout as JSON; its log, and what went wrong, on stderr.

    Exit codes: 0 done, 1 the agent raised, 2 bad usage or configuration, 3 the store is unavailable, 4 the run broke
    a limit.
    """
    from admin.cli import running, session
    from admin.cli.cell import Cell

    order = running.Order.of(agent_file, user, agent, running.given_input(given, given_file), manifest)
    cell = Cell(isolation, accept_no_isolation, launcher, run_as, site_packages, wall_seconds)
    cell.limits()
    session.perform(url, lambda store, settings: running.run(store, settings, order, cell))
