"""Who acts, with which rights and limits: everything the host knows, frozen, and never taken from a message."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from datastore import names, values

Access = Literal["read", "write"]


class Model(BaseModel):
    """A frozen, strict value: unknown fields and near-miss types are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _pattern(pattern: str) -> str:
    if pattern != "*":
        names.name("namespace", pattern.removesuffix("*"))
    return pattern


class Grant(Model):
    """A right to some namespaces of the user.

    `namespace` is a literal name, a prefix ending in `*`, or `*` for all; `self*` means the acting agent's own private
    namespaces. A pattern never reaches another agent's private namespace.
    """

    namespace: Annotated[str, AfterValidator(_pattern)]
    access: Literal["read", "write", "both"] = "both"

    @classmethod
    def own(cls) -> Self:
        """Return the usual grant: everything of the user, and the agent's own private namespaces."""
        return cls(namespace="*")

    def covers(self, namespace: str, access: Access) -> bool:
        """Say whether this grant allows `access` to a namespace, named as the agent names it."""
        if self.access not in ("both", access):
            return False
        if self.namespace.endswith("*"):
            return namespace.startswith(self.namespace[:-1])
        return namespace == self.namespace


class Limits(Model):
    """What the store accepts from this scope, in bytes."""

    value_bytes: int = Field(default=values.VALUE_BYTES, gt=0, le=values.VALUE_BYTES)
    metadata_bytes: int = Field(default=values.METADATA_BYTES, gt=0, le=values.METADATA_BYTES)


class Scope(Model):
    """User, agent, run, grants and limits: everything the host knows about who is acting.

    Args:
        user: the tenant whose data it is; an opaque id chosen by the platform.
        agent: the name of the code that acts; recorded on every write and read.
        run: one execution of the agent; the sandbox mints one where it is None.
        grants: what may be read and written; `()` grants nothing.
        limits: sizes.

    Raises:
        ValueError: a name is unusable (pydantic's `ValidationError`, which names the field).
    """

    user: Annotated[str, AfterValidator(partial(names.name, "user"))]
    agent: Annotated[str, AfterValidator(partial(names.name, "agent"))]
    run: Annotated[str, AfterValidator(partial(names.name, "run"))] | None = None
    grants: tuple[Grant, ...] = (Grant(namespace="*"),)
    limits: Limits = Limits()

    @property
    def operator(self) -> bool:
        """Whether an operator acts; only the host can make such a scope, since `@` is refused from outside."""
        return self.agent.startswith(OPERATOR)


OPERATOR = "@admin/"


def operator_scope(owner: str, name: str) -> Scope:
    """Return the scope of an operator on one owner's data; what it writes is recorded as agent `@admin/NAME`.

    Args:
        owner: a user, or a space with its `@`.
        name: the operator's name on the operating system.
    """
    checked = names.name("user", owner.removeprefix(names.RESERVED))
    owner = names.RESERVED + checked if owner.startswith(names.RESERVED) else checked
    return Scope.model_construct(
        user=owner, agent=OPERATOR + name, run=OPERATOR + name, grants=(Grant.own(),), limits=Limits()
    )


class Usage(Model):
    """What an owner holds, of what the scope may read, and the limits that apply to it."""

    keys: int
    bytes: int
    limits: Limits
