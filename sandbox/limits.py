"""What one run may use. The store's own limits are `datastore.models.Limits`."""

from __future__ import annotations

from pydantic import Field

from datastore.models import Model


class RunLimits(Model):
    """Limits of one run; passing one ends it with the outcome `limit`, save where it says otherwise."""

    wall_seconds: float = Field(default=30.0, gt=0, description="from start to result")
    cpu_seconds: int = Field(default=10, ge=1, description="processor time")
    memory_bytes: int = Field(default=768 * 1024 * 1024, ge=64 * 1024 * 1024, description="address space")
    threads: int = Field(default=32, ge=1, description="threads at once; more raise in the agent")
    calls: int = Field(default=10_000, ge=0, description="operations and tool calls; more raise in the agent")
    bytes: int = Field(default=64 * 1024 * 1024, ge=0, description="of calls, both ways; more raise in the agent")
    in_flight: int = Field(default=16, ge=1, le=256, description="calls at once; reading pauses beyond")
    long_polls: int = Field(default=4, ge=1, description="calls in flight that wait for changes; more wait their turn")
    log_bytes: int = Field(default=64 * 1024, ge=0, description="of the log kept; more is dropped, and said so")
    start_seconds: float = Field(default=10.0, gt=0, description="from spawn to ready")


class PoolLimits(Model):
    """Bounds of the guests that a sandbox keeps and of the runs that wait for one."""

    size: int = Field(default=0, ge=0, le=1024, description="guests kept warm; 0: each run starts its own")
    runs_at_once: int = Field(default=64, ge=1, description="runs that have a guest; more wait")
    queue_size: int = Field(default=256, ge=0, description="runs that wait; of more, one ends at once with `no_slot`")
    queue_seconds: float = Field(default=10.0, ge=0, description="that a run waits before it ends with `no_slot`")
    slot_idle_seconds: float = Field(default=300.0, gt=0, description="after which an idle guest is replaced")
    start_seconds: float = Field(default=10.0, gt=0, description="from spawn to ready")


UNSENT_BYTES = 1024 * 1024
"""Replies that a peer has not read yet: beyond it, the broker stops reading from that peer."""

PREVIEW = 200
"""Characters of a value in the record of operations."""


def gather_bytes(limits: RunLimits) -> int:
    """Return what a verb that returns everything at once may hold: Python objects take several times their JSON."""
    return limits.memory_bytes // 8
