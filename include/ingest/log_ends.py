"""Where the partitions' logs end, and whether the topic still exists, as Kafka says now and then."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from include.ingest.background import Task
from include.ingest.logs import logger
from include.ingest.topic import Admin
from include.reasons import reason_of

ASK_SECONDS = 10.0
ANSWER_SECONDS = 10.0
NOT_ALLOWED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED).str()
"""A broker hides the existence of a topic that this client may not describe."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of each partition that Kafka reported, as of `asked_at` (monotonic, s); `error` is about the others.

    `topic_is_there` is None if Kafka did not say.
    """

    asked_at: float = 0.0
    topic_is_there: bool | None = None
    ends: dict[int, int] = field(default_factory=dict)
    error: str = ""


class LogEnds:
    """Asks in the background. `answer` is the last one."""

    def __init__(self, admin: Admin, topic: str, clock: Callable[[], float] = monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self.answer = Answer()
        self._admin = admin
        self._topic = topic
        self._clock = clock
        self._asked_at = clock()
        self._asking: Task[Answer] | None = None
        self._log = logger("log-ends")

    def look(self, partitions: Collection[int]) -> bool:
        """Ask about these partitions if it is time to. Returns whether there is a new answer."""
        if self._asking is None:
            if self._clock() - self._asked_at >= ASK_SECONDS:
                self._asked_at = self._clock()
                self._asking = Task("log-ends", partial(self._ask, self._asked_at, list(partitions)))
            return False
        if not self._asking.done():
            return False
        asking, self._asking = self._asking, None
        try:
            self.answer = asking.result()
        except Exception as error:  # noqa: BLE001 - a look must not end the loop that lands; health shows the error
            self._log.warning("the ends of the log are not known", reason=reason_of(error))
            self.answer = Answer(self._asked_at, error=reason_of(error))
        return True

    def _ask(self, at: float, partitions: list[int]) -> Answer:
        """One question. An answer about some partitions is an answer."""
        ends, error = self._ends(partitions)
        if len(ends) == len(partitions) > 0:
            return Answer(at, True, ends)
        try:  # No name: a broker may create a topic that is asked for by name.
            topics = self._admin.list_topics(timeout=ANSWER_SECONDS).topics
        except KafkaException:
            return Answer(at, None, ends, error)
        is_there = self._topic in topics and topics[self._topic].error is None
        return Answer(at, is_there or (None if error == NOT_ALLOWED else False), ends, error)

    def _ends(self, partitions: list[int]) -> tuple[dict[int, int], str]:
        """The ends that Kafka reports, and the last error about the others."""
        if not partitions:
            return {}, ""
        places = [TopicPartition(self._topic, number) for number in partitions]
        ends, error = {}, ""
        try:
            latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            answers = self._admin.list_offsets(dict.fromkeys(places, latest), request_timeout=ANSWER_SECONDS)
        except KafkaException as failure:
            return {}, failure.args[0].str()
        for place, answer in answers.items():
            try:
                ends[place.partition] = answer.result().offset
            except KafkaException as failure:
                error = failure.args[0].str()
        return ends, error
