"""What of a host's file system belongs to a Python: judged on a made-up one, since each machine has only its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from datastore.errors import SandboxUnavailable
from sandbox.isolation import bubblewrap, interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.isolation.interpreter import Interpreter


@pytest.fixture
def relocated(tmp_path: Path) -> Path:
    """Return the home of a Python with packages, whose libraries lie in three places."""
    library = tmp_path / "lib/python3.11"
    for folder in ("lib-dynload", "site-packages"):
        (library / folder).mkdir(parents=True)
    loaded = [
        f"{tmp_path}/bin/../lib/libpython3.11.so.1.0",
        f"{library}/lib-dynload/_ssl.so",
        "/usr/libc/libc.so.6",
        "/usr/loader/ld-linux-x86-64.so.2",
        "/usr/local/strange/libssl.so.3",
    ]
    survey = {"version": [3, 11], "folders": [f"{library}", f"{library}/lib-dynload"], "loaded": loaded}
    python = tmp_path / "bin/python3.11"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho '{json.dumps(survey)}'\n", encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


@pytest.fixture
def found(relocated: Path) -> Interpreter:
    return interpreter.find(str(relocated / "bin/python3.11"), ())


def test_a_guest_gets_the_executable_and_each_folder_once_at_its_own_path(relocated: Path, found: Interpreter) -> None:
    own = [(source, target) for source, target in found.mounts if source == target]
    assert own[:2] == [(f"{relocated}/{each}",) * 2 for each in ("bin/python3.11", "lib/python3.11")]


def test_every_library_goes_beside_libc_and_the_loader_stays_where_it_is(found: Interpreter) -> None:
    targets = [target for _source, target in found.mounts[2:]]
    assert targets == [
        "/usr/libc/libpython3.11.so.1.0",
        "/usr/libc/libc.so.6",
        "/usr/loader/ld-linux-x86-64.so.2",
        "/usr/libc/libssl.so.3",
    ]


def test_installed_packages_are_hidden_behind_an_empty_read_only_folder(relocated: Path, found: Interpreter) -> None:
    packages = f"{relocated}/lib/python3.11/site-packages"
    words = bubblewrap.arguments(found, {"/bootstrap.pyz": 3}, seccomp=4).decode().split("\0")
    hidden = words.index("--tmpfs")
    assert words[hidden : hidden + 4] == ["--tmpfs", packages, "--remount-ro", packages]


def test_a_python_is_surveyed_once(relocated: Path) -> None:
    python = relocated / "bin/python3.11"
    first = interpreter.find(str(python), ())
    python.unlink()
    assert interpreter.find(str(python), ()) is first


def test_a_python_may_be_named_through_a_link(relocated: Path, found: Interpreter) -> None:
    link = relocated / "python"
    link.symlink_to("bin/python3.11")
    assert interpreter.find(str(link), ()) == found


def test_a_python_without_glibc_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    survey = {"version": [3, 12], "folders": [], "loaded": ["/lib/ld-musl-x86_64.so.1"]}
    python.write_text(f"#!/bin/sh\necho '{json.dumps(survey)}'\n", encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="not glibc"):
        interpreter.find(str(python), ())


def test_a_python_that_says_nonsense_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho nonsense\n", encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match=r"no interpreter .*python3"):
        interpreter.find(str(python), ())
