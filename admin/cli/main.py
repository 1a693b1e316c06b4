"""The command `datastore`: what it is called with -> an exit code. It never ends in a traceback that was not asked for.

Starting is quick because nothing here imports the store: help and mistakes of usage need typer alone.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from typing import Annotated

import typer

from admin.cli import admin, failures
from admin.cli import doctor as examining
from admin.cli import run as running
from admin.cli.options import examples

app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.command(epilog=running.EXAMPLES)(running.run)
app.command(epilog=examining.EXAMPLES)(examining.doctor)
app.add_typer(admin.app, name="admin")


@dataclass(slots=True)
class Switches:
    """What the command as a whole was told."""

    debug: bool = False


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"datastore {version('agent-data-store')}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        'datastore run agent.py --user alice --input \'{"file": "a.py"}\'',
        "datastore admin users",
        "datastore admin keys --user alice --namespace files:repo",
        "datastore prompt >> my-agents-system-prompt.md",
    ),
)
def datastore(
    ctx: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of whatever goes wrong.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run agents on their users' data, and look after that data.

    The store is the one that --url or DATASTORE_URL names: sqlite:///FILE, postgresql://HOST/DATABASE,
    mongodb://HOST/DATABASE; without either, a SQLite file in the platform's data folder.
    """
    ctx.obj.debug = debug
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(failures.ExitCode.USAGE)


@app.command()
def prompt() -> None:
    """Teach a language model to write agents.

    Prints at most 60 lines, every one of them tested.
    """
    with failures.noticing_a_lost_reader():
        sys.stdout.write((resources.files("admin.cli") / "prompt.txt").read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: the words after the command's name; default: this process's own.
    """
    switches = Switches()
    _heed_interrupts()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, prog_name="datastore", obj=switches, standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the end of every error
        return failures.report(error, debug=switches.debug)
    return int(code or 0)


def _heed_interrupts() -> None:
    """End on Ctrl-C also where a shell, or a CI system, started this process in the background with SIGINT ignored."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
