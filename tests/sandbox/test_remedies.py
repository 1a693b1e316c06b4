"""Each remedy, followed: a start is made to fail for real, the error names the remedy, and with it the agent runs.

As root only, as continuous integration runs it: one account is made to fail where another then works.
What is not here is marked `unverified` in the table of docs/troubleshooting.md, which is made from FOLLOWED.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox.isolation import account, interpreter
from tests.sandbox.test_isolation_external import OLD, PLAIN
from tests.uids import uid, uids

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HOST: Final = """
import asyncio, json, os, sys
from datastore import Scope, open_store
from datastore.errors import SandboxUnavailable
from sandbox import External, RunLimits, Sandbox

async def main(settings, vanishing):
    if "launcher" in settings:
        settings = {"isolation": External(settings["launcher"])}
    limits = RunLimits(**settings.pop("limits", {}))
    async with open_store("sqlite://") as store, Sandbox(store, limits=limits, **settings) as sandbox:
        for path in vanishing:
            os.unlink(path)
        print((await sandbox.run("def run(): return 'started'", scope=Scope(user="u", agent="a"))).output)

try:
    asyncio.run(main(*json.loads(sys.argv[1])))
except SandboxUnavailable as error:
    print(error)
"""

DENY_NAMESPACES: Final = """
import ctypes, os, platform, struct, sys
from sandbox.isolation import bpf, seccomp

