"""One folder of packages for agents: what they get of it, which folders are refused, and what is never executed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, Store
from datastore.errors import ConfigurationError, SandboxUnavailable
from sandbox import RunResult, Sandbox
from tests.sandbox.conftest import PROMISING
from tests.uids import RUN_AS

SCOPE = Scope(user="alice", agent="a")
LEVELS = (*PROMISING, "zygote", "unsafe_process")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with one small package. Not tmp_path, which is closed to the account that launches guests."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "shapes").mkdir()
        (path / "shapes/__init__.py").write_text("SIDES = {'square': 4}\n", encoding="utf-8")
        yield path


@pytest.fixture(params=LEVELS)
async def sandbox(request: pytest.FixtureRequest, store: Store, folder: Path) -> AsyncIterator[Sandbox]:
    async with opened(store, folder, request.param) as made:
        yield made


def opened(store: Store, folder: str | Path, level: str = "strict") -> Sandbox:
    if level == "zygote":
        return Sandbox(store, zygote=True, run_as=RUN_AS, site_packages=folder)
    run_as = PROMISING.get(level, RUN_AS)
    return Sandbox(store, isolation=level, accept_no_isolation=True, run_as=run_as, site_packages=folder)


async def run(sandbox: Sandbox, code: str, **settings: Any) -> RunResult:
    return await sandbox.run(code, scope=SCOPE, **settings)


async def output(sandbox: Sandbox, code: str, **settings: Any) -> Any:
    result = await run(sandbox, code, **settings)
    assert result.outcome == "done", result.traceback
    return result.output


async def test_agents_import_what_the_folder_holds(sandbox: Sandbox) -> None:
    assert await output(sandbox, "from shapes import SIDES\ndef run(): return SIDES['square']") == 4


async def test_without_a_folder_there_is_nothing_to_import(strict: Sandbox) -> None:
    assert (await run(strict, "import shapes\ndef run(): pass")).error == (
        "ModuleNotFoundError: No module named 'shapes'"
    )


async def test_a_strict_guest_sees_the_folder_at_a_place_that_names_nothing_of_the_host(
    store: Store, folder: Path
) -> None:
    async with opened(store, folder) as sandbox:
        assert await output(sandbox, "import shapes\ndef run(): return shapes.__file__") == (
            "/packages/shapes/__init__.py"
        )


@pytest.mark.parametrize("level", ["strict", "zygote"])
async def test_no_command_line_says_where_on_the_host_the_folder_is(store: Store, folder: Path, level: str) -> None:
    def look() -> list[str]:
        lines = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)}
        assert any(b"--args" in line for line in lines.values())
        return [str(path) for path, line in lines.items() if str(folder).encode() in line]

    async with opened(store, folder, level) as sandbox:
        assert await output(sandbox, "def run(_, tools): return tools.look()", tools={"look": look}) == []


@pytest.mark.parametrize("level", PROMISING)
async def test_a_confined_guest_cannot_write_to_the_folder_though_its_account_could(
    store: Store, folder: Path, level: str
) -> None:
    for each in (folder, folder / "shapes", folder / "shapes/__init__.py"):
        each.chmod(0o777)
    code = """
import shapes, pathlib
def run():
    refused = []
    for act in (pathlib.Path.touch, pathlib.Path.unlink):
        try:
            act(pathlib.Path(shapes.__file__).with_name("new" if act is pathlib.Path.touch else "__init__.py"))
        except OSError as error:
            refused.append(error.strerror)
    return refused
