"""A server that cannot start is an error and never a skip: a suite that proved nothing must not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import mongo, postgres


def test_a_postgresql_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATASTORE_TEST_POSTGRES_URL", raising=False)
    monkeypatch.setattr(postgres, "installed", lambda _program: "/bin/false")
    with pytest.raises(RuntimeError, match="initdb fails"), postgres.postgres():
        pass
    monkeypatch.setattr(postgres.Server, "initialise", lambda _server: None)
    monkeypatch.setattr(postgres, "_command_line", lambda _program: ["/bin/sh", "-c", "echo broken; exit 1"])
    with pytest.raises(RuntimeError, match=r"(?s)PostgreSQL does not start.*broken"), postgres.postgres():
        pass


def test_a_postgresql_that_is_not_there_is_an_error_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "Path", lambda _folder: Path("/nowhere"))
    monkeypatch.setattr("shutil.which", lambda _program: None)
    with pytest.raises(RuntimeError, match="install the package `postgresql`"):
        postgres.installed("postgres")


def test_a_mongod_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho broken\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.delenv("DATASTORE_TEST_MONGO_URL", raising=False)
    monkeypatch.setattr(mongo, "executable", lambda _folder: broken)
    monkeypatch.setattr(mongo, "_START_SECONDS", 0.1)
    with pytest.raises(RuntimeError, match=r"(?s)mongod does not start.*broken"), mongo.mongod():
        pass