UNSHARE, CLONE, CLONE3 = (97, 220, 435) if platform.machine() == "aarch64" else (272, 56, 435)
judge = [
    bpf.load_argument(0), bpf.mask(0x10000000), *bpf.if_equal(0x10000000, seccomp.DENY), bpf.end(seccomp.ALLOW)
]
rules = bpf.assemble([
    bpf.load(bpf.NUMBER_OFFSET), *bpf.when_equal(UNSHARE, judge), *bpf.when_equal(CLONE, judge),
    *bpf.if_equal(CLONE3, seccomp.UNKNOWN), bpf.end(seccomp.ALLOW),
])
held = ctypes.create_string_buffer(rules)
program = struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(held))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 == libc.prctl(22, 2, program, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""What a container's seccomp profile does: no new user namespace, for this process and all that it starts."""

DENY_LANDLOCK: Final = DENY_NAMESPACES.replace(
    "bpf.load(bpf.NUMBER_OFFSET),", "bpf.load(bpf.NUMBER_OFFSET), *bpf.if_equal(444, seccomp.DENY),"
)
"""What an older container's seccomp profile does: no Landlock either."""

INHABITED: Final = ("sh", "-c", f'setpriv --reuid {uid(600)} --clear-groups sleep 60 >/dev/null 2>&1 & exec "$@"', "sh")
"""Beside a stranger who has one of the uids, for a while."""

UNPRIVILEGED: Final = ("unshare", "--user", "--map-user=1234", "--map-group=1234")
"""A host that is not root, in a user namespace of its own, where sysctls of user namespaces are its own too."""

Programs = Mapping[str, str | None]
REAL: Final[Programs] = {"bwrap": None, "setpriv": None}
"""Programs on the host's PATH: the real one, or a script."""


def saying(version: str, then: str = "exit 1") -> Programs:
    script = f'#!/bin/sh\n[ "$1" = --version ] && echo "bubblewrap {version}" && exit\n{then}\n'
    return {**REAL, "bwrap": script}


def without(name: str) -> Programs:
    return {each: script for each, script in REAL.items() if each != name}


def at_most(namespaces: int) -> tuple[str, ...]:
    """Set the sysctl, then give up the right to set it."""
    drop = "setpriv --inh-caps=-all --ambient-caps=-all"
    words = f'echo {namespaces} > /proc/sys/user/max_user_namespaces && exec {drop} "$@"'
    return (*UNPRIVILEGED, "--keep-caps", "sh", "-c", words, "sh")


@dataclass(frozen=True)
class Stage:
    """How a host is started: behind which words, with which programs on PATH and which settings of its Sandbox."""

    settings: dict[str, Any] = field(default_factory=lambda: {"run_as": "nobody"})
    behind: tuple[str, ...] = ()
    programs: Programs = field(default_factory=lambda: REAL)
    prepare: Callable[[Path], None] = lambda _folder: None
    vanishing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A start that fails, the words of its row in the tables, and the start that its remedy makes of it."""

    row: str
    broken: Stage
    mended: Stage
    remedy: str


WORKING: Final = Stage()
LANDLOCK: Final = Stage(settings={"isolation": "landlock", "run_as": uids(800, 64)})
RANGE: Final = "a range that nothing else on this machine uses"
INSTALL: Final = "Install bubblewrap 0.8"
NAME_ONE: Final = "Name an unprivileged account"
ALLOW: Final = "Allow unprivileged user namespaces"
NAMESPACES: Final = "No permissions to creat|Creating new namespace failed|unshare user ns"
PYTHON: Final = {"run_as": "nobody", "python": "FOLDER/home/python3"}
PACKAGES: Final = {"run_as": "nobody", "site_packages": "FOLDER/home"}
LAUNCHER: Final = {"launcher": ["FOLDER/home/launch"]}


def closed_home(mode: int = 0o700) -> Callable[[Path], None]:
    """A home folder with a Python of its own in it."""

    def make(folder: Path) -> None:
        (folder / "home").mkdir(exist_ok=True)
        shutil.copy(interpreter.find(None, account.launcher("nobody").prefix).executable, folder / "home/python3")
        (folder / "home").chmod(mode)

    return make


def open_up(folder: Path) -> None:
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)


def launcher(script: str, mode: int = 0o755) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "home").mkdir(exist_ok=True)
        (folder / "home/launch").write_text(script, encoding="utf-8")
        (folder / "home/launch").chmod(mode)

    return write


CASES: Final = {
    "no bubblewrap": Case("bubblewrap (bwrap) is not on PATH", Stage(programs=without("bwrap")), WORKING, INSTALL),
    "an old bubblewrap": Case("... says ..., which is too old", Stage(programs=saying("0.7.0")), WORKING, INSTALL),
    "a broken bubblewrap": Case(
        "bubblewrap does not run: ...", Stage(programs={**REAL, "bwrap": "#!/bin/false\n"}), WORKING, INSTALL
    ),
    "a bubblewrap without an option": Case(
        "Unknown option",
        Stage(programs=saying("0.8.0", 'echo "bwrap: Unknown option --disable-userns" >&2; exit 1')),
        WORKING,
        INSTALL,
    ),
    "no setpriv": Case("setpriv is not installed", Stage(programs=without("setpriv")), WORKING, "Install util-linux"),
    "root that may not change its account": Case(
        "guests cannot be launched as uid ...: ...",
        Stage(behind=("setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all")),
        WORKING,
        "Give the host CAP_SETUID and CAP_SETGID",
    ),
    "root without an account": Case(
        "the host runs as root, and guests are never launched by root", Stage(settings={}), WORKING, NAME_ONE
    ),
    "root's account": Case(
        "run_as=... is root's account or group", Stage(settings={"run_as": "root"}), WORKING, NAME_ONE
    ),
    "an unknown account": Case(
        "run_as names no user of this machine: ...", Stage(settings={"run_as": "no-such-account"}), WORKING, NAME_ONE
    ),
    "another account where the host is not root": Case(
        "only root can launch guests as another user, uid ...",
        Stage(behind=UNPRIVILEGED),
        Stage(settings={}, behind=UNPRIVILEGED),
        "Leave run_as unset",
    ),
    "no user namespaces by sysctl": Case(
        NAMESPACES, Stage(settings={}, behind=at_most(0)), Stage(settings={}, behind=at_most(100)), ALLOW
    ),
    "no user namespaces by a container's profile": Case(
        NAMESPACES, Stage(behind=(sys.executable, "-c", DENY_NAMESPACES)), WORKING, ALLOW
    ),
    "no nested user namespaces": Case(
        "zygote: unshare",
        Stage(settings={"zygote": True}, behind=at_most(2)),
        Stage(settings={"zygote": True}, behind=at_most(100)),
        "Allow them, or do without zygote=True",
    ),
    "a Python in a closed home": Case(
        "no interpreter that the guest may read (...)",
        Stage(settings=PYTHON, prepare=closed_home()),
        Stage(settings=PYTHON, prepare=open_up),
        "Install Python 3.11 or later for all users",
    ),
    "a Python that was upgraded": Case(
        "Can't find source path|execvp|error while loading shared libraries",
        Stage(settings=PYTHON, prepare=closed_home(0o755), vanishing=("FOLDER/home/python3",)),
        WORKING,
        "restart this host",
    ),
    "unsafe_process, asked for once": Case(
        "unsafe_process gives agent code no isolation at all",
        Stage(settings={"isolation": "unsafe_process"}),
        Stage(settings={"isolation": "unsafe_process", "accept_no_isolation": True}),
        "accept_no_isolation=True",
    ),
    "landlock without uids": Case(
        "landlock needs uids for its guests that are not the host's",
        Stage(settings={"isolation": "landlock"}),
        LANDLOCK,
        RANGE,
    ),
    "landlock with fewer uids than guests": Case(
        "this sandbox may hold ... guests at once, and run_as=... names ... uids",
        Stage(settings={"isolation": "landlock", "run_as": str(uid(800))}),
        LANDLOCK,
        RANGE,
    ),
    "landlock with somebody's uid": Case(
        "uid ... of run_as=...-... is the account ...",
        Stage(settings={"isolation": "landlock", "run_as": "65500-65600"}),
        LANDLOCK,
        RANGE,
    ),
    "landlock with too many uids": Case(
        "run_as=...-... is no range of at most ... uids",
        Stage(settings={"isolation": "landlock", "run_as": "1000000-1100000"}),
        LANDLOCK,
        RANGE,
    ),
    "landlock with a uid that a stranger has": Case(
        "is in use by another process",
        Stage(settings={"isolation": "landlock", "run_as": uids(600, 79)}, behind=INHABITED),
        LANDLOCK,
        "a range of uids that nothing else on this machine uses",
    ),
    "landlock where the host is not root": Case(
        "only a host that is root can give guests uids that are not its own",
        Stage(settings=LANDLOCK.settings, behind=UNPRIVILEGED),
        LANDLOCK,
        "Run the host as root",
    ),
    "landlock in a container that forbids it": Case(
        "Landlock may not be used here",
        Stage(settings=LANDLOCK.settings, behind=(sys.executable, "-c", DENY_LANDLOCK)),
        LANDLOCK,
        "seccomp profile",
    ),
    "closed packages": Case(
        "the account that launches guests cannot read site_packages (...)",
        Stage(settings=PACKAGES, prepare=closed_home()),
        Stage(settings=PACKAGES, prepare=open_up),
        "chmod -R a+rX",
    ),
    "too little time": Case(
        "the guest did not start within ... seconds",
        Stage(settings={"run_as": "nobody", "limits": {"start_seconds": 0.001}}),
        WORKING,
        "Raise RunLimits.start_seconds",
    ),
    "a launcher that is not executable": Case(
        "there is no program ... to launch guests with",
        Stage(settings=LAUNCHER, prepare=launcher(PLAIN, 0o644)),
        Stage(settings=LAUNCHER, prepare=launcher(PLAIN)),
        "make it executable",
    ),
    "a launcher with an old Python": Case(
        "the launcher's Python is ...",
        Stage(settings=LAUNCHER, prepare=launcher(OLD)),
        Stage(settings=LAUNCHER, prepare=launcher(PLAIN)),
        "Python 3.11 or later",
    ),
}

FOLLOWED: Final = frozenset(case.row for case in CASES.values())
"""The rows of the tables of refusals whose remedy is followed here."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def host(stage: Stage, folder: Path) -> subprocess.CompletedProcess[str]:
    """Start a host."""
    stage.prepare(folder)
    path = Path(tempfile.mkdtemp(dir=folder))
    path.chmod(0o755)
    for name, script in stage.programs.items():
        if script is None:
            (path / name).symlink_to(real(name))
        else:
            (path / name).write_text(script, encoding="utf-8")
            (path / name).chmod(0o755)
    orders = json.dumps([stage.settings, stage.vanishing]).replace("FOLDER", str(folder))
    behind = [real(stage.behind[0]), *stage.behind[1:]] if stage.behind else []
    return subprocess.run(
        [*behind, sys.executable, "-c", HOST, orders],
        env={"PATH": str(path)} if not behind else {"PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def real(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing here"
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_start_that_fails_names_the_remedy_and_the_remedy_mends_it(name: str, folder: Path) -> None:
    assert os.geteuid() == 0, "these tests run as root only"
    case = CASES[name]
    failed = host(case.broken, folder)
    told = failed.stdout + failed.stderr
    assert case.remedy in told
    assert any(all(part in told for part in words.split("...")) for words in case.row.split("|")), told
    mended = host(case.mended, folder)
    assert mended.stdout == "started\n", mended.stderr
