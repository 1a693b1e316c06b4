"""Databases that nothing has used before, on each engine, and dropped as a whole afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tests.servers.mongo import fresh_database
from tests.servers.postgres import fresh_postgres


def fresh(engine: str, folder: Path, server: Callable[[str], str]) -> AbstractContextManager[str]:
    """Yield the URL of a new database.

    Args:
        engine: `sqlite`, `postgresql` or `mongodb`.
        folder: holds the file of SQLite.
        server: returns the URL of an engine's server.
    """
    if engine == "sqlite":
        return nullcontext(f"sqlite:///{folder / 'store.db'}")
    make = fresh_postgres if engine == "postgresql" else fresh_database
    return make(server(engine))
