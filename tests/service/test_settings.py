"""Settings come from the environment and a file, and a mistake in them is one line that names it."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from pydantic import ValidationError

from datastore.errors import ConfigurationError
from datastore.settings import Settings, load


def test_variables_go_over_the_file_and_arguments_over_both(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("url: sqlite:///file.db\nmongo_driver: pymongo\nflush_seconds: 2\n")
    found = load({"DATASTORE_CONFIG": str(file), "DATASTORE_FLUSH_SECONDS": "3", "OTHER": "x"})
    assert (found.url, found.mongo_driver, found.flush_seconds) == ("sqlite:///file.db", "pymongo", 3.0)
    assert load({"DATASTORE_URL": "sqlite:///a"}, url="sqlite:///b", run_as=None).url == "sqlite:///b"


def test_the_default_store_is_a_file_in_the_platforms_data_directory() -> None:
    assert load({}).url.startswith("sqlite:////")
    assert load({"DATASTORE_URL": ""}).url == load({}).url


def test_an_account_without_a_home_is_told_to_name_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> pwd.struct_passwd:
        raise KeyError

    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ConfigurationError, match=r"no home folder for a store\. Name one with --url"):
        load({})
    assert load({}, url="sqlite://").url == "sqlite://"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"DATASTORE_URLL": "x"},
            r"^unknown setting 'urll' \(DATASTORE_URLL\)\. Known: audit, .*url, .*\.$",
        ),
        (
            {"DATASTORE_FLUSH_SECONDS": "often"},
            r"^setting 'flush_seconds' \(DATASTORE_FLUSH_SECONDS\): .*got 'often'\.$",
        ),
        ({"DATASTORE_FLUSH_SECONDS": "nan"}, r"flush_seconds"),
        ({"DATASTORE_MONGO_DRIVER": "other"}, r"mongo_driver.*'motor' or 'pymongo'"),
        ({"DATASTORE_CONFIG": "/nowhere.yaml"}, r"DATASTORE_CONFIG='/nowhere\.yaml' cannot be read: No such file"),
    ],
)
def test_a_mistake_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(environment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("- a list", "must hold a mapping"), ("a: [", "not YAML"), ("urll: x", "unknown setting 'urll'")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        load({"DATASTORE_CONFIG": str(file)})


def test_variables_of_the_tests_are_no_settings() -> None:
    assert load({"DATASTORE_TEST_MONGO_URL": "x"}) == load({})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().url = "x"  # type: ignore[misc]  # the attempt is the case
