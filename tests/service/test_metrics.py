"""What an operator's Prometheus sees of a store, and what the host is told of its users."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families as families

from datastore import Grant, Scope, Settings, Store, open_store
from datastore.assembly import open_engine
from datastore.clock import SystemClock
from datastore.errors import AccessDenied, ConfigurationError, DataStoreError
from datastore.operations import Apply, Count, Get, Operation, Put, Scan
from datastore.service import metrics
from datastore.service.metrics import Metrics

USER = "a-user-id-that-nobody-else-may-see"
Series = dict[tuple[str, str, str], float]


@contextmanager
def exporter() -> Iterator[tuple[MeterProvider, str]]:
    """A provider of meters, and the address under which Prometheus would scrape it."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    server, thread = start_http_server(0, "127.0.0.1")
    try:
        yield provider, f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
        provider.shutdown()


def scraped(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - an address of our own
        return str(answer.read().decode())


def series(text: str) -> Series:
    """The samples of the store by name, operation and outcome; of the histogram without its buckets."""
    found: Series = {}
    for family in families(text):
        for sample in family.samples:
            if sample.name.startswith("datastore_") and "le" not in sample.labels:
                found[sample.name, sample.labels["operation"], sample.labels["outcome"]] = sample.value
    return found


async def opened(measuring: Metrics) -> Store:
    engine = await open_engine("sqlite://", Settings(), SystemClock())
    return Store(engine, clock=SystemClock(), metrics=measuring)


async def ask(store: Store, operation: Operation, scope: Scope | None = None) -> None:
    await store.execute(scope or Scope(user=USER, agent="x"), operation)


def put(key: str, value: str) -> Apply:
    return Apply(namespace="n", mutations=(Put(key=key, value=value),))


async def test_prometheus_sees_operations_times_bytes_and_refusals_by_operation_and_outcome_and_no_user() -> None:
    with exporter() as (provider, address):
        store = await opened(Metrics(provider))
        for key in ("a", "b"):
            await ask(store, put(key, "x" * 98))
        await ask(store, Get(namespace="n", keys=("a", "none")))
        await ask(store, Scan(namespace="n"))
        await ask(store, Count(namespace="n"))
        with pytest.raises(AccessDenied):
            await ask(store, Count(namespace="n"), Scope(user=USER, agent="x", grants=()))
        text = scraped(address)
        await store.aclose()
    found = series(text)
    counts = {name[1:]: value for name, value in found.items() if name[0].endswith("_duration_seconds_count")}
    assert counts == {
        ("apply", "ok"): 2,
        ("get", "ok"): 1,
        ("scan", "ok"): 1,
        ("count", "ok"): 1,
        ("count", "access_denied"): 1,
    }
    assert all(0 < found["datastore_operation_duration_seconds_sum", *name] < 60 for name in counts)
    assert {name[1:]: value for name, value in found.items() if name[0] == "datastore_value_bytes_total"} == {
        ("apply", "ok"): 200,
        ("get", "ok"): 100,
        ("scan", "ok"): 200,
    }
    assert {name: value for name, value in found.items() if "refusals" in name[0]} == {
        ("datastore_refusals_total", "count", "access_denied"): 1
    }
    assert 'le="0.0005"' in text
    assert USER not in text


async def test_what_fails_unexpectedly_is_counted_as_internal_and_as_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with exporter() as (provider, address):
        store = await opened(Metrics(provider))

        async def broken(*_: object) -> int:
            raise RuntimeError

        monkeypatch.setattr(store.engine, "count", broken)
        with pytest.raises(RuntimeError):
            await ask(store, Count(namespace="n"))
        found = series(scraped(address))
        await store.aclose()
    assert found["datastore_operation_duration_seconds_count", "count", "internal"] == 1
    assert not any("refusals" in name[0] for name in found)


async def test_two_stores_of_a_process_are_counted_together() -> None:
    with exporter() as (provider, address):
        for _ in range(2):
            store = await opened(Metrics(provider))
            await ask(store, Count(namespace="n"))
            await store.aclose()
        assert series(scraped(address))["datastore_operation_duration_seconds_count", "count", "ok"] == 2


async def test_the_host_is_told_which_users_use_most() -> None:
    measuring = Metrics()
    store = await opened(measuring)
    for user, times in (("alice", 3), ("bob", 5), ("carol", 1)):
        for number in range(times):
            await ask(store, put(f"{number}", "x"), Scope(user=user, agent="x"))
    await ask(store, put("big", "x" * 998), Scope(user="carol", agent="x"))
    for _ in range(2):
        with pytest.raises(DataStoreError):
            await ask(
                store, put("k", "x"), Scope(user="alice", agent="x", grants=(Grant(namespace="n", access="read"),))
            )
    await store.aclose()
    assert [(each.user, each.operations) for each in measuring.top_users(2)] == [("alice", 5), ("bob", 5)]
    assert [(each.user, each.bytes) for each in measuring.top_users(1, "bytes")] == [("carol", 1003)]
    assert [(each.user, each.refusals) for each in measuring.top_users(1, "refusals")] == [("alice", 2)]
    assert all(each.seconds > 0 for each in measuring.top_users(by="seconds"))
    assert len(measuring.top_users()) == 3


def test_ever_new_users_fill_a_bounded_memory_and_do_not_push_out_who_uses_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_MOST_USERS", 100)
    measuring, count = Metrics(), Count(namespace="n")
    for number in range(1000):
        for user in ("heavy", f"user-{number}"):
            measuring.saw(Scope(user=user, agent="x"), count, ValueError(), 0.001)
    first = measuring.top_users(1)[0]
    assert (first.user, first.operations, round(first.seconds, 6)) == ("heavy", 1000, 1.0)
    assert len(measuring.top_users(10**6)) <= 100


async def test_a_setting_turns_metrics_on() -> None:
    async with open_store("sqlite://", settings=Settings(metrics=True)) as store:
        assert store.metrics is not None
        await ask(store, Count(namespace="n"))
        assert store.metrics.top_users(1)[0].user == USER
    async with open_store("sqlite://", settings=Settings()) as store:
        assert store.metrics is None


async def test_without_opentelemetry_the_setting_is_refused_with_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"Install agent-data-store\[metrics\]"):
        async with open_store("sqlite://", settings=Settings(metrics=True)):
            pass
    async with open_store("sqlite://", settings=Settings()) as store:
        assert store.metrics is None
