"""Who gets no guest at landlock, with which words, and what its self-test sees."""

from __future__ import annotations

import dataclasses
import errno
import os
import platform
import socket
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Scope, Store
from datastore.errors import SandboxUnavailable
from sandbox import Sandbox, archive
from sandbox.isolation import choose, interpreter, landlock, programs
from sandbox.isolation.inside import landlock as kernel
from sandbox.isolation.interpreter import Interpreter
from tests.uids import uid, uids

pytestmark = pytest.mark.timeout(20)

UIDS: Final = uids(500, 4)
ABANDONED: Final = iter(range(uid(510), uid(600)))
"""A uid for each test that may leave a process behind: whoever adopts it reaps it when it likes."""

WITHOUT: Final = {
    "Landlock": ("landlock.confine = lambda *_: kernel.no_new_privileges()", ("writing", "processes", "files")),
    "a filter": ("kernel.install_filter = lambda _: None", ("network", "fork")),
}
"""What is left out of a guest's confinement, and what the self-test must then have reached."""


async def refusal(**settings: Any) -> str:
    """Return the words with which landlock refuses to be prepared."""
    level = choose("landlock", **{"run_as": UIDS, **settings})
    with pytest.raises(SandboxUnavailable) as caught:
        await level.prepare()
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RuntimeError, match="prepare"):
        level.spawn(b"", theirs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSYS, ("no Landlock", "Linux 6.12", "CONFIG_SECURITY_LANDLOCK")),
        (errno.EOPNOTSUPP, ("disabled", "lsm=")),
        (errno.EPERM, ("may not be used", "seccomp profile")),
        (errno.ENOMEM, ("ENOMEM", "Linux 6.12")),
    ],
)
async def test_a_kernel_without_landlock_is_refused_with_what_to_change(
    monkeypatch: pytest.MonkeyPatch, number: int, words: tuple[str, ...]
) -> None:
    def refuse() -> int:
        raise OSError(number, errno.errorcode[number])

    monkeypatch.setattr(kernel, "abi", refuse)
    told = await refusal()
    assert [word for word in words if word not in told] == []


async def test_a_landlock_that_cannot_scope_signals_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "abi", lambda: 5)
    told = await refusal()
    assert "version 5" in told
    assert "Linux 6.12" in told


async def test_a_machine_without_a_system_call_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "riscv64" in await refusal()


async def test_uids_of_the_guests_own_are_required() -> None:
    told = await refusal(run_as=None, guests=3)
    assert all(word in told for word in ("run_as=", "--run-as", "DATASTORE_RUN_AS", "200000-200063"))


@pytest.mark.parametrize("root", [0, "0", "root"])
async def test_root_is_refused(root: str | int) -> None:
    assert "root" in await refusal(run_as=root)


async def test_only_root_can_give_guests_their_uids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert "only a host that is root" in await refusal()


async def test_fewer_uids_than_guests_are_refused() -> None:
    told = await refusal(guests=5)
    assert all(word in told for word in ("5 guests", "names 4 uids", "200000-200063"))


@pytest.mark.parametrize("bounds", ["0-10", "20-10", "1-99999", f"{2**32 - 2}-{2**32 - 1}"])
async def test_what_is_no_range_of_uids_is_refused(bounds: str) -> None:
    assert "FIRST-LAST" in await refusal(run_as=bounds)


async def test_a_range_over_somebodys_account_is_refused_by_name() -> None:
    assert "'nobody'" in await refusal(run_as="65530-65540")


async def test_who_has_given_out_all_its_uids_says_so() -> None:
    level = choose("landlock", run_as=f"{next(ABANDONED)}")
    await level.prepare()
    pairs = [socket.socketpair() for _ in range(2)]
    guest = level.spawn(b"", pairs[0][1])
    try:
        with pytest.raises(SandboxUnavailable, match=r"all 1 uids.*200000-200063"):
            level.spawn(b"", pairs[1][1])
    finally:
        guest.kill()
        await guest.wait()
        for one, other in pairs:
            one.close()
            other.close()


@pytest.mark.parametrize("what", WITHOUT)
async def test_the_self_test_misses_what_is_left_out(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    change, reached = WITHOUT[what]
    main = f"from inside import kernel, landlock\n{change}\nlandlock.main()\n".encode()
    folder = resources.files("sandbox.isolation") / "inside"
    modules = [(f"inside/{each.name}", each.read_bytes()) for each in folder.iterdir() if each.name.endswith(".py")]
    changed = archive.build([("__main__.py", main), *modules])
    monkeypatch.setattr(programs, "program", lambda _name: changed)
    told = await refusal(run_as=f"{next(ABANDONED)}")
    assert "self-test of landlock" in told
    assert [name for name in reached if f"{name}: " not in told] == []


async def test_a_guest_imports_from_a_folder_of_which_it_may_not_see_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where packages are installed inside the standard library's own folder; xmlrpc plays a package."""
    find = interpreter.find

    def with_packages(*given: Any) -> Interpreter:
        found = find(*given)
        library = next(source for source, _ in found.mounts if Path(source, "xmlrpc").is_dir())
        return dataclasses.replace(found, hidden=(f"{library}/xmlrpc",))

    monkeypatch.setattr(interpreter, "find", with_packages)
    code = """
import os
def run():
    import ast, csv, ctypes.util, email.message, sqlite3, this, wave, xml.dom.minidom
    refused = []
    for attempt in (lambda: __import__("xmlrpc"), lambda: os.listdir(os.path.dirname(os.__file__))):
        try:
            attempt()
        except (PermissionError, ImportError) as error:
            refused.append(type(error).__name__)
    return refused
"""
    async with Sandbox(store, isolation="landlock", run_as=UIDS, runs_at_once=1) as sandbox:
        result = await sandbox.run(code, scope=Scope(user="alice", agent="worker"))
    assert (result.error, result.output) == (None, ["PermissionError", "PermissionError"])


async def test_what_the_standard_library_reads_of_the_system_is_readable(confined: Sandbox) -> None:
    code = """
import mimetypes
def run(): return mimetypes.guess_type("a.json")[0]
"""
    result = await confined.run(code, scope=Scope(user="alice", agent="worker"))
    assert (result.error, result.output) == (None, "application/json")


def test_of_a_folder_with_packages_a_guest_may_read_all_entries_but_those(tmp_path: Path) -> None:
    for name in ("json", "site-packages", "lib-dynload"):
        (tmp_path / name).mkdir()
    (tmp_path / "os.py").touch()
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    packages = str(tmp_path / "site-packages")
    found = Interpreter("/bin/python3", tuple((each, each) for each in ("/bin/python3", str(tmp_path))), (packages,))
    names = [each.removeprefix(f"{tmp_path}/") for each in landlock.files(found)]
    assert names == ["/bin/python3", "json", "lib-dynload", "os.py"]
