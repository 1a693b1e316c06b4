"""Reads an archive, which anybody may have made: every line is bounded before it is read, and checked in full.

Theory of operation:

- One line is in memory at a time, and never more than `LINE_BYTES` of it, whatever is handed in.
- Every line is strict: UTF-8, JSON without a name twice, the very fields, values that the store would take.
- Entries stand in ascending order of namespace and key, so none can come twice.
- `entries` ends well only after a footer that agrees with what was read, and nothing behind it. Whoever writes what it
  gives, writes after having read all of it once before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

from pydantic import ValidationError

from admin.actions.archive_form import HEADER_BYTES, LINE_BYTES, MOST_ENTRIES, Footer, Header, Line, Quota
from datastore.entry import Entry
from datastore.errors import DataStoreError, InvalidArgument
from datastore.models import Model
from datastore.service.overrides import Override

M = TypeVar("M", bound=Model)

_SHOWN: Final = 100
_SECOND: Final = 2
_AGAIN: Final = "Export it again."


class Reader:
    """An archive on its way out of a binary file.

    Args:
        source: where it comes from.
        name: what messages call it.
        copy: where every line goes that was found good; None: nowhere.
    """

    def __init__(self, source: BinaryIO, name: str, copy: BinaryIO | None = None) -> None:
        self._source = source
        self._name = name
        self._copy = copy
        self._hash = hashlib.sha256()
        self._number = 0
        self._entries = 0
        self._bytes = 0
        self._last: tuple[str, str] = ("", "")
        self.limits: Override | None = None
        self.footer: Footer | None = None

    def entries(self) -> Iterator[Entry]:
        """Give every entry.

        Raises:
            InvalidArgument: it is no archive, or a part of one, or changed; the message names the line.
        """
        header = self._line(HEADER_BYTES)
        self._model(Header, self._facts(header))
        self._good(header)
        while True:
            raw = self._line(LINE_BYTES)
            facts = self._facts(raw)
            if "sha256" in facts:
                return self._end(raw, self._model(Footer, facts))
            if "limits" in facts and self._number == _SECOND:
                self.limits = self._model(Quota, facts).limits
            else:
                yield self._entry(facts)
            self._good(raw)

    def _line(self, limit: int) -> bytes:
        raw = self._source.readline(limit + 1)
        self._number += 1
        if len(raw) > limit:
            self._refuse(f"the line is longer than {limit:,} bytes, so this is no archive of this store.")
        if not raw.endswith(b"\n"):
            self._refuse(f"the archive ends here without its footer: it was cut. {_AGAIN}")
        return raw

    def _facts(self, raw: bytes) -> dict[str, Any]:
        try:
            found = _DECODER.decode(raw[:-1].decode())
        except RecursionError:
            self._refuse("it is nested too deep.")
        except ValueError as error:
            self._refuse(f"it is not JSON: {str(error)[:_SHOWN]}.")
        if not isinstance(found, dict):
            self._refuse("it is no object of JSON.")
        return found

    def _model(self, kind: type[M], facts: dict[str, Any]) -> M:
        try:
            return kind.model_validate(facts)
        except ValidationError as error:
            self._refuse(reason(error))
        except DataStoreError as error:
            self._refuse(error.message)

    def _entry(self, facts: dict[str, Any]) -> Entry:
        line = self._model(Line, facts)
        try:
            entry = line.entry()
        except ValueError as error:
            self._refuse(f"{error}.")
        here = (entry.namespace, entry.key)
        if here <= self._last:
            self._refuse("entries are not in the order of namespace and key, each once.")
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            self._refuse(f"there are more than {MOST_ENTRIES:,} entries.")
        self._last = here
        self._bytes += entry.size_bytes
        return entry

    def _good(self, raw: bytes) -> None:
        self._hash.update(raw)
        self._keep(raw)

    def _keep(self, raw: bytes) -> None:
        if self._copy is not None:
            self._copy.write(raw)

    def _end(self, raw: bytes, footer: Footer) -> None:
        if self._source.read(1):
            self._refuse("something follows the footer.")
        if (footer.entries, footer.bytes) != (self._entries, self._bytes):
            self._refuse(f"the footer counts other entries than there are: lines are missing or added. {_AGAIN}")
        if footer.sha256 != self._hash.hexdigest():
            self._refuse(f"the SHA-256 is not that of the lines before: they were changed. {_AGAIN}")
        self._keep(raw)
        self.footer = footer

    def _refuse(self, reason: str) -> NoReturn:
        raise InvalidArgument(f"{self._name}, line {self._number}: {reason}")


def reason(error: ValidationError) -> str:
    """Return what is wrong with a line, in one line of bounded length."""
    first = error.errors(include_url=False, include_input=False)[0]
    own = first.get("ctx", {}).get("error")
    where = ".".join(str(part)[:_SHOWN] for part in first["loc"])
    words = own.message if isinstance(own, DataStoreError) else str(own or first["msg"])[:_SHOWN].rstrip(".") + "."
    return f"{where}: {words}"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a name twice")
    return found


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_once)
