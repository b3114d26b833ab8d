"""Placement: the contract under which partitions are landed, and the offset at which each new partition starts.

A partition starts at the group's commit, or without one where S3 says (rule 9 of docs/exactly-once.md). If Kafka or
S3 do not answer, the partition waits and the other partitions go on. The contract object is read again at each
assignment (rule 1).

The consumer's loop never waits long: tasks in threads of their own ask Kafka and S3, and each call of `place` takes
what they have found by then. They use a client of their own, because calls of one client wait for each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer
from obstore.exceptions import BaseError
from obstore.store import S3Store

from include.ingest import topic
from include.ingest.background import Task
from include.ingest.commits import position, read_commits
from include.ingest.health import Pending
from include.ingest.listing import Listing
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import ProtocolError
from include.ingest.starting_offset import records_end, start_from_commit, start_without_commit
from include.ingest.store import agree
from include.ingest.watchdog import Watchdog
from include.landing.codec import SUFFIXES
from include.landing.contract import CellSize, Contract, ContractError
from include.reasons import reason_of
from include.settings import ConsumerSettings, KafkaSettings, StorageSettings

RETRY_SECONDS = 2.0
ASSIGN_SECONDS = 0.8
"""How long an assignment waits for the group's commits, inside the poll that brings it."""
PROMPT_SECONDS = 0.1
"""How long the loop waits for a task that has just begun. A server nearby has answered by then."""
LISTING_SECONDS = 0.25
"""How long the loop waits for a listing. The listing of a prefix with few objects is done by then."""
STEP_SECONDS = 0.2
"""How long one call of `place` may start partitions. The rest comes in the next turns of the loop."""
ANSWER_SECONDS = 5.0
"""Time limit of a task's question for the group's commits."""
LOG_START_SECONDS = 2.0
"""Time limit of the question where a partition's log begins."""
MOST_FAILURES = 5
"""After so many unanswered questions a task ends. The others come first in the next one."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a partition of an assignment starts, or why it stops, or nothing: Kafka did not say.

    The group has committed the start already, or `landed_objects` led to it and it must be committed first.
    """

    partition: int
    assignment: int
    start: TopicPartition | None = None
    stop: str = ""
    landed_objects: int | None = None


