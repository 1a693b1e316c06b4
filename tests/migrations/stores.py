"""Stores of a test's own, on each engine; and where the recorded ones are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import pytest

from tests.servers.mongo import fresh_database
from tests.servers.postgres import fresh_postgres

RECORDED: Final = Path(__file__).with_name("recorded")


def fresh(engine: str, file: Path, request: pytest.FixtureRequest) -> AbstractContextManager[str]:
    """Give the URL of a store that nothing else has ever opened."""
    if engine == "postgresql":
        return fresh_postgres(request.getfixturevalue("postgres_server"))
    if engine == "mongodb":
        return fresh_database(request.getfixturevalue("server"))
    return nullcontext(f"sqlite:///{file}")
