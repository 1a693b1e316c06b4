"""What a URL opens, with which rights, and how a place that cannot be used is refused."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CursorResult

from datastore.backends.sql import SqlBackend
from datastore.backends.sql.runner import Job
from datastore.document import Span
from datastore.errors import ConfigurationError
from tests.sql.words import HERE, apply, at, content, make, opened, put, read

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Lay down root's rights, under which nothing is forbidden, for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


async def test_file_log_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    with umask(0):
        store = await opened(f"sqlite:///{folder / 'store.db'}")
        await apply(store, put("k"))

    assert [mode(each) for each in (folder, folder.parent)] == [0o700, 0o700]
    assert {each.name: mode(each) for each in folder.iterdir()} == {
        "store.db": 0o600,
        "store.db-wal": 0o600,
        "store.db-shm": 0o600,
    }
    await store.aclose()


async def test_an_existing_folder_keeps_its_rights_and_an_existing_file_loses_those_of_others(path: Path) -> None:
    make(path, mode=0o664)
    path.parent.chmod(0o755)

    store = await opened(f"sqlite:///{path}")
    await store.aclose()

    assert (mode(path.parent), mode(path)) == (0o755, 0o600)


async def test_what_was_written_is_there_when_the_file_is_opened_again(url: str) -> None:
    store = await opened(url)
    await apply(store, put("k", 1))
    await store.aclose()

    again = await opened(url)
    entry = await read(again, "k")
    assert entry is not None
    assert entry.value == 1
    await again.aclose()


async def test_a_relative_url_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = await opened("sqlite:///folder/50% #1 %20.db")
    monkeypatch.chdir("/")
    await apply(store, put("k"))
    await store.aclose()

    assert (tmp_path / "folder" / "50% #1 %20.db").is_file()


async def test_stores_in_memory_are_apart() -> None:
    one, other = await opened("sqlite://"), await opened("sqlite://")
    await apply(one, put("k"))

    assert await read(one, "k") is not None
    assert await read(other, "k") is None
    await one.aclose()
    await other.aclose()


async def test_every_commit_is_on_the_disk_before_it_is_acknowledged(file_store: SqlBackend) -> None:
    async with file_store._runner._engines[True].connect() as connection:
        pragmas = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "fullfsync")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1}


async def test_a_store_that_another_process_makes_while_this_one_looks_is_opened(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    others: list[SqlBackend] = []
    command = Job.command

    async def met(job: Job, text: str) -> CursorResult[Any]:
        result = await command(job, text)
        if text == "PRAGMA application_id":
            monkeypatch.undo()
            others.append(await opened(url))
        return result

    monkeypatch.setattr(Job, "command", met)
    store = await opened(url)

    for number, each in enumerate((store, *others)):
        assert (await apply(each, put(f"k{number}"))).changed == 1
        await each.aclose()
    assert len(others) == 1


async def test_a_missing_index_is_made_again(url: str, path: Path) -> None:
    store = await opened(url)
    await apply(store, put("k"))
    await store.aclose()
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX entries_by_key")
    connection.execute("DROP INDEX entries_by_expiry")
    connection.close()

    store = await opened(url)
    await store.aclose()

    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert names >= {"entries", "entries_by_key", "entries_by_expiry"}


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite:/a.db",
        "sqlite:///",
        "sqlite://a.db",
        "sqlite://user:secret@host/a.db",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a\0.db",
        "mysql://host/a",
    ],
)
async def test_a_url_of_another_form_is_refused_with_the_forms_there_are(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Write sqlite:///relative\.db, sqlite:////absolute") as caught:
        await opened(url)

    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_folder_or_a_device_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ConfigurationError, match=r"is not a file\. Name one"):
            await opened(f"sqlite:///{place}")


async def test_a_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "x")
    for place in (tmp_path / "file" / "a.db", tmp_path / "dangling", tmp_path / ("x" * 300), Path("/proc/none/a.db")):
        with pytest.raises(ConfigurationError, match=r"cannot be used: .*\. Name a file in a folder that this process"):
            await opened(f"sqlite:///{place}")


async def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    folder, readable = tmp_path / "folder", tmp_path / "readable"
    for each in (folder, readable):
        each.mkdir()
    (readable / "a.db").touch()
    (readable / "a.db").chmod(0o600)
    for each in (folder, readable):
        each.chmod(0o555)
    with as_nobody():
        for place in (folder / "new.db", readable / "a.db"):
            with pytest.raises(ConfigurationError, match="permission denied"):
                await opened(f"sqlite:///{place}")


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(url: str, path: Path) -> None:
    letter = b"This is a letter, and no database at all.\n" * 100
    make(path, letter)

    with pytest.raises(ConfigurationError, match=r"cannot be used: it is no SQLite database\. Name another file"):
        await opened(url)

    assert content(path) == letter
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_database_of_another_application_is_refused_and_left_as_it_is(url: str, path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (id INTEGER)")
    connection.commit()
    connection.close()
    before = content(path)

    with pytest.raises(ConfigurationError, match=r"another application's database\. Name another file"):
        await opened(url)

    assert content(path) == before


async def test_a_later_layout_is_refused(url: str, path: Path) -> None:
    await (await opened(url)).aclose()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=3")
    connection.close()

    with pytest.raises(ConfigurationError, match=r"has layout 3, and this version .* supports layout 2\. Upgrade it"):
        await opened(url)


async def test_a_damaged_page_says_that_the_store_cannot_be_read_and_not_how(url: str, path: Path) -> None:
    store = await opened(url)
    await apply(store, *(put(f"k{number}", "x" * 500) for number in range(200)))
    await store.aclose()
    with closing(sqlite3.connect(path)) as file:
        ((root,),) = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'")
    whole = content(path)
    make(path, whole[: 4096 * (root - 1)] + b"\xff" * 4096 + whole[4096 * root :])

    store = await opened(url)
    with pytest.raises(
        ConnectionError, match=r"^the store cannot be read or written now\. Nothing was written; try again\.$"
    ):
        await store.scan(HERE, Span(), at(0))
    await store.aclose()
