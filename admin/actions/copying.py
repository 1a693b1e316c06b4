"""A user's or a space's entries to another one's, in this store or another: an export and an import of it, in one.

What is read is kept in a private temporary file without a name, and checked as any archive is before anything is
written. So a copy is refused, goes on and restores exactly as an import does.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import BinaryIO, cast

from admin.actions import archive
from admin.actions.archive import Arrival, Existing, Progress, Restored
from admin.actions.subject import Owner
from datastore.errors import InvalidArgument
from datastore.service.store import Store


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes whose.

    Args:
        owner: whose it is.
        namespace: the one that is meant; None: all.
        target: whose the copy becomes.
        url: the store of the copy; None: the one that it comes from.
        existing: what happens where an entry stands at another version.

    Raises:
        InvalidArgument: it would be copied over itself.
    """

    owner: Owner
    namespace: str | None
    target: Owner
    url: str | None
    existing: Existing

    def __post_init__(self) -> None:
        if self.owner == self.target and self.url is None:
            raise InvalidArgument("say where the copy goes: --to-user USER, --to-space SPACE or --to-url URL.")


async def copy(source: Store, move: Move, target: Store, progress: Progress) -> Restored:
    """Copy every live entry; each is told to `progress` three times: when it is read, checked, and written.

    Raises:
        NotFound: there is none.
        InvalidArgument, ValueTooLarge, Conflict: as `archive.load`.
    """
    with tempfile.TemporaryFile() as file:
        kept = cast("BinaryIO", file)
        await archive.export(source, move.owner, move.namespace, kept, progress)
        kept.seek(0)
        return await archive.load(target, Arrival(move.target, kept, str(move.owner), move.existing), progress)
