"""The group's commits: asked for until its coordinator answers, and made with its word waited for."""

from __future__ import annotations

from time import monotonic, sleep

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, TopicPartition

from include.ingest.logs import logger

PAUSE_SECONDS = 0.5
ANSWER_SECONDS = 10.0

_log = logger("commits")


def read_commits(
    kafka: KafkaConsumer, partitions: list[TopicPartition], within: float, answer: float = ANSWER_SECONDS
) -> list[TopicPartition]:
    """What the group has committed of `partitions` (offset -1001: nothing).

    A coordinator that has just started or taken over answers NOT_COORDINATOR or that it still loads, sometimes for
    one partition only; librdkafka hands both on (2.16). So any error is asked about again for `within` seconds; 0 asks
    once. `answer` is how many seconds each question may take.

    Raises:
        KafkaException: the last error.
    """
    deadline = monotonic() + within
    while True:
        try:
            found = kafka.committed(partitions, timeout=answer) if partitions else []
            for at in found:
                if at.error is not None:
                    raise KafkaException(at.error)
        except KafkaException as error:
            _log.warning("commits not read yet", error=str(error))
            if monotonic() >= deadline:
                raise
            sleep(PAUSE_SECONDS)
        else:
            return found


def commit_now(kafka: KafkaConsumer, offsets: list[TopicPartition]) -> None:
    """Commit and wait for Kafka's word.

    Raises:
        KafkaException: not committed, or not known.
    """
    for committed in kafka.commit(offsets=offsets, asynchronous=False) or []:
        if committed.error is not None:
            raise KafkaException(committed.error)
