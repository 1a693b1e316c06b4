"""Where a driver's exception becomes `StoreUnavailable`: once, here, without the driver's words.

Only what may pass, or what an operator can mend, is translated: a lock, a full disk, a deadline. A statement that the
engine does not understand is our own mistake and leaves as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy.exc import DatabaseError, DBAPIError, InternalError, OperationalError

from datastore import deadlines
from datastore.backends.sql.dialect import Dialect
from datastore.errors import StoreUnavailable


class Stopped(Exception):  # noqa: N818 - never leaves this package
    """The operation was told to stop between two statements."""


class Refused(Exception):  # noqa: N818 - as above
    """The server will not have us, and no waiting mends it; the text is the remedy, for an operator alone."""


class Attempt(Protocol):
    """What an error must know of an operation."""

    @property
    def dialect(self) -> Dialect:
        """Whose errors it meets."""

    @property
    def uncertain(self) -> bool:
        """Whether a write may have happened."""


@contextmanager
def translated(attempt: Attempt) -> Iterator[None]:
    """Translate what the driver raises.

    Raises:
        StoreUnavailable: the message says whether the write may have happened.
    """
    try:
        yield
    except Stopped as error:
        raise unavailable(deadlines.TOO_LATE, attempt) from error
    except Refused as error:
        raise unavailable("the store cannot be reached now", attempt) from error
    except DBAPIError as error:
        if not _passing(error):
            raise
        raise unavailable(attempt.dialect.trouble(error), attempt) from error


def unavailable(trouble: str, attempt: Attempt) -> StoreUnavailable:
    """Return the error that says what happened and what became of the operation."""
    return StoreUnavailable(trouble, may_have_written=attempt.uncertain)


def _passing(error: DBAPIError) -> bool:
    return isinstance(error, (OperationalError, InternalError)) or type(error) is DatabaseError
