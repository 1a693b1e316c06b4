"""The audit log for operators: who did what, whether it is as it was written, what is old, and who is taken out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from admin.actions import audit
from admin.actions.audit_check import Check, Finding
from datastore import Scope, Settings, Store, open_store
from datastore.chain import Head, Row
from datastore.errors import AccessDenied, InvalidArgument
from datastore.operations import Apply, Get, Put
from datastore.ports import Look
from tests.admin.conftest import Command
from tests.admin.rows import hand

Findings = list[tuple[str, int, int]]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "heads.ndjson"


@asynccontextmanager
async def host(url: str, clock: Clock, file: Path) -> AsyncIterator[Store]:
    """A host that notes writes."""
    settings = Settings(url=url, audit="writes", audit_heads=str(file))
    async with open_store(settings=settings, clock=clock) as store:
        yield store


async def write(store: Store, *keys: str, user: str = "alice", namespace: str = "notes") -> None:
    scope = Scope(user=user, agent="writer", run="run-1")
    await store.execute(scope, Apply(namespace=namespace, mutations=tuple(Put(key=key, value=1) for key in keys)))


async def chain(url: str, clock: Clock, file: Path, rows: int = 6, **facts: Any) -> list[Row]:
    """The chain of a host that wrote so many keys and ended."""
    async with host(url, clock, file) as store:
        await write(store, *(f"k{number}" for number in range(1, rows + 1)), **facts)
    async with open_store(url) as store:
        name = heads(file)[-1].chain
        return [row for row in await store.engine.trail("", 1000) if row.chain == name]


def heads(file: Path) -> list[Head]:
    return [Head(**json.loads(line) | {"at": datetime.min}) for line in file.read_text().splitlines()]  # noqa: DTZ901 - not looked at


async def checked(store: Store, *files: Path) -> tuple[Check, list[Finding]]:
    known: dict[str, Head] = {}
    for each in files:
        with each.open("rb") as source:
            audit.heads(source, each.name, known)
    check = Check(known if files else None)
    return check, [finding async for page in audit.verify(store, check) for finding in page]


async def findings(url: str, rows: Sequence[Row], *files: Path) -> Findings:
    """What is found about one chain."""
    async with open_store(url) as store:
        _, found = await checked(store, *files)
    return [(each.kind, each.seq, each.until) for each in found if each.chain == rows[0].chain]


async def test_a_changed_a_removed_a_swapped_row_and_a_cut_tail_are_found_and_named(
    url: str, clock: Clock, file: Path
) -> None:
    good, changed, again, gone, swapped, cut, lost, late, rewritten, moved = [
        await chain(url, clock, file) for _ in range(10)
    ]
    with hand(url) as on:
        on.change(changed[2].id, "key", "another")
        on.change(again[2].id, "by_agent", None)
        on.remove(gone[2].id)
        on.remove(gone[3].id)
        on.rename(swapped[2].id, "aside")
        on.rename(swapped[3].id, swapped[2].id)
        on.rename("aside", swapped[3].id)
        on.remove(cut[5].id)
        for row in lost:
            on.remove(row.id)
        on.change(late[2].id, "at", late[2].at + timedelta(1) if url.startswith("mongodb") else 1)
        on.change(rewritten[5].id, "link", "0" * 64)
        on.rename(moved[5].id, moved[5].id[:-1] + "9")

    async def all_findings(*files: Path) -> list[Findings]:
        every = (good, changed, again, gone, swapped, cut, lost, late, rewritten, moved)
        return [await findings(url, each, *files) for each in every]

    alone = [[], [("changed", 3, 3)], [("changed", 3, 3)], [("removed", 3, 4)], [("swapped", 3, 4)], [], []]
    assert await all_findings() == [*alone, [("misplaced", 3, 3)], [("misplaced", 6, 6)], [("removed", 6, 8)]]
    alone[-2:] = [[("cut", 6, 6)], [("cut", 1, 6)]]
    last = [("rewritten", 6, 6), ("misplaced", 6, 6)]
    assert await all_findings(file) == [*alone, [("misplaced", 3, 3)], last, [("removed", 6, 8)]]


async def test_verify_says_what_it_found_and_what_it_cannot_tell(
    url: str, clock: Clock, file: Path, datastore: Command
) -> None:
    rows = await chain(url, clock, file)
    ended = await asyncio.to_thread(datastore, "admin", "audit", "verify")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "6 rows in 1 chain, 0 emptied: nothing is wrong. "
        "Without --head, that rows were cut off the end of a chain cannot be excluded.\n"
    )
    with hand(url) as on:
        on.remove(rows[5].id)
        on.change(rows[1].id, "version", "another")
    ended = await asyncio.to_thread(datastore, "admin", "audit", "verify", "--head", str(file))
    assert ended.code == 1
    assert ended.lines == [
        "finding",
        f"chain {rows[0].chain}, row 2: says something else than was written",
        f"chain {rows[0].chain}, row 6: is missing from the end: a head says that it was written",
        "5 rows in 1 chain, 0 emptied: 2 findings.",
    ]
    ended = await asyncio.to_thread(datastore, "admin", "audit", "verify", "--head", str(file), "--json")
    assert ended.objects == [
        {"kind": "changed", "chain": rows[0].chain, "seq": 2, "until": 2},
        {"kind": "cut", "chain": rows[0].chain, "seq": 6, "until": 6},
        {"rows": 5, "chains": 1, "emptied": 0, "findings": 2, "unvouched": 0},
    ]


async def test_whatever_stands_in_a_row_makes_no_look_fail(url: str, clock: Clock, file: Path) -> None:
    rows = await chain(url, clock, file)
    with hand(url) as on:
        on.rename(rows[0].id, "\x1b[31m")
        on.change(rows[1].id, "content", "")
        on.change(rows[2].id, "by_user", "")
        if url.startswith("sqlite"):
            on.change(rows[3].id, "at", "yesterday")
            on.change(rows[4].id, "key", b"\xff")
        if url.startswith("mongodb"):
            on.change(rows[3].id, "at", {"$date": 1})
            on.change(rows[4].id, "key", [{"a": 1}])
    found = await findings(url, rows)
    assert {("removed", 1, 1), ("changed", 2, 2), ("changed", 3, 3)} <= set(found)
    assert (("misplaced", 4, 4) in found) == (not url.startswith("postgresql"))
    assert (("changed", 5, 5) in found) == (not url.startswith("postgresql"))
    assert await findings(url, [replace(rows[0], id="\x1b[31m")]) == [("foreign", 0, 0)]
    async with open_store(url) as store:
        if url.startswith("sqlite"):
            with pytest.raises(InvalidArgument, match="times were changed"):
                _ = [page async for page in audit.rows(store, Look())]
        else:
            assert len([row async for page in audit.rows(store, Look()) for row in page]) == 6


async def test_two_hosts_that_write_at_the_same_time_have_two_chains(url: str, clock: Clock, file: Path) -> None:
    async with host(url, clock, file) as first, host(url, clock, file) as second:
        for number in range(3):
            await write(first, f"a{number}")
            await write(second, f"b{number}")
    async with open_store(url) as store:
        check, found = await checked(store, file)
        rows = await store.engine.trail("", 100)
    assert (check.rows, check.chains, found) == (6, 2, [])
    assert {"".join(str(row.deed.key)[0] for row in rows if row.chain == each.chain) for each in rows} == {"aaa", "bbb"}


async def _two_users(url: str, clock: Clock, file: Path) -> None:
    async with host(url, clock, file) as store:
        await write(store, "a", "b")
        clock.time += timedelta(minutes=5)
        await write(store, "a", user="bob", namespace="other")
        with pytest.raises(AccessDenied):
            await store.execute(Scope(user="bob", agent="idle", grants=()), Get(namespace="notes", keys=("b",)))


def test_what_is_shown_is_what_was_asked_for_in_the_order_of_time(
    url: str, clock: Clock, file: Path, datastore: Command
) -> None:
    asyncio.run(_two_users(url, clock, file))

    def shown(*wanted: str) -> list[tuple[str, str, str]]:
        told = datastore("admin", "audit", "show", "--json", *wanted).objects
        return [(each["by_user"], each["key"], each["outcome"]) for each in told]

    alice, bob, idle = (
        [("alice", "a", "done"), ("alice", "b", "done")],
        ("bob", "a", "done"),
        ("bob", "b", "access_denied"),
    )
    assert shown() == [*alice, bob, idle]
    assert shown("--user", "alice") == alice
    assert shown("--agent", "idle") == [idle]
    assert shown("--namespace", "other") == [bob]
    assert shown("--key", "a", "--limit", "1") == alice[:1]
    half = (clock.time - timedelta(minutes=2)).isoformat()
    assert shown("--since", half) == [bob, idle]
    assert shown("--until", half) == alice
    assert shown("--since", "1h", "--user", "bob", "--key", "b") == [idle]
    table = datastore("admin", "audit", "show", "--agent", "idle")
    assert table.lines[0].split("\t")[:5] == ["time (UTC)", "user", "agent", "run", "operation"]
    assert table.lines[1].split("\t")[1:5] == ["bob", "idle", "-", "get"]
    assert datastore("admin", "audit", "show", "--user", "carol").err == "datastore: the audit log has no such rows\n"


@pytest.mark.slow
def test_a_host_that_is_killed_loses_the_last_second_at_most_and_no_chain_breaks(url: str, tmp_path: Path) -> None:
    """Two hosts write; one is killed, the other ends well."""
    killed, ended = tmp_path / "killed", tmp_path / "ended"
    with _scribe(url, killed) as victim, _scribe(url, ended) as other:
        acknowledged: list[list[str]] = [[], []]
        while not all(file.read_text().count("\n") > 1 for file in (killed, ended)):
            for heard, scribe in zip(acknowledged, (victim, other), strict=True):
                heard.append(_out(scribe).readline())
                assert heard[-1], "the host ended"
        victim.kill()
        assert other.stdin is not None
        other.stdin.close()
        for heard, scribe in zip(acknowledged, (victim, other), strict=True):
            heard.extend(_whole(_out(scribe).readlines()))
        assert other.wait(60) == 0
    of_victim, of_other = [[line.split() for line in heard[1:]] for heard in acknowledged]
    check, found, rows = asyncio.run(_log(url, killed, ended))
    assert (found, check.chains) == ([], 2)
    noted = {(row.deed.by_agent, row.deed.key) for row in rows}
    assert {("ended", f"k{number}") for number, _ in of_other} <= noted
    lost = [float(at) for number, at in of_victim if ("killed", f"k{number}") not in noted]
    assert len(lost) < len(of_victim)
    assert all(float(of_victim[-1][1]) - at < 30 for at in lost), "a second, and what a busy machine adds"


def _whole(lines: list[str]) -> list[str]:
    """Leave out a last line that its writer was killed in."""
    return [each for each in lines if each.endswith("\n")]


def _scribe(url: str, heads: Path) -> subprocess.Popen[str]:
    heads.touch()
    command = [sys.executable, str(Path(__file__).parent / "scribe.py"), url, heads.name, str(heads)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _out(scribe: subprocess.Popen[str]) -> IO[str]:
    assert scribe.stdout is not None
    return scribe.stdout


async def _log(url: str, *heads: Path) -> tuple[Check, list[Finding], list[Row]]:
    async with open_store(url) as store:
        check, found = await checked(store, *heads)
        return check, found, [row async for page in audit.rows(store, Look()) for row in page]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_operators_do_is_noted_as_theirs(
    url: str, datastore: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert url
    archive = tmp_path / "archive"
    monkeypatch.setenv("DATASTORE_AUDIT", "all")
    datastore("admin", "set", "k", "1", "--user", "alice")
    datastore("admin", "show", "k", "--user", "alice")
    archive.write_text(datastore("admin", "export", "--user", "alice").out)
    datastore("admin", "import", "--user", "bob", str(archive))
    datastore("admin", "delete", "k", "--user", "alice", "--yes")
    told = datastore("admin", "audit", "show", "--json").objects
    assert [(each["operation"], each["owner"], each["key"], each["outcome"]) for each in told] == [
        ("put", "alice", "k", "done"),
        ("get", "alice", "k", "done"),
        ("export", "alice", "k", "done"),
        ("restore", "bob", "k", "done"),
        ("delete", "alice", "k", "done"),
    ]
    assert all(each["by_agent"].startswith("@admin/") for each in told)


async def test_a_user_is_taken_out_and_the_chains_stay_whole(url: str, clock: Clock, file: Path) -> None:
    async with host(url, clock, file) as store:
        for number in range(3):
            await write(store, f"k{number}", user="alice")
            await write(store, f"k{number}", user="bob")
        await store.audit.flush()
        assert await audit.forget(store, "alice", "someone") == 3
        assert await audit.forget(store, "alice", "someone") == 0
        with pytest.raises(InvalidArgument):
            await audit.forget(store, "alice", "alice")
        left = [row async for page in audit.rows(store, Look(user="someone")) for row in page]
        assert [row.deed.operation for row in left if row.salt] == ["erase"]
        assert "alice" not in repr(await store.engine.trail("", 100))
        check, found = await checked(store, file)
    assert (found, check.emptied, check.rows) == ([], 3, 7)


async def test_a_row_that_somebody_else_empties_is_found(url: str, clock: Clock, file: Path) -> None:
    rows = await chain(url, clock, file)
    async with open_store(url) as store:
        await store.engine.empty(rows[1:3], "someone")
        _, found = await checked(store, file)
        assert [(each.kind, each.seq) for each in found] == [("emptied", 2)]
        await audit.forget(store, "bob", "someone")
        _, found = await checked(store, file)
        assert found, "nothing was taken out in the name of this pseudonym"


async def test_what_is_old_is_removed_and_the_chains_stay_whole(
    url: str, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 4)
    clock.time -= timedelta(days=10)
    await chain(url, clock, file, 9, user="ended")
    async with host(url, clock, file) as store:
        for number in range(12):
            await write(store, f"k{number}", user="goes on")
            clock.time += timedelta(minutes=30)
        cut = clock.time - timedelta(minutes=75)
        clock.time += timedelta(days=10)
        await store.audit.flush()
        count = await audit.old(store, cut)
        assert await audit.prune(store, cut) == count == 9 + 9
        assert await audit.prune(store, cut) == 0
        check, found = await checked(store, file)
        rows = await store.engine.trail("", 100)
    assert (found, check.emptied) == ([], 1)
    assert sorted(str(row.deed.operation) for row in rows) == ["None", "prune", "put", "put"]
    assert "ended" not in repr(rows)


async def test_rows_that_somebody_else_removed_from_the_beginning_are_found(url: str, clock: Clock, file: Path) -> None:
    rows, others = await chain(url, clock, file), await chain(url, clock, file)
    async with open_store(url) as store:
        await store.engine.remove(rows[0].chain, 2)
        await store.engine.remove(others[0].chain, 6)
    assert await findings(url, rows, file) == [("removed", 1, 2)]
    assert await findings(url, others, file) == [("cut", 1, 6)]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "--since", "now"), "--since takes a time such as"),
        (("show", "--until", "0001-01-01T00:00+14:00"), "--until takes a time such as"),
        (("prune", "--older-than", "2026-01-01", "--yes"), "--older-than takes an age such as 90d or 36h, got"),
        (("prune", "--older-than", "2h", "--yes"), "rows younger than a day may still be gone on from"),
        (("prune", "--older-than", "2d"), "no terminal to confirm"),
        (("verify", "--head", "none"), "--head 'none' cannot be read: no such file or directory"),
        (("verify", "--head", "{file}"), "line 2 of {file} is no head of an audit log"),
    ],
)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_mistake_is_named_in_one_line(datastore: Command, file: Path, words: tuple[str, ...], complaint: str) -> None:
    head = {"chain": "a", "seq": 1, "at": "2026-01-01T00:00:00+00:00", "link": "0" * 64}
    file.write_text(f"{json.dumps(head)}\n{json.dumps(head | {'seq': 0})}\n")
    ended = datastore("admin", "audit", *(each.format(file=file) for each in words))
    assert ended.code == 2
    assert complaint.format(file=file) in ended.complaint
