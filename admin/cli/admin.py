"""The words of `datastore admin`: verbs, options and help. What they do is imported only when one is called.

One subject, so longer than most files.
"""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from admin.cli import audit, quota, survey, transfer
from admin.cli.options import (
    DEFAULT_NAMESPACE,
    AsJson,
    Existing,
    Key,
    Namespace,
    OneNamespace,
    Prefix,
    Space,
    Url,
    User,
    examples,
)

if TYPE_CHECKING:
    from admin.actions.subject import Area

app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.add_typer(survey.app)
app.add_typer(transfer.app)
app.add_typer(audit.app, name="audit")
app.add_typer(quota.app, name="quota")


@app.callback(invoke_without_command=True)
def admin(ctx: typer.Context) -> None:
    """Look at what users and spaces hold, and change it. No look is counted as a read.

    Exit codes: 0 done, 1 nothing of that name (or the answer was no), 2 bad usage or configuration, 3 the store is
    unavailable.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


@app.command(epilog=examples("datastore admin users", "datastore admin users --json | jq -r .owner"))
def users(*, as_json: AsJson = False, url: Url = None) -> None:
    """List users and spaces.

    Shows namespaces, keys, bytes and the last write of each; a space stands there as @SPACE.
    """
    from admin.cli import inspecting, session

    session.perform(url, lambda store, _: inspecting.users(store, json=as_json))


@app.command(epilog=examples("datastore admin namespaces --user alice", "datastore admin namespaces --space team"))
def namespaces(
    *, user: User = None, space: Space = None, prefix: Prefix = None, as_json: AsJson = False, url: Url = None
) -> None:
    """List the namespaces of a user or space.

    Shows keys, bytes and the last write of each, the host's own namespaces (@agent/NAME) too.
    """
    from admin.actions.subject import Owner
    from admin.cli import inspecting, session

    owner = Owner.of(user, space)

    session.perform(url, lambda store, _: inspecting.namespaces(store, owner, prefix, json=as_json))


@app.command(
    epilog=examples(
        "datastore admin keys --user alice --namespace files:repo --prefix summary:",
        "datastore admin keys --user alice --namespace @agent/writer --json",
    )
)
def keys(
    *,
    user: User = None,
    space: Space = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    prefix: Prefix = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N; default: all.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the keys of a namespace.

    Shows bytes, version, when and by whom updated, and expiry of each.
    """
    from admin.cli import inspecting, session

    area = _area(user, space, namespace)

    session.perform(url, lambda store, _: inspecting.keys(store, area, prefix, limit, json=as_json))


