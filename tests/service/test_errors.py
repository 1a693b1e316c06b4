"""Errors of calls of several parts: they tell what was done before, and never that nothing was."""

from __future__ import annotations

import pytest

from datastore.errors import NOTHING_WRITTEN, DataStoreError, QuotaExceeded, StoreUnavailable, after

SILENT = "the store did not answer in time"


def part(error: DataStoreError, done: int = 3) -> DataStoreError:
    """Return what becomes of an error after so many parts."""
    with pytest.raises(DataStoreError) as caught, after(done, f"{done} of 5 were written"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreUnavailable(SILENT), "Of the rest nothing was written; send it again."),
        (
            StoreUnavailable(SILENT, may_have_written=True),
            "Some of the rest may have been written: read before you repeat it.",
        ),
        (StoreUnavailable(SILENT, advice="Call it again."), "Of the rest nothing was written. Call it again."),
        (
            StoreUnavailable(SILENT, may_have_written=True, advice="Call it again."),
            "Some of the rest may have been written. Call it again.",
        ),
    ],
)
def test_what_was_done_before_is_told(error: StoreUnavailable, said: str) -> None:
    told = part(error)
    assert type(told) is StoreUnavailable
    assert str(told) == f"3 of 5 were written; then: {SILENT}. {said}"
    assert (told.done, told.may_have_written, told.__cause__) == (3, True, error)


def test_a_refusal_after_a_part_may_have_written() -> None:
    told = part(QuotaExceeded("keys", 5, 5, 1))
    assert isinstance(told, QuotaExceeded)
    assert (told.done, told.limit, told.may_have_written) == (3, 5, True)


def test_the_error_of_the_first_part_is_left_as_it_is() -> None:
    error = StoreUnavailable(SILENT)
    assert part(error, done=0) is error
    assert str(error) == f"{SILENT}. {NOTHING_WRITTEN}"


def test_parts_of_parts_add_up_and_what_has_no_number_adds_none() -> None:
    assert part(part(StoreUnavailable(SILENT), done=2), done=3).done == 5
    assert part(part(StoreUnavailable(SILENT), done=2), done=True).done == 2
    assert "done" not in part(StoreUnavailable(SILENT), done=True).fields