class Placement:
    """`waiting` are the partitions without a start yet, each with the assignment that brought it.

    While `contract_is_fresh` is false, nothing may be landed. Set it to false to have the contract read again.
    """

    contract: Contract

    def __init__(
        self, kafka: KafkaSettings, consumer: ConsumerSettings, storage: StorageSettings, isolation_level: str,
        admin: topic.Admin, probe: Callable[[], KafkaConsumer], store: S3Store, metrics: ConsumerMetrics,
        watchdog: Watchdog, clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        """`probe` makes a client that joins no group; `store` has a short timeout. `clock` is monotonic, s.

        Call `open` first.
        """
        self.waiting: dict[int, int] = {}
        self._reading: Task[Contract] | None = None
        self._contract_is_fresh = True
        self._starts: list[TopicPartition] = []
        self._stopped: dict[int, str] = {}
        self._topic = kafka.topic
        self._consumer = consumer
        self._storage = storage
        self._isolation_level = isolation_level
        self._admin = admin
        self._make_probe = probe
        self._probe: KafkaConsumer | None = None
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._watchdog = watchdog
        self._log = logger("placement")
        self._pending = Pending(clock)
        self._listing: Listing | None = None
        self._searched: Listing | None = None
        self._search: Task[KafkaException | None] | None = None
        self._cancelled = Event()
        self._found: SimpleQueue[Found] = SimpleQueue()
        self._committing: dict[int, Found] = {}
        self._retry_at = self._next_search = 0.0

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
        ).with_prefixes(self._storage)  # fmt: skip
        contract = agree(self._store, self._storage.data_prefix, wanted)
        if settings.batch_records > contract.cell_size:
            raise ContractError(
                f"CONSUMER_BATCH_RECORDS={settings.batch_records} is more than the prefix's cell size "
                f"{contract.cell_size}: lower it, or stop the group and run python -m include.ingest resize-cells"
            )
        return contract

    @property
    def contract_is_fresh(self) -> bool:
        """Whether the contract was read since the last assignment. While it was not, nothing may be landed."""
        return self._contract_is_fresh

    @contract_is_fresh.setter
    def contract_is_fresh(self, fresh: bool) -> None:
        """A reading that is under way does not count any more: it may have begun before the cause of the doubt."""
        self._contract_is_fresh = fresh
        self._reading = None
        if not fresh:
            self._pending.begin("landing waits: the contract is being read again")

    def _refresh_contract(self) -> bool:
        """Read the contract again (rule 1). Returns whether that is done. It differs if the cells were resized.

        Raises:
            ContractError, TopicError, BaseError, OSError: see `open`.
        """
        if self._contract_is_fresh:
            return True
        if self._reading is None:
            self._reading = Task("contract", self._agree)
            self._reading.done(PROMPT_SECONDS)
        if not self._reading.done():
            return False
        reading, self._reading = self._reading, None
        if reading.result() != self.contract:
            raise ContractError("the contract object was changed while this consumer ran: start it again")
        self.contract_is_fresh = True
        return True

    # --- assignments ----------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether everything that is assigned may be landed."""
        return self.contract_is_fresh and not self.waiting

    def assign(self, kafka: KafkaConsumer, partitions: list[TopicPartition], assignment: int) -> list[TopicPartition]:
        """Where new partitions start (rule 9). Partitions that are in `waiting` afterwards must not be read yet.

        The group waits meanwhile, so Kafka is asked once and for a short time. A partition waits if Kafka does not
        answer now (a coordinator that loads, for example), or if it has no commit.

        Raises:
            ForeignCommitError: another program made a commit.
        """
        if partitions:
            self.contract_is_fresh = False
        try:
            starts = {start.partition: start for start in self._from_commits(kafka, partitions, ASSIGN_SECONDS)}
        except KafkaException:  # logged by read_commits
            starts = {}
        self._watchdog.awake()
        self.waiting |= {place.partition: assignment for place in partitions if place.partition not in starts}
        beginnings = (TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in partitions)
        return [starts.get(beginning.partition, beginning) for beginning in beginnings]

    def forget(self, partition: int) -> None:
        """Drop a partition that is not assigned to this consumer any more."""
        self.waiting.pop(partition, None)
        self._committing.pop(partition, None)
        self._end_if_done()

    def try_again(self, partition: int, assignment: int) -> None:
        """Place a partition once more that was stopped and still belongs to this consumer."""
        self.waiting[partition] = assignment
        self._pending.begin("landing waits: a stopped partition is tried again")

    def close(self) -> None:
        """End what is under way."""
        self._end_listing()
        self._cancelled.set()
        self._cancelled, self._search = Event(), None
        self._committing.clear()

    def _end_listing(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            self._listing = None

    def problems(self) -> list[str]:
        """Why partitions wait, if they have waited too long."""
        return self._pending.problems()

    def _end_if_done(self) -> None:
        if self.is_done:
            self._pending.end()
            self._end_listing()

    def _from_commits(self, kafka: KafkaConsumer, places: list[TopicPartition], answer: float) -> list[TopicPartition]:
        """Where the partitions with a commit start (rule 9). Raises like `read_commits` and `start_from_commit`."""
        starts = []
        for commit in read_commits(kafka, places, within=0, answer=answer):
            start = start_from_commit(commit.partition, commit.offset, commit.metadata, self.contract.topic_id)
            if start is not None:
                end = records_end(commit.metadata, self.contract.topic_id)
                starts.append(position(self.contract, commit.partition, start, commit.leader_epoch, end))
        return starts

    # --- placing --------------------------------------------------------------

    def place(
        self, kafka: KafkaConsumer, *, contract_only: bool = False
    ) -> tuple[list[TopicPartition], dict[int, str]]:
        """Read the contract again if necessary, then place partitions that wait. Call it until `is_done`.

        Returns where partitions start, and why others stop. If S3 or Kafka do not answer, the next attempt comes after
        a pause. A call takes less than a second.

        Raises:
            ContractError, TopicError, ProtocolError: the consumer must not go on.
        """
        self._starts, self._stopped = [], {}
        if self._clock() < self._retry_at:
            return [], {}
        try:
            if self._refresh_contract() and not contract_only:
                while self._place_some(kafka):
                    self._watchdog.awake()
        except (BaseError, OSError) as error:
            self._metrics.failed(type(error).__name__)
            self._report_wait(f"S3 does not answer: {reason_of(error)}")
        except (topic.UnreachableError, KafkaException) as error:
            self._report_wait(f"Kafka does not answer: {reason_of(error)}")
        self._watchdog.awake()
        self._end_if_done()
        return self._starts, self._stopped

    def _report_wait(self, reason: str) -> None:
        self._pending.begin(f"landing waits: {reason}")
        self._log.warning("landing waits", reason=reason)
        # The pause begins now: a request without an answer may have taken longer than the pause.
        self._retry_at = self._clock() + _pause()

    def _place_some(self, kafka: KafkaConsumer) -> bool:
        """Search the starts of partitions that wait, and start those that were found. Returns whether to go on now."""
        unknown = {number: at for number, at in self.waiting.items() if number not in self._committing}
        if self._search is None and unknown and (self._clock() >= self._next_search or self._is_newly_listed()):
            self._searched = self._listed()
            self._search = Task("placing", partial(self._look, unknown, self._searched, self._cancelled))
            self._search.done(PROMPT_SECONDS)
        self._begin_found(kafka)
        if self._search is None or not self._search.done() or not self._found.empty():
            return False
        search_ended, self._search = self._search, None
        self._next_search = self._clock() + _pause()
        failure = search_ended.result()
        self._list_rest()
        if failure is not None:
            raise failure
        return self._is_newly_listed()

    def _begin_found(self, kafka: KafkaConsumer) -> None:
        """Start or stop the partitions that were found, for at most `STEP_SECONDS`."""
        end = monotonic() + STEP_SECONDS
        uncommitted: list[Found] = []
        while monotonic() < end:
            try:
                found = self._found.get_nowait()
            except Empty:
                break
            if self.waiting.get(found.partition) != found.assignment:
                continue
            if found.start is not None and found.landed_objects is not None:
                uncommitted.append(found)
            elif found.start is not None:
                self._begin(kafka, found, found.start)
            else:
                del self.waiting[found.partition]
                if found.stop:
                    self._stopped[found.partition] = found.stop
                else:
                    self.waiting[found.partition] = found.assignment  # now the last: the others first
        self._commit(kafka, uncommitted)

    def _begin(self, kafka: KafkaConsumer, found: Found, start: TopicPartition) -> None:
        try:
            kafka.seek(start)
        except KafkaException:
            self._found.put(found)
            raise
        del self.waiting[found.partition]
        self._starts.append(start)

    def _commit(self, kafka: KafkaConsumer, found: list[Found]) -> None:
        """Commit starts that S3 led to, before anything is read (rule 9), with one request for all."""
        starts = [each.start for each in found if each.start is not None]
        if starts:
            kafka.commit(offsets=starts, asynchronous=True)
            self._committing |= {each.partition: each for each in found}  # the answer comes in a later poll

    def committed(self, commit: TopicPartition, failure: KafkaError | None) -> None:
        """Kafka's answer to a commit of this consumer: if it is a start's, the partition may begin."""
        found = self._committing.get(commit.partition)
        if found is None or found.start is None or found.start.offset != commit.offset:
            return
        del self._committing[commit.partition]
        if failure is not None:
            self._pending.begin(f"landing waits: Kafka does not take the commit of a start: {reason_of(failure)}")
            self._retry_at = self._clock() + _pause()
            return
        facts = {"partition": found.partition, "start": found.start.offset, "landed_objects": found.landed_objects}
        self._log.info("placed without a commit", **facts)
        self._found.put(replace(found, landed_objects=None))

    # --- listing --------------------------------------------------------------

    def _list_rest(self) -> None:
        """List the objects of the partitions that wait without a commit, unless that is under way."""
        if not self._is_listed():
            self._end_listing()
            self._listing = Listing(self._store, self._storage, self.contract.topic_id, self.waiting)
            self._listing.wait(LISTING_SECONDS)
        if self._listing is not None and not self._listing.wait(0):
            self._pending.begin("landing waits: what is landed is being listed")

    def _is_listed(self) -> bool:
        """Whether the objects of all waiting partitions are listed, or a listing of some of them is under way."""
        if self._listing is None:
            return not self.waiting
        listed = self.waiting.items() & self._listing.assignments.items()
        return len(listed) == len(self.waiting) or (bool(listed) and not self._listing.wait(0))

    def _is_newly_listed(self) -> bool:
        """Whether a listing has ended that no search has used yet."""
        return self._listing is not None and self._listing is not self._searched and self._listing.wait(0)

    def _listed(self) -> Listing | None:
        """The listing, if it has ended.

        Raises:
            BaseError, OSError: S3 did not answer.
        """
        if self._listing is None or not self._listing.wait(0):
            return None
        try:
            self._listing.check()
        except (BaseError, OSError):
            self._listing = None
            raise
        return self._listing

    # --- in the task's thread ---------------------------------------------------

    def _look(self, waiting: dict[int, int], listing: Listing | None, cancelled: Event) -> KafkaException | None:
        """Find where partitions start (rule 9). Returns the last error of Kafka about some of them.

        Raises:
            KafkaException: Kafka does not report the commits.
            ForeignCommitError: another program made a commit.
        """
        if self._probe is None:
            self._probe = self._make_probe()
        places = [TopicPartition(self._topic, partition) for partition in sorted(waiting)]
        for start in self._from_commits(self._probe, places, ANSWER_SECONDS):
            self._found.put(Found(start.partition, waiting.pop(start.partition), start))
        failures: list[KafkaException] = []
        for number, assignment in waiting.items() if listing is not None else ():
            if cancelled.is_set() or len(failures) == MOST_FAILURES:
                break
            if listing is not None and listing.assignments.get(number) == assignment:
                try:
                    found = self._start_of(self._probe, number, assignment, listing)
                except ProtocolError as error:
                    found = Found(number, assignment, stop=str(error))
                except KafkaException as error:
                    failures.append(error)
                    found = Found(number, assignment)
                self._found.put(found)
        return failures[-1] if failures else None

    def _start_of(self, probe: KafkaConsumer, partition: int, assignment: int, listing: Listing) -> Found:
        """Where a partition without a commit starts, as S3 and the log's beginning say (rule 9)."""
        low, _ = probe.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=LOG_START_SECONDS)
        landed, cells = listing.first_offsets(partition), self.contract.cells_of(partition)
        start = start_without_commit(partition, landed, listing.skipped(partition), cells, low)
        return Found(partition, assignment, position(self.contract, partition, start, None), landed_objects=len(landed))


def _pause() -> float:
    """Seconds until the next attempt, with jitter."""
    return RETRY_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
