"""The words of `datastore admin stats | top | find | check`. What they do is imported only when one is called."""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from admin.cli.options import AsJson, OneNamespace, Space, Url, User, examples

if TYPE_CHECKING:
    from admin.actions.subject import Owner

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "datastore admin stats",
        "datastore admin stats --user alice --within-seconds 3600",
        "datastore admin stats --json > monday.ndjson",
        "datastore admin stats --since monday.ndjson",
    )
)
def stats(
    *,
    user: User = None,
    space: Space = None,
    within_seconds: Annotated[
        float, typer.Option(metavar="N", help="What was written or created within N counts as such.")
    ] = 86_400,
    since: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only what changed since FILE, a saved `stats --json`.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Say who uses how much, and what grew.

    A line for each user and space, or for each namespace of one of them, and the sum. Looks at every record.
    """
    from admin.cli import session, surveying
    from datastore import names

    owner, seconds = _owner(user, space), names.seconds("--within-seconds", within_seconds)
    if since is None:
        session.perform(url, lambda store, _: surveying.stats(store, owner, seconds, json=as_json))
    else:
        session.perform(url, lambda store, _: surveying.growth(store, owner, since, json=as_json))


@app.command(
    epilog=examples("datastore admin top", "datastore admin top --user alice --by reads --limit 3"),
)
def top(
    *,
    user: User = None,
    space: Space = None,
    namespace: OneNamespace = None,
    by: Annotated[Literal["bytes", "reads"], typer.Option("--by", help="What makes an entry large.")] = "bytes",
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many.")] = 10,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the largest entries, or the most read.

    Looks at every record of what is named, which is the whole store where nothing is.
    """
    from admin.actions.surveys import Extent
    from admin.cli import session, surveying

    extent = Extent(_owner(user, space), namespace)
    session.perform(url, lambda store, _: surveying.top(store, extent, by, limit, json=as_json))


@app.command(
    epilog=examples(
        "datastore admin find --written-by summarizer",
        "datastore admin find --user alice --never-read --json",
        "datastore admin find --expires-within-seconds 3600",
    )
)
def find(
    *,
    user: User = None,
    space: Space = None,
    namespace: OneNamespace = None,
    written_by: Annotated[str | None, typer.Option(metavar="AGENT", help="Created or last updated by AGENT.")] = None,
    read_by: Annotated[str | None, typer.Option(metavar="AGENT", help="Last read by AGENT.")] = None,
    never_read: Annotated[bool, typer.Option("--never-read", help="Never read by an agent.")] = False,
    expires_within_seconds: Annotated[float | None, typer.Option(metavar="N", help="Expiring within N.")] = None,
    written_within_seconds: Annotated[float | None, typer.Option(metavar="N", help="Written within N.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the entries that meet all of some conditions.

    Looks at every record of what is named, which is the whole store where nothing is.
    """
    from admin.actions.surveys import Condition, Extent
    from admin.cli import session, surveying
    from datastore import names

    extent = Extent(_owner(user, space), namespace)
    condition = Condition(
        written_by,
        read_by,
        never_read,
        None if expires_within_seconds is None else names.seconds("--expires-within-seconds", expires_within_seconds),
        None if written_within_seconds is None else names.seconds("--written-within-seconds", written_within_seconds),
    )
    session.perform(url, lambda store, _: surveying.find(store, extent, condition, json=as_json))


@app.command(
    epilog=examples("datastore admin check", "datastore admin check --values --json"),
)
def check(
    *,
    user: User = None,
    space: Space = None,
    values: Annotated[bool, typer.Option("--values", help="Read every value too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Look for broken records, and for indexes that are missing or unusable.

    Exit codes: 0 nothing is wrong, 1 something is, and each fault has a line.
    """
    from admin.cli import session, surveying

    owner = _owner(user, space)
    session.perform(url, lambda store, _: surveying.check(store, owner, values=values, json=as_json))


def _owner(user: str | None, space: str | None) -> Owner | None:
    """Return the owner that is named; None: nobody is, so all are meant."""
    from admin.actions.subject import Owner

    return None if user is None and space is None else Owner.of(user, space)
