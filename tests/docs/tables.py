"""The tables of the documentation that are made from the code; run this file to write them into their pages.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from admin.cli import failures, main
from datastore.backends.mongo import ledger, statements
from datastore.backends.sql import audited
from datastore.backends.sql.schema import entries
from datastore.document import Place
from datastore.entry import NEVER, Entry
from datastore.errors import CODES, DataStoreError
from datastore.models import Limits
from datastore.ports import Actor, Write
from datastore.settings import PREFIX, Settings
from sandbox import RunLimits
from sandbox.guest.faces import verb
from sandbox.guest.verbs import DataStore
from tests.benchmarks import questions, report
from tests.benchmarks.bars import BARS, Limit
from tests.docs.pages import PAGES, ROOT
from tests.docs.refusals import followed, refusals, started

_TABLE: Final = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
RESERVED: Final = "(Reserved: nothing raises it yet.)"
_AUDITED: Final = {
    "id": "the chain's name, `:`, and the row's number in 15 digits",
    "at": "when it was noted; never before the row before",
    "by_user": "who: the user, or the owner that an operator acted on",
    "by_agent": "who: the agent, or `@admin/OSUSER`",
    "by_run": "who: the run",
    "operation": "what: `put`, `delete`, `touch`, `incr`, `clear`, `get` and so on",
    "owner": "whose data",
    "namespace": "in which stored namespace",
    "key": "the key; the prefix of what concerned several",
    "size_bytes": "of the value, as in entries",
    "version": "of the value; where a condition did not hold, the one that stood",
    "number": "how many entries it concerned, where it named none",
    "outcome": "`done`, `absent`, `not_applied`, `unknown`, or an error's code",
    "salt": "128 random bits",
    "content": "SHA-256 of the salt and the deed",
    "link": "SHA-256 of the link before, `id`, `at` and `content`",
}
_FACES: Final = ("use_namespace", "private", "shared", "read_only", "atomic", "lock")
_VIEWS: Final = ("keys", "items", "watch")


def verbs() -> dict[str, Callable[..., Any]]:
    """Every verb by its name, in the order of the source."""
    made = {name: each.function for name, each in vars_of(DataStore).items() if isinstance(each, verb)}
    plain = {name: vars_of(DataStore)[name] for name in (*_FACES, *_VIEWS)}
    return dict(sorted((made | plain).items(), key=lambda item: inspect.unwrap(item[1]).__code__.co_firstlineno))


def vars_of(kind: type) -> dict[str, Any]:
    """The attributes of a class and of its bases, as they stand in their dicts."""
    return {name: each for base in reversed(kind.__mro__) for name, each in vars(base).items()}


def signature(name: str, function: Callable[..., Any]) -> str:
    """A verb's signature without `self` and types."""
    parameters = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in inspect.signature(function).parameters.values()
        if each.name != "self"
    ]
    written = str(inspect.Signature(parameters))
    return f"{name}{written.replace('=Ellipsis', '=...')}"


