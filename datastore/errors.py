"""The one tree of errors, for the host and for the sandbox alike.

Every error has a stable `code`, a message of one line that says what to do next, and `fields` with the facts as
JSON. Each is also the built-in exception that existing code already catches. A code crosses the wire, never a
class: both ends rebuild the class from the one table below. Standard library only, because this file enters the
sandbox. It never holds a driver's text. One subject, so longer than most files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final


class DataStoreError(Exception):
    """Base of everything that the data store raises on purpose."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __str__(self) -> str:
        return self.message

    def __getattr__(self, name: str) -> Any:
        """Give a fact by its name: `error.key`, `error.version`."""
        if not name.startswith("__") and name in self.__dict__.get("fields", ()):
            return self.fields[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    @property
    def may_have_written(self) -> bool:
        """Whether the call that ended with this error may have changed something."""
        return bool(self.fields.get("may_have_written"))

    def as_dict(self) -> dict[str, Any]:
        """Return code, message and fields as JSON, which is how an error crosses the wire."""
        return {"code": self.code, "message": self.message, "fields": self.fields}


class ValueNotStorable(DataStoreError, TypeError):  # noqa: N818 - the public names are DESIGN's
    """The value holds something that JSON cannot say; the message names the path of the culprit."""

    code = "value_not_storable"


class InvalidName(DataStoreError, ValueError, TypeError):  # noqa: N818
    """A user, agent, namespace, key or prefix is not a usable name."""

    code = "invalid_name"


class InvalidArgument(DataStoreError, ValueError, TypeError):  # noqa: N818
    """An argument other than a name or a value is unusable, or a call is nearly right; the message has the mend."""

    code = "invalid_argument"


class UnknownVerb(DataStoreError, AttributeError):  # noqa: N818
    """`data_store` has no attribute of that name; the message names the verb that is meant."""

    code = "unknown_verb"


class ValueTooLarge(DataStoreError, ValueError):  # noqa: N818
    """A value or metadata is larger than the limit. Fields: bytes, limit_bytes."""

    code = "value_too_large"


class NotANumber(DataStoreError, TypeError):  # noqa: N818
    """A number was needed where the entry or the argument is none. Fields, of an entry: key, found (its type)."""

    code = "not_a_number"


class Conflict(DataStoreError):  # noqa: N818
    """The entry is not at the version that the write required. Fields: key, version (None: no such entry)."""

    code = "conflict"

    def __init__(self, key: str, version: str | None) -> None:
        now = "there is no such entry now" if version is None else f"its version is now {version!r}"
        super().__init__(
            f"{key!r} was changed by someone else: {now}. "
            "Read it again with get_entry(), decide again, and write with the new version.",
            key=key,
            version=version,
        )


class AccessDenied(DataStoreError, PermissionError):  # noqa: N818
    """The host has not granted this to the agent; no retry will help."""

    code = "access_denied"


class QuotaExceeded(DataStoreError):  # noqa: N818
    """The write would pass a quota. Fields: what (bytes or keys), limit, used, asked."""

    code = "quota_exceeded"

    def __init__(self, what: str, limit: int, used: int, asked: int, namespace: str | None = None) -> None:
        place = "this store" if namespace is None else f"namespace {namespace!r}"
        super().__init__(
            f"{place} holds {used:,} {what} of at most {limit:,}, and this write would add {asked:,}. "
            "Delete what is no longer needed, or ask the host for more room.",
            what=what,
            limit=limit,
            used=used,
            asked=asked,
            **({} if namespace is None else {"namespace": namespace}),
        )


class NamespaceQuotaExceeded(QuotaExceeded):
    """The namespace is full. Fields: what (bytes or keys), limit, used, asked, namespace."""

    code = "namespace_quota_exceeded"


class UserQuotaExceeded(QuotaExceeded):
    """The user's whole store is full, or the whole space. Fields: what (bytes or keys), limit, used, asked."""

    code = "user_quota_exceeded"


class RateExceeded(QuotaExceeded):
    """More operations a second, or at once, than the host allows. Fields: limit, value, retry_after_seconds."""

    code = "rate_exceeded"

    def __init__(self, what: str, advice: str, *, limit: str, value: float, retry_after_seconds: float) -> None:
        DataStoreError.__init__(
            self,
            f"{what}. Try again in {retry_after_seconds:.2g} s, or {advice}.",
            limit=limit,
            value=value,
            retry_after_seconds=retry_after_seconds,
        )


class LockUnavailable(DataStoreError, TimeoutError):  # noqa: N818
    """Somebody else holds the lock."""

    code = "lock_unavailable"


class Timeout(DataStoreError, TimeoutError):  # noqa: N818
    """What was waited for did not happen in time."""

    code = "timeout"


class PastGone(DataStoreError):  # noqa: N818
    """The store no longer keeps all changes since that cursor; the message says how to begin anew."""

    code = "past_gone"

    def __init__(self) -> None:
        super().__init__(
            "the changes since this cursor are no longer kept, so some may be missing. "
            "Begin anew: call watch() without cursor first, then read what stands with items()."
        )


_NOTHING_WRITTEN: Final = "Nothing was written"
_MAYBE_WRITTEN: Final = "The write may have happened"
TOO_MANY_WRITERS: Final = "too many writers want the same keys at once"
NOTHING_WRITTEN: Final = f"{_NOTHING_WRITTEN}; try again."
MAYBE_WRITTEN: Final = f"{_MAYBE_WRITTEN}: read before you repeat it."
_OF_THE_REST: Final = {
    NOTHING_WRITTEN: "Of the rest nothing was written; send it again.",
    MAYBE_WRITTEN: "Some of the rest may have been written: read before you repeat it.",
    f"{_NOTHING_WRITTEN}.": "Of the rest nothing was written.",
    f"{_MAYBE_WRITTEN}.": "Some of the rest may have been written.",
}
"""The sentences about a write, and what they become where a part was done before."""


class StoreUnavailable(DataStoreError, ConnectionError):  # noqa: N818
    """The engine could not be reached or did not answer in time. The message says whether the write may have happened.

    Fields: may_have_written (a boolean); done (how much was, where the rest failed).

    Args:
        trouble: what happened, without a full stop.
        may_have_written: whether the write may have happened; False: surely nothing was written.
        advice: what to do, after "Nothing was written" or "The write may have happened"; None: the usual.
    """

    code = "store_unavailable"

    def __init__(self, trouble: str, *, may_have_written: bool = False, advice: str | None = None) -> None:
        fate = MAYBE_WRITTEN if may_have_written else NOTHING_WRITTEN
        if advice is not None:
            fate = f"{_MAYBE_WRITTEN if may_have_written else _NOTHING_WRITTEN}. {advice}"
        super().__init__(f"{trouble}. {fate}", may_have_written=may_have_written)


class NotSupported(DataStoreError):  # noqa: N818
    """This engine or setting cannot do it; the message names the remedy."""

    code = "not_supported"


class RunLimitExceeded(DataStoreError):  # noqa: N818
    """The run has used up a budget that the host gave it. Fields: limit, value."""

    code = "run_limit_exceeded"


class ToolError(DataStoreError):
    """A tool of the host failed. Fields: tool, may_have_written."""

    code = "tool_error"

    def __init__(self, tool: str, message: str, *, may_have_written: bool = True) -> None:
        super().__init__(f"{tool}: {message}", tool=tool, may_have_written=may_have_written)


class ConfigurationError(DataStoreError, ValueError):
    """The host is set up wrongly: an unknown scheme, an unknown setting. Never raised at an agent."""

    code = "configuration"


class SandboxUnavailable(DataStoreError, RuntimeError):  # noqa: N818
    """This machine cannot give the isolation that was asked for; nothing was run. Fields: reason, remedy."""

    code = "sandbox_unavailable"

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason.rstrip('.')}. {remedy}", reason=reason, remedy=remedy)


