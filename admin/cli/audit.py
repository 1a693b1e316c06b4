"""The words of `datastore admin audit`: verbs, options and help. What they do is imported only when one is called."""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import Annotated

import typer

from admin.cli.options import AsJson, Url, examples

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="From then on: a time, or an age such as 36h or 7d.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Before then: a time, or an age.")]


@app.callback(invoke_without_command=True)
def audit(ctx: typer.Context) -> None:
    """Look at who did what, check that the log is as it was written, and remove what is old.

    DATASTORE_AUDIT=writes or =all makes the hosts of a store write it; docs/audit.md has the whole of it.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


@app.command(
    epilog=examples(
        "datastore admin audit show --user alice --since 24h",
        "datastore admin audit show --namespace files:repo --key a.py --json",
    )
)
def show(
    *,
    user: Annotated[str | None, typer.Option("--user", metavar="USER", help="What this user's agents did.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="What this agent did.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", metavar="NAME", help="Only in this one.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only on this key.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N; default: all.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List who did what, in the order of time.

    Shows time, user, agent, run, operation, owner, namespace, key, bytes, version and outcome; never a value.
    """
    from admin.cli import auditing, session

    look = auditing.look(user, agent, namespace, key, since, until)
    session.perform(url, lambda store, _: auditing.show(store, look, limit, json=as_json))


@app.command(epilog=examples("datastore admin audit verify", "datastore admin audit verify --head heads.ndjson --json"))
def verify(
    *,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="FILE", help="Heads that hosts wrote down; for each of their files."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Find rows that were changed, removed, moved or cut off.

    Exit code 1 if there is one. Without --head nobody can tell whether rows were cut off the end of a chain.
    """
    from admin.cli import auditing, session

    known = auditing.heads(head or [])
    session.perform(url, lambda store, _: auditing.verify(store, known, json=as_json))


@app.command(epilog=examples("datastore admin audit prune --older-than 90d --dry-run"))
def prune(
    *,
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help="A day at least, such as 90d.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Remove rows that are older than an age.

    Says first how many will go, and asks. The chains stay whole, and the log says that it was done.
    """
    from admin.cli import auditing, session
    from admin.cli.changing import Consent

    before = auditing.moment_of("--older-than", older_than, ages_only=True)
    consent = Consent(yes=yes, dry_run=dry_run)
    consent.check()
    session.perform(url, lambda store, _: auditing.prune(store, before, consent, json=as_json))
