"""The host's settings: `DATASTORE_*` variables over an optional YAML file; unknown names are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datastore.deadlines import TIMEOUT_SECONDS
from datastore.errors import ConfigurationError
from datastore.models import Limits, Most
from datastore.values import VALUE_BYTES

PREFIX = "DATASTORE_"

Auditing = Literal["none", "writes", "all"]
"""What the audit log notes: nothing; writes, deletes and refusals; or reads too."""


def default_url() -> str:
    """Return the URL of the embedded store in the platform's data directory.

    Raises:
        ConfigurationError: this account has no home, as many in containers.
    """
    try:
        return f"sqlite:///{platformdirs.user_data_path('agent-data-store') / 'datastore.db'}"
    except RuntimeError as error:
        raise ConfigurationError(
            "this account has no home folder for a store. Name one with --url or DATASTORE_URL, or set HOME."
        ) from error


class Settings(BaseModel):
    """Frozen settings of one host. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(default_factory=default_url, description="where the documents are")
    mongo_driver: Literal["motor", "pymongo"] = Field(default="motor", description="the MongoDB client library")
    mongo_collection: str = Field(default="entries", min_length=1, description="the collection of the documents")
    connect_timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="how long a start waits for a server")
    operation_timeout_seconds: float = Field(
        default=TIMEOUT_SECONDS, gt=0, le=300, description="deadline of one operation"
    )
    flush_seconds: float = Field(default=1.0, gt=0, le=60, description="how often counted reads are written")
    audit: Auditing = Field(default="none", description="what the audit log notes: `none`, `writes` or `all`")
    audit_heads: str | None = Field(default=None, description="a file that the audit log's heads are added to")
    metrics: bool = Field(default=False, description="whether operations are counted through OpenTelemetry")
    value_bytes: int = Field(default=VALUE_BYTES, gt=0, le=VALUE_BYTES, description="the most bytes of one value")
    user_bytes: Most = Field(default=None, description="the most bytes of a user's, or a space's, values together")
    user_keys: Most = Field(default=None, description="the most keys of a user, or of a space")
    namespace_bytes: Most = Field(default=None, description="the most bytes of a namespace's values together")
    namespace_keys: Most = Field(default=None, description="the most keys of a namespace")
    isolation: str = Field(default="strict", description="the sandbox level")
    launcher: str | None = Field(default=None, description="the command of the level `external`, in a shell's words")
    site_packages: str | None = Field(default=None, description="a folder of packages that agents may import")
    run_as: str | None = Field(
        default=None,
        description="the user that launches sandboxes where the host is root; at `landlock` a range of uids",
    )

    @property
    def limits(self) -> Limits:
        """What the store accepts from everybody, unless an operator has set something else for a user or space."""
        return Limits(
            value_bytes=self.value_bytes,
            user_bytes=self.user_bytes,
            user_keys=self.user_keys,
            namespace_bytes=self.namespace_bytes,
            namespace_keys=self.namespace_keys,
        )


def load(environment: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """Return the settings: what is given, over the environment, over the file that `DATASTORE_CONFIG` names.

    Raises:
        ConfigurationError: a name is unknown, a value unusable, or the file unreadable; the message names it.
    """
    found = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and not name.startswith(PREFIX + "TEST_") and value
    }
    from_file = _read(found.pop("config", None))
    try:
        return Settings.model_validate({**from_file, **found, **{k: v for k, v in given.items() if v is not None}})
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error


def _read(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not YAML"
        raise ConfigurationError(f"DATASTORE_CONFIG={path!r} cannot be read: {reason}. Give a YAML file.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"DATASTORE_CONFIG={path!r} must hold a mapping of settings, such as `url: sqlite:///a.db`."
        )
    return content


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(Settings.model_fields))
        return f"unknown setting {name!r} ({PREFIX}{name.upper()}). Known: {known}."
    return f"setting {name!r} ({PREFIX}{name.upper()}): {first['msg']}, got {first['input']!r}."
