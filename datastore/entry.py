"""An entry: a value with its metadata and provenance, the same on both sides of the wire.

Standard library only, because this file enters the sandbox.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""What an entry that does not expire is stored with; it shows as None."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it was when it was read. Times are aware UTC, in milliseconds; sizes are bytes.

    Users are recorded in a space alone, where entries are of several; else they are None.
    """

    _not_data_: ClassVar[str] = "Entry is a handle, not data; return values, or entry.as_dict()."

    namespace: str
    key: str
    value: Any
    metadata: dict[str, Any]
    version: str
    created_at: datetime
    updated_at: datetime
    last_accessed_at: datetime | None
    expires_at: datetime | None
    created_by_agent: str
    updated_by_agent: str
    last_accessed_by_agent: str | None
    created_by_run: str
    updated_by_run: str
    created_by_user: str | None
    updated_by_user: str | None
    access_count: int
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return every field as JSON: times in ISO 8601, a `bytes` value as base64 under `value_base64`."""
        answer = {name: getattr(self, name) for name in _NAMES}
        for name in _TIMES:
            if answer[name] is not None:
                answer[name] = answer[name].isoformat(timespec="milliseconds")
        return pack_value(answer)

    @classmethod
    def from_dict(cls, answer: dict[str, Any]) -> Entry:
        """Rebuild the entry that `as_dict` described."""
        facts = {**answer, "value": unpack_value(answer)}
        facts.pop("value_base64", None)
        for name in _TIMES:
            if facts[name] is not None:
                facts[name] = datetime.fromisoformat(facts[name])
        return cls(**facts)


_NAMES: Final = tuple(each.name for each in fields(Entry))
_TIMES: Final = ("created_at", "updated_at", "last_accessed_at", "expires_at")


def pack_value(answer: dict[str, Any]) -> dict[str, Any]:
    """Move a `bytes` value to the field that JSON can say; anything else stays."""
    if isinstance(answer.get("value"), bytes):
        answer["value_base64"] = base64.b64encode(answer.pop("value")).decode("ascii")
    return answer


def unpack_value(answer: dict[str, Any]) -> Any:
    """Return the value that `pack_value` packed.

    Raises:
        ValueError: `value_base64` is not base64.
    """
    if (text := answer.get("value_base64")) is not None:
        return base64.b64decode(text, validate=True)
    return answer.get("value")
