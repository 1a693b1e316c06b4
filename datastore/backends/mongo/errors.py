"""Translate the driver's exceptions, once.

What the driver says never leaves: its texts hold hosts, commands and values. An exception that means "no answer"
becomes `StoreUnavailable`, which says whether a write may have happened; the driver's own is kept as its cause for
the host's log. A refused condition is part of how writes work and is handled there. Anything else is a mistake of this
package and leaves as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from datastore.errors import StoreUnavailable

DUPLICATE_KEY: Final = 11000
IMMUTABLE_FIELD: Final = 66
REFUSALS: Final = frozenset({DUPLICATE_KEY, IMMUTABLE_FIELD})
"""Codes by which a statement says that its own condition did not hold."""

_NEVER_SENT: Final = (ServerSelectionTimeoutError, WaitQueueTimeoutError)
_NO_ANSWER_CODES: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
_UNCHANGED: Final = "The store did not answer in time; nothing was changed."
_UNKNOWN: Final = "The store did not answer in time; the write may have happened. Read it again before you repeat it."


@contextmanager
def translated(*, write: bool, begun: bool = False) -> Iterator[None]:
    """Raise `StoreUnavailable` for a driver's exception that means that there was no answer.

    Args:
        write: whether the statement inside changes something.
        begun: whether an earlier statement of the same operation may have changed something.
    """
    try:
        yield
    except PyMongoError as error:
        if not _no_answer(error):
            raise
        unknown = begun or (write and not isinstance(error, _NEVER_SENT))
        raise StoreUnavailable(_UNKNOWN if unknown else _UNCHANGED) from error


def _no_answer(error: PyMongoError) -> bool:
    if isinstance(error, (ConnectionFailure, WriteConcernError)):
        return True
    if isinstance(error, BulkWriteError):
        return bool(error.details.get("writeConcernErrors")) or bool(failed(error).keys() & _NO_ANSWER_CODES)
    return isinstance(error, OperationFailure) and error.code in _NO_ANSWER_CODES


def failed(error: BulkWriteError) -> dict[int, list[int]]:
    """Return the indexes of the requests that failed, by the server's code."""
    codes: dict[int, list[int]] = {}
    for each in error.details.get("writeErrors", ()):
        codes.setdefault(each["code"], []).append(each["index"])
    return codes
