"""What an agent's manifest asks for, as grants.

A manifest is written beside the agent, in TOML. What it does not name is not granted, a field that is not known is
refused, and so is a manifest that contradicts itself. It asks; the host decides, by handing the grants to a scope or,
where there is one to stay within, to `Scope.delegate`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ValidationError

from datastore.errors import ConfigurationError
from datastore.grants import Access, Grant


class _Named(Grant, frozen=True, strict=True, extra="forbid"):
    """A grant that says what it is for."""

    access: Literal["read", "write", "both"]


class _Capabilities(BaseModel, frozen=True, strict=True, extra="forbid"):
    memory_read: list[str] = []
    memory_write: list[str] | bool = []
    memory: list[_Named] = []
    memory_access: bool | None = None


class _Manifest(BaseModel, frozen=True, strict=True, extra="forbid"):
    capabilities: _Capabilities = _Capabilities()


def grants_of(text: str, source: str = "the manifest") -> tuple[Grant, ...]:
    """Return the grants that a manifest asks for; `()`, which grants nothing, where it names none.

    Args:
        text: TOML.
        source: how messages call it.

    Raises:
        ConfigurationError: it is no TOML, has an unknown field, or contradicts itself; the message names the place.
    """
    try:
        asked = _Manifest.model_validate(tomllib.loads(text)).capabilities
        found = tuple(_grants(asked))
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {_explain(error)}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{source} is not TOML: {error}.") from error
    _refuse_contradictions(asked, found, source)
    return found


def _grants(asked: _Capabilities) -> Iterator[Grant]:
    if asked.memory_access:
        yield Grant(namespace="*", access="read")
    yield from _each(asked.memory_read, "read")
    written = asked.memory_write
    yield from _each((["*"] if written else []) if isinstance(written, bool) else written, "write")
    for each in asked.memory:
        yield Grant(**each.model_dump())


def _each(patterns: list[str], access: Access) -> Iterator[Grant]:
    return (Grant(namespace=each, access=access) for each in patterns)


def _refuse_contradictions(asked: _Capabilities, found: tuple[Grant, ...], source: str) -> None:
    if asked.memory_access is False and found:
        raise ConfigurationError(f"{source}: memory_access is false, yet it names {found[0].said()}. Remove one.")
    written = [each for each in found if each.access != "read"]
    if asked.memory_write is False and written:
        raise ConfigurationError(f"{source}: memory_write is false, yet it names {written[0].said()}. Remove one.")


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "a pattern"
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r:.60}."
    known = (_Manifest, _Capabilities)[len(first["loc"]) - 1 :] or (_Named,)
    return f"unknown field {where}. Known: {', '.join(known[0].model_fields)}."
