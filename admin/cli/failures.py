"""The one place that knows how the command ends: what went wrong -> one line on stderr, and an exit code.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the agent raised; nothing of that name; a condition did not hold; the answer was no |
| 2 | bad usage or configuration, which the line says how to mend |
| 3 | the store is unavailable |
| 4 | the run broke a limit |
| 70 | an internal error (sysexits' EX_SOFTWARE): a mistake of this program; `--debug` shows its traceback |
| 130 | interrupted (Ctrl-C); silent, since whoever did it knows |
| 141 | nobody reads stdout any more; silent, as a program that SIGPIPE ends |
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from typer import Abort, TyperException

from admin.cli.text import note

_MOST: Final = 500
"""Characters of an internal error's own words, which may quote anything."""


class ExitCode(IntEnum):
    """How the command ended."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    LIMIT = 4
    INTERNAL = 70
    INTERRUPTED = 130
    UNREAD = 141


_CODES: Final = {
    "store_unavailable": ExitCode.UNAVAILABLE,
    "not_found": ExitCode.REFUSED,
    "conflict": ExitCode.REFUSED,
    "quota_exceeded": ExitCode.REFUSED,
    "namespace_quota_exceeded": ExitCode.REFUSED,
    "user_quota_exceeded": ExitCode.REFUSED,
    "internal": ExitCode.INTERNAL,
}
"""The exit code of each DataStoreError; one that is not named here is a mistake of usage or configuration."""


class Unread(Exception):  # noqa: N818 - no error
    """Nobody reads stdout any more. Its own class, because typer turns the system's into exit code 1."""


@contextlib.contextmanager
def noticing_a_lost_reader() -> Iterator[None]:
    """Make a broken pipe `Unread`."""
    try:
        yield
    except BrokenPipeError as error:
        raise Unread from error


def report(error: BaseException, *, debug: bool) -> ExitCode:
    """Say what ended the command, and return its exit code."""
    code, line = _explained(error)
    with contextlib.suppress(OSError):  # Nobody may be left to read stderr either.
        if debug and line:
            traceback.print_exception(error)
        if line:
            note(line)
    _settle_stdout()
    return code


def _explained(error: BaseException) -> tuple[ExitCode, str]:
    from datastore.errors import DataStoreError  # noqa: PLC0415 - help must not wait for the store's modules

    match error:
        case Unread() | BrokenPipeError():
            return ExitCode.UNREAD, ""
        case OSError(errno=errno.ENOSPC):
            return ExitCode.INTERNAL, "the output could not be written: no space is left on its device."
        case KeyboardInterrupt() | Abort():
            return ExitCode.INTERRUPTED, ""
        case TyperException():
            return ExitCode.USAGE, _usage(error)
        case DataStoreError():
            return _CODES.get(error.code, ExitCode.USAGE), error.message
        case _:
            words = f"{type(error).__name__}: {error}"[:_MOST]
            return ExitCode.INTERNAL, f"internal error: {words}. `datastore --debug ...` shows where; please report it."


def _usage(error: TyperException) -> str:
    """Return a mistake in the command's words, with the help that explains them."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "datastore"
    return f"{error.format_message().rstrip('.')}. See `{path} --help`."


def _settle_stdout() -> None:
    """Write what is left; where that fails, let it go nowhere, since the interpreter's last flush would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
