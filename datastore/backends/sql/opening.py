"""Opening a SQLite store: the file is made, recognised as ours, and completed where something is missing.

Theory of operation: a header field that SQLite keeps for this marks the file as a data store, and another tells its
layout. An empty database becomes ours; one with somebody else's tables, or of a layout that this code does not know,
is refused untouched. Looking takes no lock that others would feel; only what is missing is made, in one transaction.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

from datastore.backends.sql import location, schema, sqlite
from datastore.backends.sql.runner import Job, Runner
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.settings import Settings

_MARK: Final = 0x41445331
_LAYOUT: Final = 2
_REPAIR_SECONDS: Final = 600.0
"""The index of a large file takes its time to be made again."""


async def open_runner(url: str, settings: Settings) -> Runner:
    """Return the runner of the store that the URL names.

    Raises:
        ConfigurationError: the URL or the file cannot be used.
        StoreUnavailable: the file stays locked.
    """
    path = location.locate(url)
    if path is not None:
        location.prepare(path)
    runner = Runner(sqlite, sqlite.lanes(path), settings.operation_timeout_seconds)
    try:
        await _complete(runner, settings.connect_timeout_seconds)
    except BaseException as error:
        await runner.aclose()
        if isinstance(error, (ConfigurationError, StoreUnavailable)):
            raise _explained(path, error) from error
        raise
    return runner


async def _complete(runner: Runner, seconds: float) -> None:
    found = await runner.run(_look, writes=False, until=runner.deadline(seconds))
    if not found >= schema.NAMES:
        patience = max(seconds, _REPAIR_SECONDS) if found else seconds
        await runner.run(_make, writes=True, until=runner.deadline(patience))
    await runner.run(_check_log, writes=True, until=runner.deadline(seconds))


async def _look(job: Job) -> set[str]:
    """Return the names of what is in the database, once it is known to be ours or empty.

    It looks at one moment: another process may be making it.
    """
    async with job.transaction():
        found = {str(row[0]) for row in await job.command("SELECT name FROM sqlite_master")}
        mark = (await job.command("PRAGMA application_id")).scalar_one()
        layout = (await job.command("PRAGMA user_version")).scalar_one()
    if mark != _MARK and (found or mark or layout):
        raise ConfigurationError("it is another application's database. Name another file")
    if mark == _MARK and layout != _LAYOUT:
        raise ConfigurationError(
            f"it has layout {layout}, and this version reads {_LAYOUT}. Open it with the version that made it"
        )
    return found


async def _check_log(job: Job) -> None:
    mode = (await job.command("PRAGMA journal_mode")).scalar_one()
    if mode not in ("wal", "memory"):
        raise ConfigurationError("its file system cannot share memory between processes. Name a file on a local disk")


async def _make(job: Job) -> None:
    async with job.transaction():
        for statement in schema.creation(sqlite):
            await job.execute(statement)
        await job.command(f"PRAGMA application_id={_MARK}")
        await job.command(f"PRAGMA user_version={_LAYOUT}")


def _explained(path: str | None, error: ConfigurationError | StoreUnavailable) -> Exception:
    """Return the error with the file's name; one that no waiting mends becomes a matter of configuration."""
    cause = error.__cause__
    wrong = sqlite.misconfiguration(cause) if isinstance(cause, DBAPIError) else None
    if wrong is None and isinstance(error, StoreUnavailable):
        return error
    return ConfigurationError(f"the store's file {path!r} cannot be used: {wrong or error}.")
