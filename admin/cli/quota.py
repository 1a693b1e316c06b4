"""The words of `datastore admin quota`: verbs, options and help; `quotas` does what they say."""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from admin.cli.options import AsJson, Space, Url, User, examples

if TYPE_CHECKING:
    from admin.actions.subject import Owner

app = typer.Typer(rich_markup_mode=None, add_completion=False)

One = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="Only this one; * is each without its own.")
]


@app.callback(invoke_without_command=True)
def quota(ctx: typer.Context) -> None:
    """Look at how much users and spaces may hold, and set it for single ones."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


@app.command(epilog=examples("datastore admin quota show --user alice"))
def show(*, user: User = None, space: Space = None, as_json: AsJson = False, url: Url = None) -> None:
    """Show what a user or space holds, and the most that it may.

    The settings of this command's own environment stand for the host's.
    """
    from admin.actions.subject import Owner
    from admin.cli import quotas, session

    owner = Owner.of(user, space)
    session.perform(url, lambda store, _: quotas.show(store, owner, json=as_json))


@app.command(
    "set",
    epilog=examples(
        "datastore admin quota set --user alice --bytes 1000000 --keys 500",
        "datastore admin quota set --space team --namespace plans --keys 20",
        "datastore admin quota set --user alice --namespace '*' --bytes 50000",
    ),
)
def put(
    *,
    user: User = None,
    space: Space = None,
    namespace: One = None,
    most_bytes: Annotated[
        int | None, typer.Option("--bytes", min=0, metavar="N", help="The most bytes of values together.")
    ] = None,
    most_keys: Annotated[int | None, typer.Option("--keys", min=0, metavar="N", help="The most keys.")] = None,
    value_bytes: Annotated[
        int | None, typer.Option("--value-bytes", min=1, metavar="N", help="The most bytes of one value.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Set the limits of one user or space.

    They take the place of the host's own; what is not said stays as it is.
    """
    from admin.actions.quotas import Setting
    from admin.cli import quotas, session

    owner = _owner(user, space, namespace)
    setting = Setting(namespace, most_bytes, most_keys, value_bytes)
    setting.check()
    session.perform(url, lambda store, _: quotas.put(store, owner, setting, json=as_json))


@app.command(epilog=examples("datastore admin quota clear --user alice"))
def clear(
    *, user: User = None, space: Space = None, namespace: One = None, as_json: AsJson = False, url: Url = None
) -> None:
    """Take back what was set for one user or space.

    The host's own limits apply again.
    """
    from admin.cli import quotas, session

    owner = _owner(user, space, namespace)
    session.perform(url, lambda store, _: quotas.clear(store, owner, namespace, json=as_json))


def _owner(user: str | None, space: str | None, namespace: str | None) -> Owner:
    from admin.actions.subject import Area, Owner

    owner = Owner.of(user, space)
    if namespace is not None:
        _ = Area(owner, namespace).place  # Refuses a name that is none before the store is opened.
    return owner