def _tree(root: type[DataStoreError]) -> list[type[DataStoreError]]:
    return [root, *(each for child in root.__subclasses__() for each in _tree(child))]


CODES: dict[str, type[DataStoreError]] = {each.code: each for each in _tree(DataStoreError)}
"""Every error by its code: the one list of both ends of the wire."""


def of_the_rest(message: str) -> str:
    """Return what a message says of a write, said of the rest of a call that was done in part."""
    for said_alone, said_of_the_rest in _OF_THE_REST.items():
        message = message.replace(said_alone, said_of_the_rest)
    return message


@contextmanager
def after(done: int, said: str) -> Iterator[None]:
    """Let an error that is raised inside tell what the same call had done before.

    Args:
        done: how many parts, which add up with those of a call inside; True: something that has no number. 0 or False:
            nothing, and the error is raised as it is.
        said: what was done, such as "3 of 5 were written".
    """
    try:
        yield
    except DataStoreError as error:
        if not done:
            raise
        counted = {} if done is True else {"done": done + error.fields.get("done", 0)}
        fields = {**error.fields, **counted, "may_have_written": True}
        # Another error, because others may wait for the same answer.
        raise from_dict(
            {"code": error.code, "message": f"{said}; then: {of_the_rest(error.message)}", "fields": fields}
        ) from error


def from_dict(answer: dict[str, Any]) -> DataStoreError:
    """Rebuild the error that `as_dict` described; an unknown code becomes the base class."""
    kind = CODES.get(answer.get("code", ""), DataStoreError)
    error = kind.__new__(kind, answer["message"])
    DataStoreError.__init__(error, answer["message"], **answer.get("fields", {}))
    return error
