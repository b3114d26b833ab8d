"""Commits are held against the newest landed object."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any, cast

import obstore
import pytest
from obstore.exceptions import GenericError

from include.ingest import commit_check as module
from include.ingest.commit_check import CommitCheck, HeldCommit
from include.ingest.listing import ADOPT, read_metadata
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata
from include.settings import StorageSettings
from tests.unit.ingest.fake_kafka import Time
from tests.unit.ingest.memory_bucket import Bucket

NOW = datetime.now(UTC)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline
        sleep(0.005)


class Stage:
    """A bucket in memory, and a check of its commits."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.store = cast("Any", Bucket())
        self.check = CommitCheck(self.store, StorageSettings(), "id", clock)

    def land(
        self, partition: int, first: int, last: int, ago: timedelta = timedelta(), kind: Kind = "crypto_data",
        writer: str = "test",
    ) -> None:  # fmt: skip
        prefix = {"crypto_data": "crypto_data/", "dead_letter": "dead_letter/"}[kind]
        time = int((NOW - ago).timestamp() * 1000)
        metadata = ObjectMetadata("t", "id", partition, first, last, 1, 0, writer)
        key = object_key(prefix, kind, partition, first, time)
        obstore.put(self.store, key, b"[]", attributes=metadata.to_attributes())

    def holes(self, *commits: HeldCommit) -> dict[int, str]:
        """Why partitions stop, when all commits are checked."""
        self.check.begin(commits)
        deadline, found = monotonic() + 60, dict[int, str]()
        while any(self.check.is_held(commit.partition) for commit in commits):
            assert monotonic() < deadline
            found |= self.check.holes()
            sleep(0.005)
        return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.check.close()


@pytest.mark.parametrize("ago", [timedelta(), timedelta(hours=5), timedelta(days=400)])
def test_a_commit_at_the_landed_end_is_believed(stage: Stage, ago: timedelta) -> None:
    stage.land(0, 0, 49, ago)
    stage.land(0, 50, 99, ago - timedelta(seconds=9))
    assert stage.holes(HeldCommit(0, 100, None)) == {}


def test_a_commit_beyond_the_landed_end_stops_its_partition_only(stage: Stage) -> None:
    for partition in (0, 1):
        stage.land(partition, 0, 99)
    (partition, reason), *others = stage.holes(HeldCommit(0, 150, None), HeldCommit(1, 100, None)).items()
    assert (partition, others) == (0, [])
    assert "offsets 100 to 149 were never landed" in reason
    assert "adopt --partition 0" in reason


def test_a_hole_that_the_commit_names_is_no_loss(stage: Stage) -> None:
    stage.land(0, 0, 99)
    assert stage.holes(HeldCommit(0, 150, 100)) == {}
    assert list(stage.holes(HeldCommit(1, 150, 100), HeldCommit(0, 150, 101))) == []  # checked once; nothing landed


def test_an_object_of_another_time_explains_a_commit_too(stage: Stage) -> None:
    """With CreateTime the newest offset may have an old time."""
    stage.land(0, 0, 99)
    stage.land(0, 100, 149, timedelta(days=300))
    assert stage.holes(HeldCommit(0, 150, None)) == {}


def test_skipped_offsets_explain_a_commit(stage: Stage) -> None:
    stage.land(0, 0, 99)
    stage.land(0, 100, 199, kind="dead_letter", writer=ADOPT)
    assert stage.holes(HeldCommit(0, 200, None)) == {}


def test_a_commit_with_nothing_landed_is_believed(stage: Stage) -> None:
    assert stage.holes(HeldCommit(0, 5, None)) == {}


def test_a_revoked_partition_is_not_stopped_and_is_checked_again(stage: Stage) -> None:
    stage.land(0, 0, 99)
    stage.check.begin([HeldCommit(0, 150, None)])
    stage.check.forget(0)
    assert stage.check.holes() == {}
    assert list(stage.holes(HeldCommit(0, 150, None))) == [0]


def test_an_s3_that_does_not_list_holds_the_partition(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [GenericError("away"), GenericError("away")]
    original = obstore.list

    def listing(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return original(*arguments, **options)

    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(obstore, "list", listing)
    stage.land(0, 0, 99)
    assert stage.holes(HeldCommit(0, 100, None)) == {}
    assert failures == []


def test_a_partition_without_an_answer_delays_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(store: Any, path: str) -> ObjectMetadata:
        if path == broken:
            raise GenericError("away")
        return read_metadata(store, path)

    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "read_metadata", read)
    stage.land(0, 0, 99)
    (broken,) = [entry["path"] for page in obstore.list(stage.store, "crypto_data/") for entry in page]
    stage.land(1, 0, 99)
    stage.check.begin([HeldCommit(0, 100, None)])
    assert stage.holes(HeldCommit(1, 100, None)) == {}
    assert stage.check.is_held(0)


def test_an_unexpected_error_stops_its_partitions_only(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [AttributeError("a fault of ours")]
    original = obstore.list

    def listing(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return original(*arguments, **options)

    monkeypatch.setattr(obstore, "list", listing)
    ((partition, reason),) = stage.holes(HeldCommit(0, 100, None)).items()
    assert (partition, "a fault of ours" in reason) == (0, True)
    assert stage.holes(HeldCommit(1, 100, None)) == {}


HANGING = """
import sys, threading
from typing import Any
import obstore
from include.ingest import commit_check
from include.ingest.commit_check import HeldCommit
from tests.unit.ingest.test_commit_check import Stage
stage, reading = Stage(), threading.Event()
stage.land(0, 0, 99)

def hang(store: Any, path: str) -> Any:
    reading.set()
    threading.Event().wait()

commit_check.read_metadata = hang
stage.check.begin([HeldCommit(0, 100, None)])
reading.wait()
stage.check.close()
"""


def test_an_s3_that_hangs_does_not_hold_the_end_of_the_process() -> None:
    end = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=120, check=False)
    assert end.returncode == 0, end.stderr


def test_a_long_wait_for_s3_is_a_problem_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    time, away = Time(), True
    original = obstore.list

    def listing(*arguments: Any, **options: Any) -> Any:
        if away:
            raise GenericError("away")
        return original(*arguments, **options)

    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(obstore, "list", listing)
    stage = Stage(time)
    stage.check.begin([HeldCommit(0, 100, None)])
    wait_for(lambda: bool(stage.check._pending._state))
    assert stage.check.problems() == []
    time.passes(11)
    wait_for(lambda: "S3 does not say what is landed" in " ".join(stage.check.problems()))
    away = False
    wait_for(lambda: stage.check.problems() == [])
    stage.check.close()
