"""Asking for commits while the group's coordinator moves, which no test can make a broker do on purpose."""

from __future__ import annotations

from unittest.mock import MagicMock, call

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from include.ingest.commits import read_commits

PLACES = [TopicPartition("topic", 0), TopicPartition("topic", 1)]
MOVES = KafkaError(KafkaError.NOT_COORDINATOR)


def partition_fails() -> list[MagicMock]:
    """An answer in which only the second partition has an error."""
    return [MagicMock(error=None, offset=5), MagicMock(error=MOVES, offset=-1001)]


def test_an_error_of_the_answer_or_of_one_partition_is_asked_about_again() -> None:
    kafka = MagicMock()
    kafka.committed.side_effect = [KafkaException(MOVES), partition_fails(), PLACES]
    pause = MagicMock(return_value=False)
    assert read_commits(kafka, PLACES, 60, pause) is PLACES
    assert pause.call_args_list == [call(0.5), call(0.5)]


def test_the_last_error_is_told_when_time_is_up_or_the_pause_gives_up() -> None:
    kafka = MagicMock()
    kafka.committed.side_effect = lambda *_, **__: partition_fails()
    with pytest.raises(KafkaException, match="NOT_COORDINATOR"):
        read_commits(kafka, PLACES, -1)
    assert kafka.committed.call_count == 1
    with pytest.raises(KafkaException, match="NOT_COORDINATOR"):
        read_commits(kafka, PLACES, 60, lambda _: True)
    assert kafka.committed.call_count == 2


def test_no_partitions_need_no_question() -> None:
    kafka = MagicMock()
    assert read_commits(kafka, [], 60) == []
    kafka.committed.assert_not_called()
