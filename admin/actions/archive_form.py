"""The form of an archive: lines of JSON, of which docs/archive.md is the reference.

A header, perhaps a line of limits, a line for each entry in the order of namespace and key, and a footer with counts
and a SHA-256 of all before it.
A line holds no id and no owner, so whoever imports it decides whose it becomes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from typing import Annotated, Any, Final, Literal

from base64io import Base64IO
from pydantic import AfterValidator, BeforeValidator, Field

from datastore import names, values
from datastore.entry import Entry
from datastore.models import Model
from datastore.service.overrides import ANY, Override

FORMAT: Final = "agent-data-store archive"
VERSION: Final = 1
HEADER_BYTES: Final = 8 * 1024
LINE_BYTES: Final = values.VALUE_BYTES * 4 // 3 + 64 * 1024
"""The longest line: a value as base64, which takes four bytes for three, with the largest metadata and names."""
MOST_ENTRIES: Final = 100_000_000
PIECE_BYTES: Final = 48 * 1024
"""How much of a value is turned into base64, or back, at a time."""
_HOSTS_OWN: Final = ("@agent/", names.LOCKS)


def _moment(text: object) -> datetime:
    """Return a time; only the very text that `isoformat` writes for milliseconds of UTC is one."""
    found = datetime.fromisoformat(text) if isinstance(text, str) else None
    if found is None or found.tzinfo is None or found.astimezone(UTC).isoformat(timespec="milliseconds") != text:
        raise ValueError("a time is written as 2026-01-31T12:00:00.000+00:00")
    return found.astimezone(UTC)


def _namespace(text: str) -> str:
    if text.startswith(_HOSTS_OWN):
        return names.text("stored namespace", text)
    if text == "self" or text.startswith("self."):
        raise ValueError("no stored namespace has this name")
    return names.name("namespace", text)


def _recorded(kind: str, text: str) -> str:
    """Return the name of an agent, a run or a version, which an operator's may begin with `@`."""
    if not text:
        raise ValueError("it must not be empty")
    return names.text(kind, text)


def _unchanged(value: Any) -> Any:
    values.plain(value)
    return value


def _limited(limits: Override) -> Override:
    for name in limits.namespaces:
        if name != ANY:
            _namespace(name)
    return limits


Moment = Annotated[datetime, BeforeValidator(_moment)]
Agent = Annotated[str, AfterValidator(partial(_recorded, "agent"))]
Run = Annotated[str, AfterValidator(partial(_recorded, "run"))]
User = Annotated[str, AfterValidator(partial(_recorded, "user"))]


class Header(Model):
    """The first line."""

    format: Literal["agent-data-store archive"]
    version: Literal[1]
    owner: str
    namespace: str | None
    exported_at: Moment


class Line(Model):
    """One entry: `Entry.as_dict`, with exactly one of `value` and `value_base64`."""

    namespace: Annotated[str, AfterValidator(_namespace)]
    key: Annotated[str, AfterValidator(partial(names.name, "key"))]
    value: Annotated[Any, AfterValidator(_unchanged)] = None
    value_base64: str | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(values.metadata)]
    version: Annotated[str, AfterValidator(partial(_recorded, "version"))]
    created_at: Moment
    updated_at: Moment
    last_accessed_at: Moment | None
    expires_at: Moment | None
    created_by_agent: Agent
    updated_by_agent: Agent
    last_accessed_by_agent: Agent | None
    created_by_run: Run
    updated_by_run: Run
    created_by_user: User | None
    updated_by_user: User | None
    access_count: Annotated[int, Field(ge=0, le=values.MOST_INT)]
    size_bytes: Annotated[int, Field(ge=0, le=values.VALUE_BYTES)]

    def entry(self) -> Entry:
        """Return the entry.

        Raises:
            ValueError: it has no value or two, or another size than it says.
        """
        if len({"value", "value_base64"} & self.model_fields_set) != 1:
            raise ValueError("an entry has either value or value_base64")
        facts = {name: getattr(self, name) for name in type(self).model_fields if name != "value_base64"}
        if "value_base64" in self.model_fields_set:
            facts["value"] = _decoded(self.value_base64 or "")
        if values.size(facts["value"]) != self.size_bytes:
            raise ValueError(f"size_bytes is {self.size_bytes:,}, but the value has {values.size(facts['value']):,}")
        return Entry(**facts)


class Quota(Model):
    """A second line, where an operator had set a quota for the owner, and all of it was exported."""

    limits: Annotated[Override, AfterValidator(_limited)]


class Footer(Model):
    """The last line: how many entries, the bytes of their values, and the SHA-256 of all lines before this one."""

    entries: Annotated[int, Field(ge=0, le=MOST_ENTRIES)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _decoded(text: str) -> bytes:
    """Return bytes from base64; base64io passes over what is none, so what is read must be what would be written."""
    source, found = Base64IO(BytesIO(text.encode())), BytesIO()
    while piece := source.read(PIECE_BYTES):
        found.write(piece)
    written = BytesIO()
    encode(found.getvalue(), written)
    if written.getvalue() != text.encode():
        raise ValueError("value_base64 is not base64")
    return found.getvalue()


def encode(value: bytes, sink: Any) -> None:
    """Write bytes as base64 to a binary file, a piece at a time."""
    view = memoryview(value)
    with Base64IO(sink) as encoder:
        for start in range(0, len(view), PIECE_BYTES):
            encoder.write(bytes(view[start : start + PIECE_BYTES]))
