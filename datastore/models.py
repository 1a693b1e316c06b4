"""Who acts, with which rights and limits: everything the host knows, frozen, and never taken from a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from datastore import names, values
from datastore.errors import AccessDenied
from datastore.grants import Grant, Right, resolve


class Model(BaseModel):
    """A frozen, strict value: unknown fields and near-miss types are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Most = Annotated[int | None, Field(ge=0, le=values.MOST_INT)]
"""The most of something that a quota allows; None is no limit."""


class Limits(Model):
    """What the store accepts from this scope: bytes of one value or metadata, what a whole may hold, and how fast.

    The user's whole store, and each of its namespaces, may hold so many bytes of values, and keys; None is no limit.

    Args:
        operations_per_second: of this scope, which may be a second's worth ahead; None: any number.
        scans_at_once: of the user in this host: scans, counts, clears, copies, lists of namespaces, usage.
        long_polls_at_once: of the user in this host: calls that wait for changes.
    """

    value_bytes: int = Field(default=values.VALUE_BYTES, gt=0, le=values.VALUE_BYTES)
    metadata_bytes: int = Field(default=values.METADATA_BYTES, gt=0, le=values.METADATA_BYTES)
    user_bytes: Most = None
    user_keys: Most = None
    namespace_bytes: Most = None
    namespace_keys: Most = None
    operations_per_second: float | None = Field(default=None, ge=0.001, allow_inf_nan=False)
    scans_at_once: int | None = Field(default=None, gt=0)
    long_polls_at_once: int | None = Field(default=None, gt=0)


NO_LIMITS: Final = Limits()
"""The store's own bounds of a value and of metadata, and no others."""


class Scope(Model):
    """User, agent, run, grants and limits: everything the host knows about who is acting.

    Args:
        user: the tenant whose data it is; an opaque id chosen by the platform.
        agent: the name of the code that acts; recorded on every write and read.
        run: one execution of the agent; the sandbox mints one where it is None.
        grants: what may be read and written; `()` grants nothing. What they give is settled when the scope is made.
        limits: sizes.

    Raises:
        ValueError: a name is unusable (pydantic's `ValidationError`, which names the field).
    """

    user: Annotated[str, AfterValidator(partial(names.name, "user"))]
    agent: Annotated[str, AfterValidator(partial(names.name, "agent"))]
    run: Annotated[str, AfterValidator(partial(names.name, "run"))] | None = None
    grants: tuple[Grant, ...] = (Grant(namespace="*"),)
    limits: Limits = Limits()
    _rights: tuple[Right, ...] = PrivateAttr(default=())

    def model_post_init(self, context: Any, /) -> None:
        """Resolve the grants, once: what they mean for this agent of this user."""
        del context
        self._rights = tuple(right for each in self.grants for right in resolve(each, self.user, self.agent))

    @cached_property
    def rights(self) -> tuple[Right, ...]:
        """What the grants give, in stored names."""
        return self._rights

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with another run or other limits.

        Raises:
            ValueError: it would have another user, agent or grants, which its rights would not follow.
        """
        if settled := {"user", "agent", "grants"} & set(update or ()):
            raise ValueError(
                f"a scope's rights are settled when it is made, so a copy cannot have another {min(settled)}. "
                "Make another Scope(...), or scope.delegate(agent, grants)."
            )
        return super().model_copy(update=update, deep=deep)

    def delegate(self, agent: str, grants: Iterable[Grant], *, limits: Limits | None = None) -> Scope:
        """Return the scope of another agent that acts within this one; user and run stay.

        Each grant must lie inside one of this scope's: owner, names, access and end. Of a `*`, another agent gets no
        private namespaces, since this scope has none of another agent to give.

        Args:
            agent: who is to act.
            grants: what it may do, in that agent's words; an empty list grants nothing.
            limits: no limit above this scope's; default: this scope's.

        Raises:
            AccessDenied: a grant or a limit is wider; names it, and the nearest grant that this scope has.
            ValueError: the agent's name is unusable.
        """
        given = Scope(user=self.user, agent=agent, run=self.run, grants=tuple(grants), limits=limits or self.limits)
        self._refuse_wider_limits(given.limits)
        given._rights = tuple(each for each in given._rights if self._may_give(each, agent))
        return given

    def _may_give(self, right: Right, agent: str) -> bool:
        """Say whether a right can be passed on; False where it is only left out."""
        if any(each.contains(right) for each in self.rights):
            return True
        if right.grant.namespace == "*" and names.is_reserved(right.namespace):
            return False
        nearest = max(self.rights, key=lambda each: each.nearness(right), default=None)
        known = "it has none" if nearest is None else f"the nearest is {nearest.grant.said()}"
        raise AccessDenied(
            f"agent {self.agent!r} cannot give {right.grant.said()} to agent {agent!r}: that lies inside none of its "
            f"own grants; {known}. Give a part of one of them.",
            namespace=right.grant.namespace,
        )

    def _refuse_wider_limits(self, limits: Limits) -> None:
        for name, own in self.limits:
            given = getattr(limits, name)
            if own is not None and (given is None or given > own):
                asked = "no limit" if given is None else f"{given:,}"
                raise AccessDenied(f"{name}={asked} is above this scope's own {own:,}. Give no more than that.")

    @cached_property
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
