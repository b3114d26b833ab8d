"""Reads and writes the group's committed offsets. Retries while the coordinator loads; commits synchronously."""

from __future__ import annotations

from time import monotonic, sleep

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, TopicPartition

from include.ingest.logs import logger
from include.ingest.starting_offset import commit_metadata
from include.landing.contract import Contract
from include.reasons import reason_of

PAUSE_SECONDS = 0.5
ANSWER_SECONDS = 10.0

_log = logger("commits")


def position(
    contract: Contract, partition: int, offset: int, epoch: int | None, records_end: int | None = None
) -> TopicPartition:
    """An offset to start at or to commit, with our metadata, and with its leader epoch if that is known."""
    metadata = commit_metadata(contract.topic_id, records_end)
    return TopicPartition(contract.topic, partition, offset, metadata, -1 if epoch is None else epoch)


def read_commits(
    kafka: KafkaConsumer, partitions: list[TopicPartition], within: float, answer: float = ANSWER_SECONDS
) -> list[TopicPartition]:
    """The group's commits of `partitions` (offset -1001: no commit).

    A coordinator that has just started answers NOT_COORDINATOR or that it still loads, sometimes for one partition
    only, and librdkafka 2.16 returns both errors. So any error is retried for `within` seconds; 0 means one request.
    Each request takes at most `answer` seconds.

    Raises:
        KafkaException: the last error.
    """
    deadline = monotonic() + within
    while True:
        try:
            commits = kafka.committed(partitions, timeout=answer) if partitions else []
            for commit in commits:
                if commit.error is not None:
                    raise KafkaException(commit.error)
        except KafkaException as error:
            _log.warning("commits not read yet", error=reason_of(error))
            if monotonic() >= deadline:
                raise
            sleep(PAUSE_SECONDS)
        else:
            return commits


def commit_now(kafka: KafkaConsumer, offsets: list[TopicPartition]) -> None:
    """Commit and wait for Kafka's answer, without a time limit.

    Raises:
        KafkaException: the offsets are not committed, or it is unknown whether they are.
    """
    for commit in kafka.commit(offsets=offsets, asynchronous=False) or []:
        if commit.error is not None:
            raise KafkaException(commit.error)
