"""What a host grants, as it is said and as it is decided on.

A grant is said in the words of the acting agent. It is resolved once, when a scope is made, into rights on stored names
of one owner: `self.*` then means that one agent's private namespaces, and can never mean another's. A name that begins
with `@` is made by the host; no pattern reaches one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, model_validator

from datastore import names

Access = Literal["read", "write"]
SELF: Final = "self"
"""How an agent names its own private namespace; `self.NAME` is another one of its own."""


def _pattern(pattern: str) -> str:
    if pattern == f"{SELF}*":
        raise ValueError("'self*' would be a prefix. Write 'self.*' for the agent's private namespaces.")
    if pattern != "*":
        names.name("namespace", pattern.removesuffix("*"))
    return pattern


class Grant(BaseModel, frozen=True, strict=True, extra="forbid"):
    """A right to some namespaces of the user, or of a space, until an end.

    Args:
        namespace: a literal name; a prefix ending in `*`; `*` for all of the user's, the agent's private ones
            included; `self` or `self.NAME` for one private namespace of the acting agent, `self.*` for all of them.
        access: `both` is reading and writing.
        space: whose namespaces, where they are not the user's.
        until: aware; from that moment on, by the store's clock, the grant gives nothing.
    """

    namespace: Annotated[str, AfterValidator(_pattern)]
    access: Literal["read", "write", "both"] = "both"
    space: Annotated[str, AfterValidator(partial(names.name, "space"))] | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _has_what_it_names(self) -> Self:
        if self.space is not None and is_private(self.namespace):
            raise ValueError(f"a space has no private namespaces, so {self.namespace!r} is none. Name another.")
        return self

    @classmethod
    def own(cls) -> Self:
        """Return the usual grant: everything of the user, and the agent's own private namespaces."""
        return cls(namespace="*")

    def allows(self, access: Access, now: datetime) -> bool:
        """Say whether the grant gives this access at that time."""
        return self.access in ("both", access) and not self.ended(now)

    def ended(self, now: datetime) -> bool:
        """Say whether the grant gives nothing any more."""
        return self.until is not None and now >= self.until

    def bears(self, other: Grant) -> bool:
        """Say whether another grant gives no more access than this one, and no longer."""
        lasts = self.until is None or (other.until is not None and other.until <= self.until)
        return self.access in ("both", other.access) and lasts

    def said(self, now: datetime | None = None) -> str:
        """Return the grant in words; with a time, as it is then."""
        of = "" if self.space is None else f" of space {self.space!r}"
        if self.until is None:
            return f"{self.namespace!r}{of} ({self.access})"
        word = "ended" if now is not None and self.ended(now) else "until"
        return f"{self.namespace!r}{of} ({self.access}, {word} {self.until.isoformat(timespec='seconds')})"


@dataclass(frozen=True, slots=True)
class Right:
    """What a grant gives: one stored namespace of an owner, or with `prefix` all that begin with it."""

    grant: Grant
    owner: str
    namespace: str
    prefix: bool

    def covers(self, owner: str, namespace: str) -> bool:
        """Say whether a stored namespace is meant."""
        if owner != self.owner or not self.prefix:
            return (owner, namespace) == (self.owner, self.namespace)
        return namespace.startswith(self.namespace) and (self.namespace != "" or not names.is_reserved(namespace))

    def contains(self, other: Right) -> bool:
        """Say whether another right lies inside this one: owner, names, access and end."""
        spans = self.covers(other.owner, other.namespace) and (self.prefix or not other.prefix)
        return spans and self.grant.bears(other.grant)

    def nearness(self, other: Right) -> tuple[bool, bool, int]:
        """Return how much this right has in common with one that does not lie inside it; more is greater."""
        pairs = zip(self.namespace, other.namespace, strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return self.owner == other.owner, self.covers(other.owner, other.namespace), alike


def is_private(namespace: str) -> bool:
    """Say whether an agent's word, or a pattern of such words, means its own private namespaces."""
    return namespace == SELF or namespace.startswith(f"{SELF}.")


def private(agent: str, namespace: str = SELF) -> str:
    """Return where a private namespace is stored: `@agent/NAME`, or `@agent/NAME/X` for `self.X`.

    The agent's own slashes are escaped, so that no two agents' meet.
    """
    own = "@agent/" + agent.replace("%", "%25").replace("/", "%2F")
    return own + namespace.removeprefix(SELF).replace(".", "/", 1)


def space_owner(space: str) -> str:
    """Return the owner of a space's data."""
    return names.RESERVED + space


def resolve(grant: Grant, user: str, agent: str) -> tuple[Right, ...]:
    """Return what a grant gives to an agent of a user."""
    if grant.space is not None:
        return (_right(grant, space_owner(grant.space), grant.namespace),)
    if is_private(grant.namespace):
        own = _right(grant, user, private(agent, grant.namespace))
        return (*_privately(grant, user, agent),) if grant.namespace == f"{SELF}.*" else (own,)
    shared = _right(grant, user, grant.namespace)
    return (shared, *_privately(grant, user, agent)) if grant.namespace == "*" else (shared,)


def _right(grant: Grant, owner: str, pattern: str) -> Right:
    return Right(grant, owner, pattern.removesuffix("*"), pattern.endswith("*"))


def _privately(grant: Grant, user: str, agent: str) -> tuple[Right, ...]:
    if names.is_reserved(agent):  # An operator has none.
        return ()
    own = private(agent)
    return Right(grant, user, own, prefix=False), Right(grant, user, f"{own}/", prefix=True)
