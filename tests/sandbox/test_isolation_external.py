"""The level external: what a launcher of the operator's own is given, and what becomes of one that does not do it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from datastore import Scope, Store
from datastore.errors import ConfigurationError, SandboxUnavailable
from sandbox import External, RunLimits, Sandbox
from sandbox.isolation import external
from tests.sandbox.test_isolation_guest import survivors

PYTHON: Final = getattr(sys, "_base_executable", sys.executable)
SCOPE: Final = Scope(user="alice", agent="a")
ADD: Final = "def run(given): return [given['n'] + 1, data_store.add('k', 1)]"

CONTAINER: Final = f"""#!/bin/sh
exec bwrap --unshare-all --die-with-parent --as-pid-1 --ro-bind / / --tmpfs /tmp \
    --ro-bind-data "$1" /tmp/bootstrap.pyz -- {PYTHON} -I -S -E -B /tmp/bootstrap.pyz "$2"
"""
"""A container that gets the socket itself."""

BRIDGE: Final = f"""#!{PYTHON}
import socket, subprocess, sys, threading
ours = socket.socket(fileno=int(sys.argv[2]))
inner, theirs = socket.socketpair()
guest = subprocess.Popen(
    [sys.executable, "-I", "-S", "-E", "-B", f"/proc/self/fd/{{sys.argv[1]}}", str(theirs.fileno())],
    pass_fds=(int(sys.argv[1]), theirs.fileno()),
)
theirs.close()
def copy(source, target):
    while piece := source.recv(65536):
        target.sendall(piece)
    target.shutdown(socket.SHUT_WR)
threading.Thread(target=copy, args=(ours, inner), daemon=True).start()
copy(inner, ours)
sys.exit(guest.wait())
"""
"""A launcher that copies bytes both ways, as one for a virtual machine has to; the guest's last ones too."""

PLAIN: Final = f'#!/bin/sh\nexec {PYTHON} -I -S -E -B "/proc/self/fd/$1" "$2"\n'
SILENT: Final = "#!/bin/sh\nexec sleep 1000\n"
HUNG_UP: Final = f"#!{PYTHON}\nimport os, sys, time\nos.close(int(sys.argv[2]))\ntime.sleep(1000)\n"
GARBAGE: Final = f'#!{PYTHON}\nimport os, sys\nos.write(int(sys.argv[2]), b"hello\\n")\n'
FLOOD: Final = f'#!{PYTHON}\nimport os, sys\nwhile True: os.write(int(sys.argv[2]), b"x" * 65536)\n'
STALE: Final = f'#!{PYTHON}\nimport os, sys\nos.write(int(sys.argv[2]), b\'{{"nonce": "1", "version": [3, 11]}}\\n\')\n'
FAILING: Final = "#!/bin/sh\necho 'runsc: no such thing' >&2\nexit 7\n"
OLD: Final = f"""#!{PYTHON}
import json, socket, sys
with socket.socket(fileno=int(sys.argv[2])) as peer, peer.makefile("rw") as stream:
    stream.write(json.dumps({{"nonce": stream.readline().strip(), "version": [3, 8]}}) + "\\n")
"""
ONCE: Final = f"""#!/bin/sh
[ -e "$0.used" ] && {{ echo 'out of machines' >&2; exit 1; }}
touch "$0.used"
exec {PYTHON} -I -S -E -B "/proc/self/fd/$1" "$2"
"""
"""It passes the handshake and fails from then on."""

Write = Callable[[str], str]


