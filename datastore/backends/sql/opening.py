"""Opening a SQLite store: the file is made, recognised as ours, and completed where something is missing.

Theory of operation: a header field that SQLite keeps for this marks the file as a data store. An empty database becomes
ours; one with somebody else's tables is refused untouched.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

from datastore.backends.sql import location, sqlite
from datastore.backends.sql.completing import Completion
from datastore.backends.sql.runner import Job, Runner
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.ports import Clock
from datastore.settings import Settings

_MARK: Final = 0x41445331


class Unusable(Exception):  # noqa: N818 - never leaves this module
    """The file cannot be used; the text is the reason and the remedy."""


async def open_runner(url: str, settings: Settings, clock: Clock) -> Runner:
    """Return the runner of the store that the URL names.

    Raises:
        ConfigurationError: the URL or the file cannot be used.
        StoreUnavailable: the file stays locked.
    """
    path = location.locate(url)
    if path is not None:
        location.prepare(path)
    file = File("the store in memory" if path is None else f"the store's file {path!r}")
    runner = Runner(sqlite, sqlite.lanes(path, clock), settings.operation_timeout_seconds, clock)
    try:
        await Completion(runner, file, settings.connect_timeout_seconds).complete()
        await runner.run(_check_log, writes=True, until=runner.deadline(settings.connect_timeout_seconds))
    except BaseException as error:
        await runner.aclose()
        if (reason := _reason(error)) is not None:
            raise ConfigurationError(f"{file.store_name} cannot be used: {reason}.") from error
        raise
    return runner


class File:
    """A database file; see `completing.Database`."""

    def __init__(self, store_name: str) -> None:
        self._store_name = store_name

    @property
    def store_name(self) -> str:
        """The store's name in messages."""
        return self._store_name

    async def inspect(self, job: Job) -> set[str]:
        """Return the names of what is in the file; raise if another application made it."""
        found = {str(row[0]) for row in await job.command("SELECT name FROM sqlite_master")}
        mark = (await job.command("PRAGMA application_id")).scalar_one()
        if mark != _MARK and (found or mark or await sqlite.read_header(job)):
            raise Unusable("it is another application's database. Name another file")
        return found

    async def mark(self, job: Job) -> None:
        """Mark an empty file as ours."""
        await job.command(f"PRAGMA application_id={_MARK}")


async def _check_log(job: Job) -> None:
    mode = (await job.command("PRAGMA journal_mode")).scalar_one()
    if mode not in ("wal", "memory"):
        raise Unusable("its file system cannot share memory between processes. Name a file on a local disk")


def _reason(error: BaseException) -> str | None:
    """Return why the file cannot be used, where no waiting helps."""
    if isinstance(error, Unusable):
        return str(error)
    cause = error.__cause__ if isinstance(error, StoreUnavailable) else None
    return sqlite.misconfiguration(cause) if isinstance(cause, DBAPIError) else None
