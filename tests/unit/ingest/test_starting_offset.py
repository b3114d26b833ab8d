"""Where a partition starts, with the group's commit and without."""

from __future__ import annotations

import pytest

from include.ingest.partition_writer import ProtocolError
from include.ingest.starting_offset import ForeignCommitError, commit_metadata, start_from_commit, start_without_commit
from include.landing.cells import Cells


def test_only_our_own_commits_are_a_start() -> None:
    assert start_from_commit(0, -1001, None, "id") is None
    assert start_from_commit(0, 5, commit_metadata("id"), "id") == 5
    for metadata in (None, "", "other", commit_metadata("recreated")):
        with pytest.raises(ForeignCommitError, match="adopt"):
            start_from_commit(0, 5, metadata, "id")


@pytest.mark.parametrize(
    ("landed", "skipped", "log_start", "start"),
    [
        ([], [], 17, 17),
        ([10, 20], [], 0, 0),  # [0..9] may have failed while these landed
        ([10, 20], [], 7, 7),  # retention has left [7..9] of these
        ([10, 20], [], 10, 10),
        ([13, 20], [], 13, 13),  # the log began there when it was first read
        ([0, 10, 25, 9990], [], 0, 25),  # [26..9989] is perhaps an aborted transaction, or missing
        ([0, 7420, 7435, 7440, 9990], [], 0, 7435),  # of 256 cells before the last, one is complete
        ([0, 7425, 7440, 9990], [], 0, 7425),
        ([0, 25, 9990], [(30, 9979)], 0, 9980),  # [9980..9989] is missing
        ([0, 25, 9990], [(30, 9989)], 0, 9990),
        ([0, 25, 50], [(30, 59)], 0, 0),  # landed after all
        ([], [(0, 29)], 0, 30),
    ],
)
def test_without_a_commit_the_start_is_before_anything_that_may_be_missing(
    landed: list[int], skipped: list[tuple[int, int]], log_start: int, start: int
) -> None:
    assert start_without_commit(0, landed, skipped, Cells.of_size(10), log_start) == start


@pytest.mark.parametrize(
    ("landed", "skipped", "log_start", "text"),
    [
        ([0, 7430, 9990], [], 7431, "complete only up to offset 7430"),
        ([10, 20], [], 11, "complete only up to offset 10"),
        ([13, 20], [], 0, "offsets 0 to 12 may be missing"),  # a batch [10..19] would double 13
        ([], [(0, 29)], 31, "complete only up to offset 30"),
    ],
)
def test_a_start_that_could_lose_or_double_records_is_left_to_an_operator(
    landed: list[int], skipped: list[tuple[int, int]], log_start: int, text: str
) -> None:
    with pytest.raises(ProtocolError, match=f"{text}.*adopt --partition 0"):
        start_without_commit(0, landed, skipped, Cells.of_size(10), log_start)
