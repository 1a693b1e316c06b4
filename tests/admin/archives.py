"""What tests of archives share: what an owner holds, commands that are measured, and commands that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from datastore import open_store, values
from datastore.document import Place, Span, moment
from datastore.entry import Entry
from sandbox import ConnectedDataStore
from tests.admin.words import COMMAND, PATIENCE

MOST_RESIDENT_KIB: Final = 150 * 1024
ODD: Final = "files:repo/é \u202e"
_RESIDENT: Final = Path(__file__).parent / "resident.py"
_KILLED: Final = Path(__file__).parent / "killed.py"


def held(url: str, owner: str = "alice", *, clear: bool = False) -> dict[str, list[Entry]]:
    """Everything of an owner, by stored namespace; afterwards nothing, if that is asked for."""

    async def look() -> dict[str, list[Entry]]:
        async with open_store(url) as store:
            now = moment(store.clock.now())
            found: dict[str, list[Entry]] = {}
            for name in sorted(await store.engine.usage(owner, now)):
                place, after = Place(owner, name), None
                while page := await store.engine.scan(place, Span(after=after), now):
                    found.setdefault(name, []).extend(page[0])
                    after = page[1]
                    if after is None:
                        break
                if clear:
                    await store.engine.clear(place, "", now)
            return found

    return asyncio.run(look())


def texts(found: dict[str, list[Entry]]) -> dict[str, list[str]]:
    """Every field as text: what compares equal but is not, such as 1 and 1.0, differs."""
    return {name: [repr(each.as_dict()) for each in page] for name, page in found.items()}


def fill(data_store: ConnectedDataStore, many: int) -> None:
    """Entries of every kind in several namespaces, some of them read."""
    odd = data_store.use_namespace(ODD)
    data_store.set_many({f"k{number:05}": {"n": number, "f": 1.0} for number in range(many)}, {"source": ["crm", None]})
    odd.set_many({f"b{number:03}": bytes([number % 256]) * number for number in range(200)})
    odd.set_many({"\x1b[2J\u202e\n": "\x1b[31m", "one": 1, "float": -0.0, "none": None, "$ref": {"$id": {"": "\0"}}})
    odd.set("soon", 1, {"m": 1}, ttl_seconds=3600)
    data_store.private("notes").set("mine", True)
    data_store.get_many(["k00001", "k00002"])
    data_store.set("k00001", 2)


def fill_large(data_store: ConnectedDataStore) -> None:
    """Five entries at the limit of a value, two of them bytes."""
    odd = data_store.use_namespace(ODD)
    for number in range(3):
        odd.set(f"text {number}", "x" * (values.VALUE_BYTES - 2))
    for number in range(2):
        odd.set(f"bytes {number}", os.urandom(values.VALUE_BYTES))


def measured(
    arguments: Sequence[str], env: dict[str, str], folder: Path, stdout: str = "printed", patience: float = PATIENCE
) -> int:
    """Run the command, which must do what it is told, and return its own peak of resident memory in KiB."""
    command = [sys.executable, str(_RESIDENT), str(folder / "resident"), *COMMAND, *arguments]
    with (folder / stdout).open("wb") as out:
        subprocess.run(command, env=env, stdout=out, timeout=patience, check=True)
    return int((folder / "resident").read_text(encoding="ascii"))


def kill(
    method: str, calls: int, arguments: Sequence[str], env: dict[str, str], stdout: int = subprocess.DEVNULL
) -> None:
    """Run the command, which is killed where it calls a method of the engine for the time after so many."""
    command = [sys.executable, str(_KILLED), method, str(calls), *arguments]
    done = subprocess.run(command, env=env, stdout=stdout, timeout=PATIENCE, check=False)
    assert done.returncode == -signal.SIGKILL
