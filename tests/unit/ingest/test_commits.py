"""Reading commits while the group's coordinator moves. No test can make a broker move it on purpose."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from include.ingest import commits
from include.ingest.commits import read_commits

PLACES = [TopicPartition("topic", 0), TopicPartition("topic", 1)]
MOVES = KafkaError(KafkaError.NOT_COORDINATOR)


def partition_fails() -> list[MagicMock]:
    """An answer in which only the second partition has an error."""
    return [MagicMock(error=None, offset=5), MagicMock(error=MOVES, offset=-1001)]


def test_an_error_of_the_answer_or_of_one_partition_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "PAUSE_SECONDS", 0.0)
    kafka = MagicMock()
    kafka.committed.side_effect = [KafkaException(MOVES), partition_fails(), PLACES]
    assert read_commits(kafka, PLACES, 60) is PLACES
    assert kafka.committed.call_count == 3


def test_the_last_error_is_raised_when_time_is_up() -> None:
    kafka = MagicMock()
    kafka.committed.side_effect = lambda *_, **__: partition_fails()
    with pytest.raises(KafkaException, match="NOT_COORDINATOR"):
        read_commits(kafka, PLACES, 0)
    assert kafka.committed.call_count == 1


def test_no_partitions_need_no_request() -> None:
    kafka = MagicMock()
    assert read_commits(kafka, [], 60) == []
    kafka.committed.assert_not_called()
