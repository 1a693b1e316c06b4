"""The order in which tests run, and which process runs which.

Tests are marked by what they cost. Unmarked ones are `make test`; those marked `slow` are `make test-slow`, of which
those marked `alone` run one after the other, since they fill the machine; those marked `faults`, which break servers,
are `make test-faults`; those marked `nightly` are `make nightly`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

ROOT = Path(__file__).parent
LONGEST = (
    "attacks/test_attacks.py",
    "docs/test_pages.py",
    "contract/test_state_machine.py",
    "docs/test_demo.py",
    "docs/test_queue.py",
    "processes/test_concurrency.py",
    "processes/test_quotas.py",
    "admin/test_run.py",
    "admin/test_archive.py",
    "faults/test_histories.py",
)
"""The files that take longest, started first; the number of their tests does not show it."""
ON_ONE_ENGINE = (
    "admin/test_binary.py",
    "admin/test_delete.py",
    "admin/test_doctor.py",
    "admin/test_failures.py",
    "admin/test_run.py",
    "admin/test_terminal.py",
)
"""Files whose tests start a command each, on SQLite in `make test` and on the other engines in `make test-slow`."""
SPLIT = (
    "admin/test_archive.py",
    "admin/test_run.py",
    "admin/test_terminal.py",
    "contract/test_many.py",
    "contract/test_state_machine.py",
    "docs/test_cross_agent.py",
    "docs/test_pages.py",
    "docs/test_queue.py",
    "faults/test_fates.py",
    "faults/test_histories.py",
    "sandbox/test_remedies.py",
)
"""Files whose long tests share nothing, so that processes take single tests. Other files go to one as a whole."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: several processes share the tests, and no long one is to be left to the end."""
    tests = Counter(each.path for each in items)
    ranks = {ROOT / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda each: (ranks.get(each.path, len(LONGEST)), -tests[each.path]))
    on_one = {ROOT / name for name in ON_ONE_ENGINE}
    for each in items:
        if each.path in on_one and not {"postgresql", "mongodb"}.isdisjoint(_parameters(each)):
            each.add_marker(pytest.mark.slow)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, and single tests of files that are `SPLIT`."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.removeprefix("tests/") in SPLIT else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Hand out the tests of a parallel run."""
    return Scheduling(config, log)


def _parameters(item: pytest.Item) -> list[object]:
    call = getattr(item, "callspec", None)
    return [] if call is None else [each for each in call.params.values() if isinstance(each, str)]
