"""Placement: the contract under which partitions are landed, and the offset at which each new partition starts.

A partition starts at the group's commit, or without one where S3 says (rule 9 of docs/exactly-once.md). If Kafka or
S3 do not answer, the partition waits and the other partitions go on. The contract object is read again at each
assignment (rule 1).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer
from obstore.exceptions import BaseError
from obstore.store import S3Store

from include.ingest import topic
from include.ingest.commits import ANSWER_SECONDS, commit_now, position, read_commits
from include.ingest.health import Pending
from include.ingest.listing import Listing
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import ProtocolError
from include.ingest.starting_offset import start_from_commit, start_without_commit
from include.ingest.store import agree
from include.ingest.watchdog import Watchdog
from include.landing.codec import SUFFIXES
from include.landing.contract import CellSize, Contract, ContractError
from include.reasons import reason_of
from include.settings import ConsumerSettings, KafkaSettings, StorageSettings

RETRY_SECONDS = 2.0
SHORT_ANSWER_SECONDS = 2.0
"""How long the loop waits for Kafka's answer about partitions that wait: nothing else is landed meanwhile."""
LISTING_SECONDS = 0.5
"""How long the loop waits for a listing. The listing of a prefix with few objects is done by then."""


class Placement:
    """`waiting` are the partitions without a start yet, each with the assignment that brought it.

    While `contract_is_fresh` is false, nothing may be landed. Set it to false to have the contract read again.
    """

    contract: Contract

    def __init__(
        self, kafka: KafkaSettings, consumer: ConsumerSettings, storage: StorageSettings, isolation_level: str,
        admin: topic.Admin, store: S3Store, metrics: ConsumerMetrics, watchdog: Watchdog,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        """`store` has a short timeout, since the loop waits for it. `clock` is monotonic, s. Call `open` first."""
        self.waiting: dict[int, int] = {}
        self.contract_is_fresh = True
        self._starts: list[TopicPartition] = []
        self._stopped: dict[int, str] = {}
        self._topic = kafka.topic
        self._consumer = consumer
        self._storage = storage
        self._isolation_level = isolation_level
        self._admin = admin
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._watchdog = watchdog
        self._log = logger("placement")
        self._pending = Pending(clock)
        self._listing: Listing | None = None
        self._retry_at = 0.0

    # --- contract -------------------------------------------------------------

    def open(self) -> Contract:
        """Read or create the contract object (rule 1).

        Raises:
            ContractError: the prefix belongs to something else, or its cells are too small.
            TopicError: the topic is not fit, or Kafka does not answer.
            obstore.exceptions.BaseError: S3 does not answer.
        """
        self.contract = self._agree()
        return self.contract

    def _agree(self) -> Contract:
        facts, settings = topic.describe(self._admin, self._topic), self._consumer
        relaxed = topic.require_fit(
            facts, allow_create_time=settings.allow_create_time, allow_missing_topic_id=settings.allow_missing_topic_id
        )
        if relaxed:
            self._log.warning("guarantees relaxed by settings", relaxed=relaxed)
        wanted = Contract(
            cluster_id=facts.cluster_id, topic=facts.topic, topic_id=facts.topic_id,
            suffix=SUFFIXES[settings.compression], isolation_level=self._isolation_level,
            cells=(CellSize(settings.batch_records, {}),),
        )  # fmt: skip
        contract = agree(self._store, self._storage.data_prefix, wanted)
        if settings.batch_records > contract.cell_size:
            raise ContractError(
                f"CONSUMER_BATCH_RECORDS={settings.batch_records} is more than the prefix's cell size "
                f"{contract.cell_size}: lower it, or stop the group and run python -m include.ingest resize-cells"
            )
        return contract

    def _refresh_contract(self) -> None:
        """Read the contract again (rule 1); it differs if an operator has resized the cells."""
        if self.contract_is_fresh:
            return
        if self._agree() != self.contract:
            raise ContractError("the contract object was changed while this consumer ran: start it again")
        self.contract_is_fresh = True

    # --- assignments ----------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether everything that is assigned may be landed."""
        return self.contract_is_fresh and not self.waiting

    def assign(self, kafka: KafkaConsumer, partitions: list[TopicPartition], assignment: int) -> list[TopicPartition]:
        """Where new partitions start (rule 9). Partitions that are in `waiting` afterwards must not be read yet.

        The group waits meanwhile, so Kafka is asked once. A partition waits if Kafka does not answer now (a
        coordinator that loads, for example), or if it has no commit.

        Raises:
            ForeignCommitError: another program made a commit.
        """
        self.contract_is_fresh = self.contract_is_fresh and not partitions
        try:
            starts = {start.partition: start for start in self._from_commits(kafka, partitions, ANSWER_SECONDS)}
        except KafkaException:  # logged by read_commits
            starts = {}
        self._watchdog.awake()
        self.waiting |= {place.partition: assignment for place in partitions if place.partition not in starts}
        beginnings = (TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in partitions)
        return [starts.get(beginning.partition, beginning) for beginning in beginnings]

    def forget(self, partition: int) -> None:
        """Drop a partition that is not assigned to this consumer any more."""
        self.waiting.pop(partition, None)
        self._end_if_done()

    def close(self) -> None:
        """End the listing, if any."""
        if self._listing is not None:
            self._listing.cancel()
            self._listing = None

    def problems(self) -> list[str]:
        """Why partitions wait, if they have waited too long."""
        return self._pending.problems()

    def _end_if_done(self) -> None:
        if self.is_done:
            self._pending.end()
            self.close()

    def _from_commits(self, kafka: KafkaConsumer, places: list[TopicPartition], answer: float) -> list[TopicPartition]:
        """Where the partitions with a commit start (rule 9). Raises like `read_commits` and `start_from_commit`."""
        starts = []
        for commit in read_commits(kafka, places, within=0, answer=answer):
            start = start_from_commit(commit.partition, commit.offset, commit.metadata, self.contract.topic_id)
            if start is not None:
                starts.append(position(self.contract, commit.partition, start, commit.leader_epoch))
        return starts

    # --- placing --------------------------------------------------------------

    def place(
        self, kafka: KafkaConsumer, *, contract_only: bool = False
    ) -> tuple[list[TopicPartition], dict[int, str]]:
        """Read the contract again if necessary, then place partitions that wait. Call it until `is_done`.

        Returns where partitions start, and why others stop. If S3 or Kafka do not answer, the next attempt comes after
        a pause.

        Raises:
            ContractError, TopicError, ProtocolError: the consumer must not go on.
        """
        self._starts, self._stopped = [], {}
        if self._clock() < self._retry_at:
            return [], {}
        self._pending.begin("landing waits")
        try:
            self._refresh_contract()
            if not contract_only:
                self._place_all(kafka)
        except (BaseError, OSError) as error:
            self._metrics.failed(type(error).__name__)
            self._report_wait(f"S3 does not answer: {reason_of(error)}")
        except (topic.UnreachableError, KafkaException) as error:
            self._report_wait(f"Kafka does not answer: {reason_of(error)}")
        # The pause begins now: a request without an answer may have taken longer than the pause.
        self._retry_at = self._clock() + RETRY_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._watchdog.awake()
        self._end_if_done()
        return self._starts, self._stopped

    def _report_wait(self, reason: str) -> None:
        self._pending.begin(f"landing waits: {reason}")
        self._log.warning("landing waits", reason=reason)

    def _place_all(self, kafka: KafkaConsumer) -> None:
        """Place partitions at their commit, the others by a listing of their objects."""
        waiting = [TopicPartition(self._topic, partition) for partition in sorted(self.waiting)]
        for start in self._from_commits(kafka, waiting, SHORT_ANSWER_SECONDS):
            self._begin(kafka, start)
        try:
            self._place_listed(kafka)
        finally:
            if not self._is_listed():
                self.close()
                self._listing = Listing(self._store, self._storage, self.contract.topic_id, self.waiting)
                self._listing.wait(LISTING_SECONDS)
        self._place_listed(kafka)

    def _is_listed(self) -> bool:
        """Whether the objects of all waiting partitions are listed, or a listing of some of them is under way."""
        if self._listing is None:
            return not self.waiting
        listed = self.waiting.items() & self._listing.assignments.items()
        return len(listed) == len(self.waiting) or (bool(listed) and not self._listing.wait(0))

    def _place_listed(self, kafka: KafkaConsumer) -> None:
        """Place the partitions whose objects are listed."""
        listing = self._listing
        if listing is None:
            return
        if not listing.wait(0):
            self._pending.begin("landing waits: what is landed is being listed")
            return
        try:
            listing.check()
        except (BaseError, OSError):
            self._listing = None
            raise
        for partition, assignment in list(self.waiting.items()):
            if listing.assignments.get(partition) == assignment:
                self.waiting[partition] = self.waiting.pop(partition)  # to the end: the others first if it fails
                self._place(kafka, partition, listing)
                self._watchdog.awake()

    def _place(self, kafka: KafkaConsumer, partition: int, listing: Listing) -> None:
        """Start a partition without a commit where S3 says (rule 9); commit this offset before anything is read."""
        topic_partition = TopicPartition(self._topic, partition)
        low, _ = kafka.get_watermark_offsets(topic_partition, timeout=SHORT_ANSWER_SECONDS)
        landed, cells = listing.first_offsets(partition), self.contract.cells_of(partition)
        try:
            start = start_without_commit(partition, landed, listing.skipped(partition), cells, low)
        except ProtocolError as error:
            del self.waiting[partition]
            self._stopped[partition] = str(error)
            return
        commit = position(self.contract, partition, start, None)
        commit_now(kafka, [commit])
        self._begin(kafka, commit)
        self._log.info("placed without a commit", partition=partition, start=start, landed_objects=len(landed))

    def _begin(self, kafka: KafkaConsumer, start: TopicPartition) -> None:
        kafka.seek(start)
        del self.waiting[start.partition]
        self._starts.append(start)
