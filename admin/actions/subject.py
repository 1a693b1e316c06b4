"""Whose data an operator means, and who the operator is."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import Literal, Self

from datastore import names
from datastore.chain import Deed
from datastore.document import Place
from datastore.entry import Entry
from datastore.errors import DataStoreError, InvalidArgument
from datastore.models import Scope, operator_scope
from datastore.service import policy


class NotFound(DataStoreError):  # noqa: N818 - named as the store names its errors
    """There is nothing of that name."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Owner:
    """A user, or a space that users share."""

    kind: Literal["user", "space"]
    name: str

    @classmethod
    def of(cls, user: str | None, space: str | None) -> Self:
        """Return the owner of whom exactly one name was given.

        Raises:
            InvalidArgument: none or both were given, or a user's name is a space's.
            InvalidName: the name is unusable.
        """
        if (user is None) == (space is None):
            raise InvalidArgument("say whose data: --user USER or --space SPACE, one of the two.")
        if user is None:
            return cls("space", names.name("space", space))
        if user.startswith(names.RESERVED):
            raise InvalidArgument(f"{user!r} is no user; '@' marks a space. Write --space {user[1:]!r}.")
        return cls("user", names.name("user", user))

    @property
    def id(self) -> str:
        """The first part of its documents' ids."""
        return self.name if self.kind == "user" else names.RESERVED + self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Area:
    """One namespace of one owner; it may be one that the host makes, such as `@agent/NAME`."""

    owner: Owner
    namespace: str

    @property
    def place(self) -> Place:
        """Where its entries are.

        Raises:
            InvalidName: the namespace is unusable.
        """
        return policy.place(scope(self.owner), names.text("namespace", self.namespace))

    def __str__(self) -> str:
        return f"{self.owner}, namespace {self.namespace}"


def scope(owner: Owner) -> Scope:
    """Return the scope in which an operator of this process acts on an owner's data."""
    return operator_scope(owner.id, operator_name())


def deed(owner: Owner, operation: str, entry: Entry, outcome: str = "done") -> Deed:
    """Return what the audit log says of something that an operator did to an entry past operations."""
    who = scope(owner)
    about = (owner.id, entry.namespace, entry.key, entry.size_bytes, entry.version)
    return Deed(who.user, who.agent, who.run, operation, *about, outcome=outcome)


def operator_name() -> str:
    """Return the name of this process's account, which no environment variable can change.

    Raises:
        InvalidName: the system gives a name that cannot be recorded.
    """
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # Containers often run under a number without an account.
        name = f"uid-{uid}"
    return names.text("operator", name)