@app.command(
    epilog=examples(
        "datastore admin show --user alice config",
        "datastore admin show --user alice --namespace files:repo a.py --json | jq .value",
        "datastore admin show --user alice photo --raw > photo.png",
    )
)
def show(
    key: Key,
    *,
    user: User = None,
    space: Space = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    raw: Annotated[bool, typer.Option("--raw", help="Print the value alone: bytes as they are, or JSON.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Print one entry.

    Shows its value, metadata and version, who wrote it and when.
    """
    from admin.cli import inspecting, session

    area = _area(user, space, namespace)
    form = inspecting.form(raw=raw, json=as_json)

    session.perform(url, lambda store, _: inspecting.show(store, area, key, form))


@app.command(
    "set",
    epilog=examples(
        'datastore admin set --user alice config \'{"lang": "en"}\'',
        "datastore admin set --user alice greeting --text 'good morning'",
        "datastore admin set --user alice report --file report.json --ttl-seconds 3600",
        "datastore admin set --user alice photo --file photo.png --binary",
        "datastore admin set --user alice balance -- -5",
    ),
)
def put(
    key: Key,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="JSON; - reads stdin.")] = None,
    *,
    user: User = None,
    space: Space = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    file: Annotated[str | None, typer.Option(metavar="FILE", help="Read the value from FILE; - is stdin.")] = None,
    text: Annotated[bool, typer.Option("--text", help="The value is a plain string, not JSON.")] = False,
    binary: Annotated[bool, typer.Option("--binary", help="The value is bytes as they are, not JSON.")] = False,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="Merged into what stands.")] = None,
    ttl_seconds: Annotated[float | None, typer.Option(metavar="N", help="Expire in N; default: never.")] = None,
    if_version: Annotated[str | None, typer.Option(metavar="V", help="Write only over this version.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Write one entry.

    It takes the place of whatever stands there, and is recorded as written by @admin/YOU.
    """
    from admin.cli import changing, session

    area = _area(user, space, namespace)
    draft = changing.draft(
        key,
        value,
        file,
        text=text,
        binary=binary,
        metadata=metadata,
        ttl_seconds=ttl_seconds,
        if_version=if_version,
    )
    session.perform(url, lambda store, _: changing.put(store, area, draft, json=as_json))


@app.command(
    epilog=examples(
        "datastore admin delete --user alice config",
        "datastore admin delete --user alice --namespace files:repo --prefix old: --dry-run",
        "datastore admin delete --user alice --namespace files:repo --all --yes",
    )
)
def delete(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The entry to delete.")] = None,
    *,
    user: User = None,
    space: Space = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="The namespace; must be named with --prefix and --all.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(metavar="TEXT", help="Delete the keys that begin with TEXT.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the whole namespace.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Delete one entry, or many.

    Takes one KEY, the keys with --prefix, or --all of a namespace. Says first what will go, and asks.
    """
    from admin.actions.changes import Selection
    from admin.cli import changing, session

    selection = Selection.of(key, prefix, everything=everything)
    area = _area(user, space, changing.namespace_of(selection, namespace))
    consent = changing.Consent(yes=yes, dry_run=dry_run)
    consent.check()
    session.perform(url, lambda store, _: changing.delete(store, area, selection, consent, json=as_json))


@app.command(
    epilog=examples(
        "datastore admin export --user alice > alice.ndjson",
        "datastore admin export --space team --namespace plans | gzip > plans.ndjson.gz",
    )
)
def export(
    *,
    user: User = None,
    space: Space = None,
    namespace: OneNamespace = None,
    url: Url = None,
) -> None:
    """Write all entries of a user or space to stdout, as an archive.

    Each with its value, metadata, provenance and expiry; docs/archive.md has the form.
    """
    from admin.actions.subject import Owner
    from admin.cli import archiving, session

    owner = Owner.of(user, space)
    archiving.check_stdout()
    session.perform(url, lambda store, _: archiving.export(store, owner, namespace))


@app.command(
    "import",
    epilog=examples(
        "datastore admin import --user alice alice.ndjson",
        "zcat plans.ndjson.gz | datastore admin import --space team - --existing skip",
    ),
)
def load(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The archive; - reads stdin.")],
    *,
    user: User = None,
    space: Space = None,
    existing: Existing = "refuse",
    with_limits: Annotated[bool, typer.Option("--with-limits", help="Set the quota of the archive, too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Restore an archive into a user or space.

    Checks all of it before it writes anything. Called again after an interruption, it goes on.
    """
    from admin.actions.subject import Owner
    from admin.cli import archiving, session

    owner = Owner.of(user, space)
    session.perform(
        url, lambda store, _: archiving.load(store, owner, file, existing, with_limits=with_limits, json=as_json)
    )


@app.command(
    epilog=examples(
        "datastore admin erase --user alice --dry-run",
        "datastore admin erase --user alice --yes --json > receipt.json",
    )
)
def erase(
    *,
    user: User = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Take a user out of the store, for good.

    Blocks the user, removes all that it holds and its name in spaces, and keeps a receipt; docs/erasure.md says what is
    out of reach. Says first what will go, and asks. Called again after an interruption, it goes on.
    """
    from admin.cli import changing, erasing, session

    name = erasing.user_of(user)
    consent = changing.Consent(yes=yes, dry_run=dry_run)
    consent.check()
    session.perform(url, lambda store, settings: erasing.erase(store, settings, name, consent, json=as_json))


@app.command(epilog=examples("datastore admin block --user mallory"))
def block(*, user: User = None, as_json: AsJson = False, url: Url = None) -> None:
    """Refuse all that a user's agents do, on every host.

    Nothing is removed. It holds everywhere within two seconds, until `unblock`.
    """
    from admin.cli import erasing, session

    name = erasing.user_of(user)
    session.perform(url, lambda store, _: erasing.block(store, name, json=as_json))


@app.command(epilog=examples("datastore admin unblock --user mallory"))
def unblock(*, user: User = None, as_json: AsJson = False, url: Url = None) -> None:
    """Let a blocked user's agents act again, also those of a user that was erased."""
    from admin.cli import erasing, session

    name = erasing.user_of(user)
    session.perform(url, lambda store, _: erasing.unblock(store, name, json=as_json))


def _area(user: str | None, space: str | None, namespace: str) -> Area:
    from admin.actions.subject import Area, Owner

    area = Area(Owner.of(user, space), namespace)
    _ = area.place  # Refuses a name that is none before the store is opened.
    return area
