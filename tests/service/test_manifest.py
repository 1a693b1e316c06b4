"""Manifests: TOML -> a list of grants, and never more than it names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from datastore import Grant, Scope
from datastore.errors import AccessDenied, ConfigurationError
from datastore.manifest import grants_of

ALL_READ, ALL_WRITE = Grant(namespace="*", access="read"), Grant(namespace="*", access="write")


def capabilities(text: str) -> tuple[Grant, ...]:
    return grants_of(f"[capabilities]\n{text}")


@pytest.mark.parametrize(
    ("text", "grants"),
    [
        ("", ()),
        ("memory_read = []", ()),
        ("memory_read = []\nmemory_write = []\nmemory = []", ()),
        ('memory_read = ["a"]', (Grant(namespace="a", access="read"),)),
        ('memory_write = ["a:*"]', (Grant(namespace="a:*", access="write"),)),
        (
            'memory_read = ["*"]\nmemory_write = ["self.*"]',
            (ALL_READ, Grant(namespace="self.*", access="write")),
        ),
        ("memory_access = true", (ALL_READ,)),
        ("memory_access = true\nmemory_write = false", (ALL_READ,)),
        ("memory_access = true\nmemory_write = true", (ALL_READ, ALL_WRITE)),
        ("memory_write = true", (ALL_WRITE,)),
        ("memory_access = false", ()),
        ("memory_access = false\nmemory_write = false", ()),
        ('memory = [{namespace = "a", access = "both"}]', (Grant(namespace="a"),)),
        ('memory = [{namespace = "a", access = "read"}]', (Grant(namespace="a", access="read"),)),
        (
            'memory = [{namespace = "a", access = "write", space = "team", until = 2030-01-01T00:00:00Z}]',
            (Grant(namespace="a", access="write", space="team", until=datetime(2030, 1, 1, tzinfo=UTC)),),
        ),
    ],
)
def test_a_manifest_yields_the_grants_that_it_names(text: str, grants: tuple[Grant, ...]) -> None:
    assert capabilities(text) == grants
    assert Scope(user="alice", agent="x", grants=grants).grants == grants


def test_a_manifest_without_capabilities_grants_nothing() -> None:
    assert grants_of("") == ()
    assert grants_of("[capabilities]") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("memory_reads = []", r"unknown field capabilities\.memory_reads\. Known: memory_read, memory_write, memory,"),
        ('memory = [{namespace = "a", access = "read", user = "bob"}]', r"memory\.0\.user\. Known: namespace, access,"),
        ('memory = [{namespace = "a"}]', r"memory\.0\.access: Field required"),
        ('memory = [{access = "read"}]', r"memory\.0\.namespace: Field required"),
        ('memory = [{namespace = "a", access = "all"}]', "'read', 'write' or 'both'"),
        ('memory = [{namespace = "a", access = "read", until = 2030-01-01T00:00:00}]', "timezone"),
        ('memory = {namespace = "a", access = "read"}', "valid list"),
        ('memory_read = "*"', "valid list"),
        ("memory_read = true", "valid list"),
        ("memory_read = [1]", "valid string"),
        ('memory_write = "true"', "memory_write"),
        ("memory_write = 1", "memory_write"),
        ('memory_access = "yes"', "valid boolean"),
        ("memory_access = 1", "valid boolean"),
        ('memory_read = [""]', "must not be empty"),
        ('memory_read = ["@agent/x"]', "marks what the host makes"),
        ('memory_read = ["self*"]', r"Write 'self\.\*'"),
        ('memory = [{namespace = "self", access = "read", space = "team"}]', "no private namespaces"),
        ('memory_access = false\nmemory_read = ["a"]', "memory_access is false, yet it names 'a'"),
        ("memory_access = false\nmemory_write = true", "memory_access is false"),
        (
            'memory_write = false\nmemory = [{namespace = "a", access = "both"}]',
            "memory_write is false, yet it names 'a'",
        ),
        ("memory_read = [", "is not TOML"),
        ("memory_read = []\nmemory_read = []", "is not TOML"),
        ("memory_read = " + "[" * 100_000, "is not TOML"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_a_manifest_that_could_be_misread_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        capabilities(text)


@pytest.mark.parametrize("text", ["memory_read = []", "[capability]", "[agent]\nname = 'x'", "capabilities = true"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        grants_of(text)


def test_a_host_can_hold_a_manifest_to_a_scope_of_its_own() -> None:
    host = Scope(user="alice", agent="host", grants=(Grant(namespace="files:*"),))
    assert host.delegate("x", capabilities('memory_read = ["files:a"]')).agent == "x"
    with pytest.raises(AccessDenied):
        host.delegate("x", capabilities("memory_access = true"))