"""
    refusal = {"strict": "Read-only file system", "landlock": "Permission denied"}[level]
    async with opened(store, folder, level) as sandbox:
        assert await output(sandbox, code) == [refusal] * 2
    async with opened(store, folder, "unsafe_process") as sandbox:
        assert await output(sandbox, code) == []


async def test_a_pth_file_is_never_executed(sandbox: Sandbox, folder: Path) -> None:
    (folder / "evil.pth").write_text("import sys; sys.executed = True\n", encoding="utf-8")
    for name in ("sitecustomize.py", "usercustomize.py"):
        (folder / name).write_text("import sys; sys.executed = True\n", encoding="utf-8")
    assert await output(sandbox, "import sys, shapes\ndef run(): return hasattr(sys, 'executed')") is False
    try:
        site.addsitedir(str(folder))  # The control: what a Python that looks at .pth files would do.
        assert hasattr(sys, "executed")
    finally:
        sys.path.remove(str(folder))
        vars(sys).pop("executed", None)


async def test_nothing_in_the_folder_stands_before_the_standard_library_or_the_guest(
    sandbox: Sandbox, folder: Path
) -> None:
    for name in ("calendar", "sandbox", "datastore", "data_store"):
        (folder / f"{name}.py").write_text("raise SystemExit('shadowed')\n", encoding="utf-8")
    code = "import calendar, sandbox.guest, datastore.errors, data_store as d\ndef run(): return d is data_store"
    assert await output(sandbox, code) is True


async def test_numeric_libraries_start_one_thread_unless_the_host_says_otherwise(
    sandbox: Sandbox,
) -> None:
    code = "import os\ndef run(): return os.environ['OMP_NUM_THREADS']"
    assert await output(sandbox, code) == "1"
    assert await output(sandbox, code, environment={"OMP_NUM_THREADS": "4"}) == "4"


@pytest.mark.parametrize("level", LEVELS)
async def test_numpy_works_within_the_default_limits(store: Store, packages: Path, level: str) -> None:
    code = """
import numpy as np
def run():
    a = np.random.default_rng(1).random((400, 400))
    solved = np.linalg.solve(a, a @ np.ones(400))
    spectrum = np.fft.rfft(np.sin(np.arange(64)))
    return [bool(np.allclose(solved, 1)), len(spectrum), bool(np.linalg.svd(a)[1][0] > 0)]
"""
    async with opened(store, packages, level) as sandbox:
        assert await output(sandbox, code) == [True, 33, True]


async def test_numpy_has_as_many_threads_as_it_is_told(store: Store, packages: Path) -> None:
    code = "import numpy, os\ndef run(): return len(os.listdir('/proc/self/task'))"
    async with opened(store, packages, "unsafe_process") as sandbox:
        assert await output(sandbox, code) == 1
        processors = min(2, len(os.sched_getaffinity(0)))
        assert await output(sandbox, code, environment={"OMP_NUM_THREADS": "2"}) == processors


async def test_a_relative_path_is_of_the_hosts_working_folder(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    async with opened(store, folder.name) as sandbox:
        assert await output(sandbox, "from shapes import SIDES\ndef run(): return SIDES['square']") == 4


HOME = os.environ["HOME"]
OTHERS_HOME = pwd.getpwnam("daemon").pw_dir
REFUSED = {
    "/": "is or holds",
    HOME: "a home folder",
    str(Path(HOME).parent): "is or holds",
    OTHERS_HOME: "a home folder",
    sys.prefix: "the host's own environment",
    str(Path(sys.prefix).parent): "the host's own environment",
    str(Path(sys.prefix, "lib")): "the host's own environment",
    site.getsitepackages()[0]: "the host's own environment",
    str(Path(site.getsitepackages()[0], "numpy")): "lies in the host's own environment",
    str(Path(shutil.__file__).parent): "the host's own environment",
    "/no/such/folder": "is no folder",
    __file__: "is no folder",
}


@pytest.mark.parametrize("given", REFUSED)
@pytest.mark.parametrize("level", LEVELS)
async def test_a_folder_that_holds_what_is_the_hosts_is_refused(store: Store, given: str, level: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await opened(store, given, level).__aenter__()
    assert f"site_packages={given!r} " in str(caught.value)
    assert REFUSED[given] in str(caught.value)
    assert "pip install --target" in str(caught.value)


async def test_a_link_to_what_is_refused_is_refused(store: Store, folder: Path) -> None:
    (folder / "link").symlink_to("/")
    with pytest.raises(ConfigurationError, match="is or holds"):
        await opened(store, folder / "link").__aenter__()


@pytest.mark.parametrize("closed", ["shapes", "shapes/__init__.py"])
async def test_a_folder_that_guests_cannot_read_is_refused_with_a_remedy_that_works(
    store: Store, folder: Path, closed: str
) -> None:
    (folder / closed).chmod(0)
    with pytest.raises(SandboxUnavailable) as caught:
        await opened(store, folder).__aenter__()
    assert f"cannot read site_packages ({folder / closed}: Permission denied)" in str(caught.value)
    assert str(caught.value).endswith("chmod -R a+rX.")
    await asyncio.to_thread(subprocess.run, ["chmod", "-R", "a+rX", str(folder)], check=True)
    async with opened(store, folder) as sandbox:
        assert await output(sandbox, "from shapes import SIDES\ndef run(): return SIDES['square']") == 4
