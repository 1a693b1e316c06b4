"""The options that several verbs share, each said once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The store.  [default: DATASTORE_URL, then SQLite in the data folder]"),
]
User = Annotated[str | None, typer.Option("--user", metavar="USER", help="Whose data: a user's.")]
Space = Annotated[str | None, typer.Option("--space", metavar="SPACE", help="Whose data: a shared space's.")]
Namespace = Annotated[str, typer.Option("--namespace", metavar="NAME", help="The namespace; also the host's own.")]
OneNamespace = Annotated[str | None, typer.Option("--namespace", metavar="NAME", help="Only this one.")]
Prefix = Annotated[str | None, typer.Option("--prefix", metavar="TEXT", help="Only those that begin with TEXT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: a line per item of a list, else one object.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The entry's key.")]
Existing = Annotated[
    Literal["refuse", "skip", "overwrite"],
    typer.Option("--existing", help="What to do where another entry stands.", show_default=True),
]
Isolation = Annotated[
    str | None,
    typer.Option(
        "--isolation", metavar="LEVEL", help="strict, landlock, unsafe_process or external.  [default: strict]"
    ),
]
Launcher = Annotated[
    str | None, typer.Option("--launcher", metavar="COMMAND", help="What launches guests at the level external.")
]
RunAs = Annotated[
    str | None,
    typer.Option(
        "--run-as", metavar="ACCOUNT", help="Who launches guests; uids at landlock.  [default for root: nobody]"
    ),
]
SitePackages = Annotated[
    str | None, typer.Option("--site-packages", metavar="DIR", help="A folder of packages that agents may import.")
]

DEFAULT_NAMESPACE = "default"


def examples(*lines: str) -> str:
    """Return the end of a verb's help."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])
