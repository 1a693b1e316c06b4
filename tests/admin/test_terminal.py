"""On a terminal, nothing that others wrote can move the cursor, hide, reorder or be taken for markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from admin.cli.text import visible
from sandbox import ConnectedDataStore
from tests.admin.words import terminal

HOSTILE = "\x1b[31m\x9b2J\x7f\r\u061c\u200e\u200f\u202a\u202e\u2066\u2069[bold]:smile:"
SHOWN = "\\u001b[31m\\u009b2J\\u007f\\u000d\\u061c\\u200e\\u200f\\u202a\\u202e\\u2066\\u2069[bold]:smile:"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What rich draws its tables with: the only escapes that may reach a terminal."""


def shown_on_a_terminal(env: dict[str, str], *arguments: str) -> str:
    code, shown = terminal(arguments, env | {"TERM": "xterm-256color", "COLUMNS": "400"})
    assert code in (0, 1)
    return STYLE.sub("", shown).replace("\r\n", "\n")


@pytest.fixture
def hostile(alice: ConnectedDataStore) -> None:
    files = alice.use_namespace("ns" + HOSTILE)
    files.set("key" + HOSTILE, {"v" + HOSTILE: HOSTILE}, {"m": HOSTILE})


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "look",
    [
        ("namespaces",),
        ("namespaces", "--json"),
        ("keys", "--namespace", "ns" + HOSTILE),
        ("keys", "--namespace", "ns" + HOSTILE, "--json"),
        ("show", "--namespace", "ns" + HOSTILE, "key" + HOSTILE),
        ("show", "--namespace", "ns" + HOSTILE, "key" + HOSTILE, "--json"),
        ("show", "--namespace", "ns" + HOSTILE, "none" + HOSTILE),
        ("delete", "--namespace", "ns" + HOSTILE, "key" + HOSTILE, "--dry-run"),
    ],
)
def test_hostile_names_and_values_are_shown_as_escapes(env: dict[str, str], look: tuple[str, ...]) -> None:
    shown = shown_on_a_terminal(env, "admin", look[0], "--user", "alice", *look[1:])
    assert visible(shown, keep="\n") == shown
    assert "\\u202e" in shown
    assert "[bold]:smile:" in shown


def test_a_table_on_a_terminal_has_a_header_and_a_rule(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("config", 1)
    title, rule, row, *_ = [line for line in shown_on_a_terminal(env, "admin", "users").splitlines() if line.strip()]
    assert title.split() == ["owner", "namespaces", "keys", "bytes", "last", "write", "(UTC)"]
    assert set(rule.strip()) == {"─"}
    assert row.split()[:4] == ["alice", "1", "1", "24"]


def test_a_long_name_folds_on_a_narrow_terminal_and_is_not_cut(env: dict[str, str], alice: ConnectedDataStore) -> None:
    alice.set("Q" * 300, 1)
    _, shown = terminal(["admin", "keys", "--user", "alice"], env | {"COLUMNS": "80"})
    assert shown.count("Q") == 300
    assert max(len(line) for line in STYLE.sub("", shown).splitlines()) <= 80


def test_an_agents_log_cannot_steer_the_terminal(env: dict[str, str], tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(f"def run():\n    print({HOSTILE!r})\n    print('two\\tlines')\n    raise ValueError({HOSTILE!r})")
    shown = shown_on_a_terminal(env, "run", str(agent), "--user", "alice")
    assert visible(shown, keep="\n\t") == shown
    assert shown.startswith(f"{SHOWN}\ntwo\tlines\n")
    assert shown.splitlines()[-1] == f"datastore: the agent raised ValueError: {SHOWN}"
