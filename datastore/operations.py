"""The nine operations that an agent's verbs become, their mutations, and what the store answers.

Operations come from an untrusted peer, so they are strict frozen pydantic models, parsed once at the boundary. None
can name a user. Answers are made by the store itself and need no checks. One subject, so longer than most files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from datastore import names, values
from datastore.entry import Entry, unpack_value
from datastore.models import Model, Usage

MOST_ITEMS = 1000
"""The most keys, mutations or entries of one operation; longer work is several operations."""

Key = Annotated[str, AfterValidator(partial(names.name, "key"))]
Keys = Annotated[
    tuple[str, ...], Field(strict=False, min_length=1, max_length=MOST_ITEMS), AfterValidator(names.usable_keys)
]
Namespace = Annotated[str, AfterValidator(names.named)]
Space = Annotated[str, AfterValidator(partial(names.name, "space"))]
Prefix = Annotated[str, AfterValidator(names.prefix)]
Seconds = Annotated[float, AfterValidator(partial(names.seconds, "ttl_seconds"))]
By = Annotated[int | float, BeforeValidator(partial(values.number, "by"))]
Initial = Annotated[int | float, BeforeValidator(partial(values.number, "initial"))]
Limit = Annotated[int, Field(ge=1, le=MOST_ITEMS)]

MOST_WAIT_SECONDS = 30.0
"""The longest that one watch waits; longer watching is several operations."""
_CURSOR_CHARACTERS = 128


class _Mutation(Model):
    """What every mutation names; a namespace of its own only in an atomic operation."""

    namespace: Namespace | None = None
    key: Key


class Put(_Mutation):
    """Write a value: JSON in `value`, or bytes as base64 in `value_base64`.

    `metadata` merges shallowly. `if_version` and `if_absent` make it conditional. Without `ttl_seconds` the entry no
    longer expires, unless `keep_expiry` says so of an `if_version`.
    """

    kind: Literal["put"] = "put"
    value: Any = None
    value_base64: str | None = None
    metadata: dict[str, Any] | None = None
    ttl_seconds: Seconds | None = None
    if_version: str | None = None
    if_absent: bool = False
    keep_expiry: bool = False

    def content(self) -> Any:
        """Return the value itself.

        Raises:
            ValueError: `value_base64` is not base64.
        """
        return unpack_value({"value": self.value, "value_base64": self.value_base64})


class Delete(_Mutation):
    """Remove an entry."""

    kind: Literal["delete"] = "delete"
    if_version: str | None = None


class Touch(_Mutation):
    """Give an entry a new expiry, or none."""

    kind: Literal["touch"] = "touch"
    ttl_seconds: Seconds | None = None
    if_version: str | None = None


class Incr(_Mutation):
    """Add to a number; where there is no entry, it begins as `initial` + `by`, which must be a number itself.

    Without `ttl_seconds` the entry keeps its expiry, and a new one has none. Its outcome is an error or a number, so it
    stands alone, or in an atomic operation, which gives no number.
    """

    kind: Literal["incr"] = "incr"
    by: By
    initial: Initial = 0
    ttl_seconds: Seconds | None = None


class Check(_Mutation):
    """Require that an entry is at a version, or that there is none (None); in an atomic operation only."""

    kind: Literal["check"] = "check"
    version: str | None


Mutation = Annotated[Put | Delete | Touch | Incr | Check, Field(discriminator="kind")]


class Named(Model):
    """What every operation may name: the space that it is about, in place of the user's own data."""

    space: Space | None = None


class Get(Named):
    """Read entries by key; the answer stops at a byte budget and says which keys are left."""

    op: Literal["get"] = "get"
    namespace: Namespace
    keys: Keys
    detail: Literal["key", "value", "entry"] = "value"


class Scan(Named):
    """Read a page in key order; the answer says after which key the next one starts."""

    op: Literal["scan"] = "scan"
    namespace: Namespace
    prefix: Prefix = ""
    after: Key | None = None
    limit: Limit = MOST_ITEMS
    reverse: bool = False
    detail: Literal["key", "value", "entry"] = "value"


class Namespaces(Named):
    """List the namespaces that hold a live entry and may be read, in order."""

    op: Literal["namespaces"] = "namespaces"
    prefix: Prefix = ""
    after: Namespace | None = None
    limit: Limit = MOST_ITEMS


class Count(Named):
    """Count live entries."""

    op: Literal["count"] = "count"
    namespace: Namespace
    prefix: Prefix = ""


class Apply(Named):
    """Change entries; a key may be named once.

    With `atomic` all changes are made or none, over any namespaces of the owner; a key may then have a check and one
    change, and a condition that does not hold is a conflict.
    """

    op: Literal["apply"] = "apply"
    namespace: Namespace
    atomic: bool = False
    mutations: Annotated[tuple[Mutation, ...], Field(strict=False, min_length=1, max_length=MOST_ITEMS)]


class Clear(Named):
    """Remove every entry of a namespace whose key has the prefix."""

    op: Literal["clear"] = "clear"
    namespace: Namespace
    prefix: Prefix = ""


class Copy(Named):
    """Copy entries with metadata and expiry to another namespace of the same owner."""

    op: Literal["copy"] = "copy"
    namespace: Namespace
    target: Namespace
    prefix: Prefix = ""


class GetUsage(Named):
    """Ask for the keys and bytes of what may be read, and the limits."""

    op: Literal["usage"] = "usage"


class Watch(Named):
    """Ask for the changes after a cursor, in order, waiting a while where there is none yet: a long poll.

    `exact` means the one key that `prefix` names. Without a cursor it begins now.
    """

    op: Literal["watch"] = "watch"
    namespace: Namespace
    prefix: Prefix = ""
    exact: bool = False
    cursor: Annotated[str, Field(max_length=_CURSOR_CHARACTERS)] | None = None
    wait_seconds: Annotated[float, Field(ge=0, le=MOST_WAIT_SECONDS)] = 0


Operation = Get | Scan | Namespaces | Count | Apply | Clear | Copy | GetUsage | Watch
OPERATION: TypeAdapter[Operation] = TypeAdapter(Annotated[Operation, Field(discriminator="op")])


@dataclass(frozen=True, slots=True)
class Status:
    """That an entry is there, without its value. `expires_in_seconds` is None where it never expires."""

    key: str
    version: str
    expires_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """Answer of `get`: what was found, and the keys that were not looked at yet."""

    items: tuple[Entry | Status, ...]
    rest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Answer of `scan`: entries, or keys alone; `next` is the key after which to go on, None at the end."""

    items: tuple[Entry | str, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Names:
    """Answer of `namespaces`; `next` as in `Page`."""

    names: tuple[str, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Number:
    """Answer of `count`, `clear` and `copy`."""

    number: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutation; in an atomic operation a check has the outcome of its key.

    `applied` says whether its condition held. `version` is the new one after a put; where a condition failed, the
    one that stands now (None: no such entry). `number` is what an increment made.
    """

    applied: bool
    version: str | None = None
    number: int | float | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Answer of `apply`: how many entries were created, changed or removed, and an outcome per mutation."""

    changed: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """One change: an entry was put at `version`, or removed (None). `cursor` is where a later watch goes on."""

    key: str
    version: str | None
    cursor: str


@dataclass(frozen=True, slots=True)
class Notices:
    """Answer of `watch`: changes in order, none where the time was up; and the cursor for the next one."""

    items: tuple[Notice, ...]
    cursor: str


Answer = Found | Page | Names | Number | Applied | Usage | Notices
