"""The words of `datastore admin copy`. What it does is imported only when it is called."""
# ruff: noqa: PLC0415 - help and mistakes of usage must not wait for the store's modules

from __future__ import annotations

from typing import Annotated

import typer

from admin.cli.options import AsJson, Existing, OneNamespace, Space, Url, User, examples

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "datastore admin copy --user alice --to-user alice-2026",
        "datastore admin copy --user alice --url sqlite:///laptop.db --to-url mongodb://db.example/agents",
        "datastore admin copy --space team --namespace plans --to-user alice --existing skip",
    )
)
def copy(
    *,
    user: User = None,
    space: Space = None,
    namespace: OneNamespace = None,
    to_user: Annotated[
        str | None, typer.Option(metavar="USER", help="Whose it becomes.  [default: whose it is]")
    ] = None,
    to_space: Annotated[str | None, typer.Option(metavar="SPACE", help="The space whose it becomes.")] = None,
    to_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The store of the copy.  [default: the same]")
    ] = None,
    existing: Existing = "refuse",
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Copy a user or space to another one, or to another store.

    Every entry comes to be as it was. Checks all of it before it writes anything; called again, it goes on.
    """
    from admin.actions.copying import Move
    from admin.actions.subject import Owner
    from admin.cli import archiving, session

    owner = Owner.of(user, space)
    target = owner if to_user is None and to_space is None else Owner.of(to_user, to_space)
    move = Move(owner, namespace, target, to_url, existing)
    session.perform(url, lambda store, settings: archiving.copy(store, settings, move, json=as_json))
