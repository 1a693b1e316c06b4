"""The verb `run`: one agent in a sandbox; its result alone on stdout, its log and what went wrong on stderr."""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from admin.cli import sources
from admin.cli.cell import Cell
from admin.cli.failures import ExitCode
from admin.cli.text import as_json, note, say, visible
from datastore import names
from datastore.errors import InvalidArgument
from datastore.grants import Grant
from datastore.manifest import grants_of
from datastore.models import Scope
from datastore.service.store import Store
from datastore.settings import Settings
from sandbox import Event, RunResult

_ENDS: Final = {
    "done": ExitCode.DONE,
    "raised": ExitCode.REFUSED,
    "limit": ExitCode.LIMIT,
    "store_unavailable": ExitCode.UNAVAILABLE,
    "no_slot": ExitCode.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, for whom, and with what."""

    file: str
    code: str
    scope: Scope
    input: Any

    @classmethod
    def of(cls, file: str, user: str, agent: str | None, given: Any, manifest: str | None) -> Self:
        """Read the agent and its manifest; without one it may use everything of the user.

        Raises:
            InvalidArgument: a file cannot be read.
            InvalidName: user or agent are unusable.
            ConfigurationError: the manifest is unusable.
        """
        scope = Scope(
            user=names.name("user", user),
            agent=names.name("agent", Path(file).stem if agent is None else agent),
            grants=(Grant.own(),) if manifest is None else _asked(manifest),
        )
        return cls(file, sources.text_of(file), scope, given)


def _asked(manifest: str) -> tuple[Grant, ...]:
    return grants_of(sources.text_of(manifest), f"--manifest {manifest!r}")


def given_input(given: str | None, file: str | None) -> Any:
    """Return the agent's input; `{}` where none was given.

    Raises:
        InvalidArgument: a file cannot be read, or the input is no JSON.
    """
    if given is not None and file is not None:
        raise InvalidArgument("--input and --input-file exclude each other. Keep one.")
    if file is not None:
        return sources.json_of(sources.text_of(file), f"--input-file {file!r}")
    hint = """ Quote it for the shell: --input '{"file": "a.py"}'."""
    return {} if given is None else sources.json_of(given, "--input", hint)


async def run(store: Store, settings: Settings, order: Order, cell: Cell) -> ExitCode:
    """Run the agent, print its result, and say how it ended."""
    log = _Log()
    async with cell.sandbox(store, settings) as sandbox:
        result = await sandbox.run(
            order.code, order.input, scope=order.scope, file=visible(order.file), on_event=log.hear
        )
    log.end(result)
    if result.outcome == "done":
        say(as_json(_output(result.output)))
    else:
        _explain(result)
    return _ENDS[result.outcome]


class _Log:
    """The agent's log on stderr, as it comes."""

    def __init__(self) -> None:
        self._last = "\n"

    def hear(self, event: Event) -> None:
        if event.log is not None:
            self._last = event.log[-1:]
            sys.stderr.write(visible(event.log, keep="\n\t"))
            sys.stderr.flush()

    def end(self, result: RunResult) -> None:
        if self._last != "\n":
            sys.stderr.write("\n")
        if result.log_dropped:
            note("the log was longer than a run may keep; the rest was dropped")


def _output(output: Any) -> Any:
    return {"base64": base64.b64encode(output).decode("ascii")} if isinstance(output, bytes) else output


def _explain(result: RunResult) -> None:
    if result.traceback:
        sys.stderr.write(visible(result.traceback, keep="\n\t"))
    match result.outcome:
        case "limit":
            note(f"the run broke its limit {result.limit}: {result.error}")
        case "raised":
            note(f"the agent raised {result.error}")
        case _:
            note(str(result.error))
