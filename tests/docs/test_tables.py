"""What the pages list is what the code has: tables, names of verbs and errors, numbers, dependencies."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from datastore.errors import CODES
from datastore.operations import Operation
from datastore.ports import Backend
from tests.docs.pages import PAGES, ROOT, headings, name_of
from tests.docs.refusals import refusals, started
from tests.docs.tables import TABLES, names, raised, renewed, verbs
from tests.sandbox.test_remedies import FOLLOWED

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_table_of_a_page_is_as_the_code_makes_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == renewed(text), "run: .venv/bin/python -m tests.docs.tables"


def test_every_table_that_can_be_made_is_on_a_page() -> None:
    assert {name for page in PAGES for name in names(page)} == set(TABLES)


def test_every_verb_has_a_section_in_the_reference() -> None:
    assert set(verbs()) <= set(headings(DOCS / "api.md"))


def test_the_reference_describes_no_verb_that_does_not_exist() -> None:
    written = {heading for heading in headings(DOCS / "api.md") if re.fullmatch("[a-z_]+", heading)}
    assert written == set(verbs())


def test_every_error_that_can_be_raised_has_a_section_about_its_mend() -> None:
    assert {code for code, kind in CODES.items() if raised(kind)} <= set(headings(DOCS / "troubleshooting.md"))


def test_every_remedy_that_a_test_follows_is_one_that_an_error_names() -> None:
    assert sorted(FOLLOWED - {*refusals(), *started()}) == []


def test_every_refusal_to_start_has_a_remedy_in_the_tables() -> None:
    calls = [
        node
        for file in (ROOT / "sandbox").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("SandboxUnavailable")
    ]
    passed_on = {"diagnosis.explain", "Pool._unavailable"}
    assert len(calls) == len(refusals()) + len(passed_on)


def test_the_numbers_of_the_architecture_are_those_of_the_code() -> None:
    methods = [name for name, each in vars(Backend).items() if callable(each) and not name.startswith("_")]
    said = f"{len(verbs())} verbs become {len(get_args(Operation))} operations"
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert text.count(said) == 2
    assert f"a backend has {len(methods)} methods" in text


def test_every_dependency_has_a_line_about_its_purpose() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    wanted = {re.split(r"[^\w.-]", each)[0] for each in (*project["dependencies"], *extras)}
    page = (DOCS / "decisions" / "dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| ([\w.-]+) \|", page, re.MULTILINE)) - {"package", "---"} == wanted


def test_the_changelog_speaks_of_the_version_that_the_project_has() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert any(each.startswith(f"[{version}]") for each in headings(ROOT / "CHANGELOG.md"))