@pytest.fixture
def launcher(tmp_path: Path) -> Write:
    """Write a launcher and return its path."""

    def write(script: str) -> str:
        path = tmp_path / "launch"
        path.write_text(script, encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return write


async def refusal(command: list[str]) -> str:
    """Return the words with which the level refuses to be prepared."""
    with pytest.raises(SandboxUnavailable) as caught:
        await External(command).prepare()
    return str(caught.value)


@pytest.mark.parametrize("script", [CONTAINER, BRIDGE, PLAIN], ids=["container", "bridge", "plain"])
@pytest.mark.parametrize("pool_size", [0, 2])
async def test_an_agent_runs_where_the_launcher_puts_it(
    store: Store, launcher: Write, script: str, pool_size: int
) -> None:
    async with Sandbox(store, isolation=External([launcher(script)]), pool_size=pool_size) as sandbox:
        result = await sandbox.run(ADD, {"n": 1}, scope=SCOPE)
    assert (result.outcome, result.output) == ("done", [2, True]), result.error


async def test_what_the_container_of_the_launcher_isolates_is_isolated(store: Store, launcher: Write) -> None:
    code = "import os\ndef run(): return [os.getpid(), os.listdir('/tmp')]"
    async with Sandbox(store, isolation=External([launcher(CONTAINER)])) as sandbox:
        assert (await sandbox.run(code, scope=SCOPE)).output == [1, ["bootstrap.pyz"]]


async def test_a_launcher_is_given_nothing_of_the_hosts_environment(
    store: Store, launcher: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_TEST_SECRET", "s")
    async with Sandbox(store, isolation=External([launcher(PLAIN)])) as sandbox:
        seen = (await sandbox.run("import os\ndef run(): return sorted(os.environ)", scope=SCOPE)).output
    assert set(seen) <= {"LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}


async def test_a_launcher_gets_the_words_of_its_command_first(store: Store, launcher: Write) -> None:
    script = PLAIN.replace("exec", '[ "$1" = "--name" ] || exit 9\nshift 2\nexec')
    async with Sandbox(store, isolation=External([launcher(script), "--name", "a b"])) as sandbox:
        assert (await sandbox.run(ADD, {"n": 1}, scope=SCOPE)).outcome == "done"


async def test_a_launcher_brings_its_own_packages(store: Store, launcher: Write, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text("SIDES = 4\n", encoding="utf-8")
    script = PLAIN.replace('"$2"', f'"$2" {tmp_path}')
    async with Sandbox(store, isolation=External([launcher(script)])) as sandbox:
        result = await sandbox.run("import shapes\ndef run(): return shapes.SIDES", scope=SCOPE)
    assert result.output == 4


async def test_a_run_over_its_time_is_killed_with_all_that_its_launcher_started(
    store: Store, launcher: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    real = os.killpg

    def noted(group: int, number: int) -> None:
        groups.append(group)
        real(group, number)

    monkeypatch.setattr(os, "killpg", noted)
    async with Sandbox(store, isolation=External([launcher(BRIDGE)])) as sandbox:
        code = "def run():\n    while True: pass"
        result = await sandbox.run(code, scope=SCOPE, limits=RunLimits(wall_seconds=0.5))
    assert result.limit == "wall_seconds"
    assert groups
    assert [pid for group in groups for pid in survivors(group)] == []


async def test_a_launcher_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert await refusal([str(tmp_path / "none")]) == (
        f"there is no program '{tmp_path}/none' to launch guests with. "
        "Install it, make it executable, or name it by its whole path."
    )


async def test_a_launcher_that_is_no_program_is_refused(launcher: Write) -> None:
    assert "no guest could be started" in await refusal([launcher("\x7fELF")])


async def test_a_launcher_that_fails_is_told_in_its_own_words(launcher: Write) -> None:
    told = await refusal([launcher(FAILING)])
    assert told.startswith("external could not start a guest: runsc: no such thing. Run the launcher by hand")


@pytest.mark.parametrize("script", [GARBAGE, FLOOD, STALE], ids=["garbage", "flood", "stale"])
async def test_a_launcher_that_connects_something_else_is_refused(launcher: Write, script: str) -> None:
    assert "what the launcher connected to the socket is not the guest" in await refusal([launcher(script)])


@pytest.mark.parametrize("script", [SILENT, HUNG_UP], ids=["silent", "hung up"])
async def test_a_launcher_whose_guest_never_answers_is_refused(
    launcher: Write, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "_ANSWER_SECONDS", 0.5)
    assert "gave no guest that answers within 0.5 seconds" in await refusal([launcher(script)])


async def test_a_launcher_with_an_old_python_is_refused(launcher: Write) -> None:
    assert await refusal([launcher(OLD)]) == "the launcher's Python is 3.8. Give guests Python 3.11 or later."


async def test_a_launcher_that_fails_later_is_told_to_the_run(store: Store, launcher: Write) -> None:
    async with Sandbox(store, isolation=External([launcher(ONCE)])) as sandbox:
        with pytest.raises(SandboxUnavailable, match="external could not start a guest: out of machines"):
            await sandbox.run(ADD, {"n": 1}, scope=SCOPE)


@pytest.mark.parametrize("command", ["runsc", []])
def test_a_command_is_a_list_of_words(command: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="list of words"):
        External(command)


@pytest.mark.parametrize("given", [{"run_as": "nobody"}, {"site_packages": "p"}, {"accept_no_isolation": True}])
async def test_what_is_given_beside_a_level_is_refused_since_it_would_be_ignored(
    store: Store, given: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError, match="must be given to the level itself"):
        Sandbox(store, isolation=External(["x"]), **given)  # type: ignore[arg-type]  # as a careless host would


@pytest.mark.parametrize("given", [{"python": "python3"}, {"site_packages": "packages"}])
async def test_what_only_the_launcher_can_give_is_refused(store: Store, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="launcher"):
        Sandbox(store, isolation="external", **given)  # type: ignore[arg-type]  # mixed keywords
