"""The leases that the peer of a connection holds, so that they can be given back when it is gone, however it went."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from datastore import names
from datastore.errors import DataStoreError
from datastore.models import Limits, Scope
from datastore.operations import Apply, Delete
from datastore.service.store import Store

Message = dict[str, Any]

_MOST: Final = 1000
"""Of one peer; more expire by themselves."""


class Leases:
    """Versions of leases by space, namespace and key."""

    def __init__(self) -> None:
        self._held: dict[tuple[str | None, str, str], str] = {}

    def note(self, request: Message, answer: Message) -> None:
        """Take note of what an answered request did to locks."""
        namespace, mutations = request.get("namespace"), request.get("mutations")
        if (
            "ok" not in answer
            or not isinstance(namespace, str)
            or not namespace.startswith(names.LOCKS)
            or not mutations
        ):
            return
        for mutation, outcome in zip(mutations, answer["ok"]["outcomes"], strict=True):
            place = (request.get("space"), namespace, mutation["key"])
            if mutation["kind"] == "delete":
                if mutation.get("if_version") in (None, self._held.get(place)):  # Else it is an earlier lease.
                    self._held.pop(place, None)
            elif mutation["kind"] == "put" and outcome["applied"] and len(self._held) < _MOST:
                self._held[place] = outcome["version"]

    async def give_back(self, store: Store, scope: Scope) -> None:
        """Remove every lease that is still there; where the store is away they expire."""
        scope = scope.model_copy(update={"limits": Limits()})  # It is the host that acts, however fast the agent was.
        with contextlib.suppress(DataStoreError):
            while self._held:
                (space, namespace, key), version = self._held.popitem()
                removal = Delete(key=key, if_version=version)
                await store.execute(scope, Apply(space=space, namespace=namespace, mutations=(removal,)))