def sentence(text: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    return " ".join((text or "").partition("\n\n")[0].split()).replace("|", "\\|")


def rows(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *map(list, body)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def verbs_table() -> str:
    """Signatures and what the docstrings say of the result."""
    return rows(
        ("verb", "result"),
        ((f"`{signature(name, each)}`", sentence(each.__doc__)) for name, each in verbs().items()),
    )


def errors_table() -> str:
    """Every code of the wire, its class, and the built-in exceptions that it also is."""
    return rows(
        ("code", "exception", "also", "meaning"),
        (
            (
                f"`{code}`",
                f"`{kind.__name__}`",
                ", ".join(f"`{each}`" for each in _builtins(kind)),
                sentence(kind.__doc__) if raised(kind) else f"{sentence(kind.__doc__)} {RESERVED}",
            )
            for code, kind in CODES.items()
        ),
    )


def raised(kind: type[DataStoreError]) -> bool:
    """Whether any code makes such an error."""
    return re.search(rf"(?<!class )\b{kind.__name__}\(|raise {kind.__name__}\b", _source()) is not None


@functools.cache
def _source() -> str:
    files = (file for part in ("datastore", "sandbox", "admin") for file in (ROOT / part).rglob("*.py"))
    return "".join(file.read_text(encoding="utf-8") for file in files)


def _builtins(kind: type[DataStoreError]) -> Iterator[str]:
    return (
        each.__name__
        for each in kind.__mro__
        if each.__module__ == "builtins" and each not in (Exception, BaseException, object)
    )


def settings_table() -> str:
    """Every setting by its variable."""
    return rows(
        ("variable", "default", "meaning"),
        (
            (f"`{PREFIX}{name.upper()}`", _default(each), f"{each.description}")
            for name, each in Settings.model_fields.items()
        ),
    )


def run_limits_table() -> str:
    """The limits of a run."""
    return rows(
        ("limit", "default", "meaning"),
        ((f"`{name}`", _default(each), f"{each.description}") for name, each in RunLimits.model_fields.items()),
    )


def limits_table() -> str:
    """The store's limits of a scope."""
    return rows(("limit", "default"), ((f"`{name}`", _default(each)) for name, each in Limits.model_fields.items()))


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "an SQLite file in the platform's data folder"
    if info.default is None:
        return "none"
    return f"{info.default:,}" if isinstance(info.default, (int, float)) else f"`{info.default}`"


def document_table() -> str:
    """Where each fact of an entry is stored, by both families of engines."""
    shown = [each.name for each in fields(Entry)]
    mongo, sql = mongo_fields(), [each.name for each in entries.columns]
    return rows(
        ("entry", "MongoDB field", "SQL column"),
        (
            (f"`{fact}`" if fact in shown else "", f"`{_camel(fact, mongo)}`", f"`{fact}`{_more(fact, sql)}")
            for fact in ("id", "owner", *shown)
        ),
    )


def mongo_fields() -> list[str]:
    """The fields of a document, from the statement that writes a whole one."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    write = Write("key", None, 4, "version", NEVER, {})
    return list(statements.add(Place("user", "namespace"), write, Actor("agent", "run", now, "user"))._doc)


def _camel(fact: str, known: list[str]) -> str:
    first, *others = fact.split("_")
    name = {"id": "_id", "owner": "userId"}.get(fact, first + "".join(map(str.capitalize, others)))
    assert name in known, f"MongoDB has no field {name}"
    return name


def _more(fact: str, columns: list[str]) -> str:
    assert fact in columns, f"SQL has no column {fact}"
    return ", or `value_bytes`" if fact == "value" else ""


def audit_table() -> str:
    """Where each fact of a row of the audit log is stored, by both families of engines."""
    place = {"id": "_id", "at": "at"} | ledger.FIELDS | {each: each for each in ("salt", "content", "link")}
    assert list(place) == [each.name for each in audited.audit.columns]
    return rows(
        ("MongoDB field", "SQL column", "is"),
        ((f"`{field}`", f"`{column}`", _AUDITED[column]) for column, field in place.items()),
    )


def exit_codes_table() -> str:
    """The table that the command line's own module opens with."""
    return "".join(f"{line}\n" for line in (failures.__doc__ or "").splitlines() if line.startswith("|"))


def commands_table() -> str:
    """Every command with its arguments and options."""
    return rows(("command", "does", "takes"), _commands(get_command(main.app), "datastore"))


def _commands(command: Any, path: str) -> Iterator[tuple[str, str, str]]:
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from _commands(each, f"{path} {name}")
        else:
            taken = (max(p.opts, key=len) if p.opts[0].startswith("-") else f"{p.name}".upper() for p in each.params)
            yield f"`{path} {name}`", sentence(each.help), " ".join(f"`{each}`" for each in taken)


def isolation_table() -> str:
    """Words of a failed start, and the remedy that the error names."""
    return rows(
        ("the message holds", "mend", "followed in a test"),
        (
            (" or ".join(f"`{each}`" for each in words.split("|")), remedy, followed(words))
            for words, remedy in started().items()
        ),
    )


def refusals_table() -> str:
    """What the sandbox itself refuses, and the remedy that the error names."""
    return rows(
        ("message", "mend", "followed in a test"),
        ((f"`{message}`", remedy, followed(message)) for message, remedy in refusals().items()),
    )


def bars_table() -> str:
    """The ratios that `make bench` aims at."""
    return rows(
        ("engine", "operation", "whose", "of", "ratio"),
        (
            (
                each.engine,
                each.operation,
                each.contender,
                f"{each.reference}'s {report.FIGURE[each.measure]}",
                f"{each.limit}",
            )
            for each in BARS
        ),
    )


def questions_table() -> str:
    """The questions of `make bench-scale`, and their bars in seconds."""
    asked = {f"datastore admin {words[0]}": bar for words, bar in questions.COMMANDS.items()}
    asked |= {name: bar for name, (_, bar) in questions.VERBS.items()}
    bars = ((f"`{name}`", "" if bar is None else f"{Limit(bar, ' s')}") for name, bar in asked.items())
    return rows(("question", "bar"), bars)


TABLES: Final = {
    "verbs": verbs_table,
    "errors": errors_table,
    "settings": settings_table,
    "run_limits": run_limits_table,
    "limits": limits_table,
    "document": document_table,
    "audit": audit_table,
    "commands": commands_table,
    "exit_codes": exit_codes_table,
    "isolation": isolation_table,
    "refusals": refusals_table,
    "bars": bars_table,
    "questions": questions_table,
}


def renewed(text: str) -> str:
    """A page's text with its tables made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def names(page: Path) -> list[str]:
    """The tables of a page."""
    return [name for _, name, _ in _TABLE.findall(page.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(renewed(each.read_text(encoding="utf-8")), encoding="utf-8")
