"""The landing consumer: Kafka in, create-only objects out, commits behind them.

One loop, one thread for Kafka; PUTs run in the sink's threads. What may be written or
committed is decided by `protocol.Lane` alone; this module carries it out, keeps memory
bounded, and reacts to rebalances, signals and faults.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections import Counter
from queue import Empty
from time import monotonic, sleep
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer
from obstore.exceptions import BaseError
from obstore.store import S3Store

from include.ingest import quote, runs, topic
from include.ingest.commits import ANSWER_SECONDS, commit_now, read_commits
from include.ingest.health import Pending, ProcessHealth
from include.ingest.listing import Listing
from include.ingest.logs import LIBRDKAFKA, logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Created, Gap, Lane, Limits, ProtocolError, Step, rows_to_land
from include.ingest.pressure import Act, Pressure
from include.ingest.rejects import batch_rows
from include.ingest.runs import Run
from include.ingest.sink import Done, Place, Sink
from include.ingest.starting_offset import WINDOW_CELLS_A_PUT, commit_mark, start_from_commit, start_without_commit
from include.ingest.store import agree
from include.landing.body import line_start
from include.landing.contract import CellSize, Contract, ContractError, summary
from include.landing.dead_letter import rejected_message
from include.settings import Settings

SESSION_TIMEOUT_MS = 30_000
POLL_SECONDS = 0.1
BUSY_POLL_SECONDS = 0.005
"""The poll's limit while PUTs are under way: librdkafka waits it out for a full chunk, and answers wait with it."""
CHUNK = 500
"""Messages taken from librdkafka at once: enough to share the work among them, few enough to stay in the caches (a
thousand cost an eighth more CPU each)."""
QUEUED_A_THREAD = 2
"""PUTs of a partition given to the sink for each of its threads. One that is done then finds the next waiting; to
sleep and be woken for each costs as much as the PUT itself."""
ANSWERS_SECONDS = 0.005
"""How long answers gather while the buffer is full: a turn of the loop for each costs more than all they bring."""
COMMIT_SECONDS = 1.0
PROGRESS_SECONDS = 10.0
SETTLE_SECONDS = 2.0
SETTLE_ANSWER_SECONDS = 2.0
"""How long the loop waits for Kafka's answer about partitions that wait: the others stand still meanwhile."""
LISTING_SECONDS = 0.5
"""How long the loop waits for a listing: that of a prefix with few objects is done by then."""
THROTTLE_SECONDS = 0.05
STATISTICS_MS = 5000
"""How often librdkafka tells how it stands with the group's coordinator, which nothing else does reliably: an error
event says that something failed, none that it works again."""

LANES_DIFFER = "assigned partitions and lanes differ, joining anew"

EXIT_CLEAN = 0
EXIT_REFUSED = 2
EXIT_UNLANDED = 3


def waking_and_sleeping() -> float:
    """Seconds that go on while the machine is suspended; Python's monotonic clock stands still then.

    Linux calls that clock BOOTTIME; on macOS the system's MONOTONIC is one already.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RefusedError(RuntimeError):
    """The consumer must not run like this; the text names the thing, the value and the remedy."""


def kafka_config(settings: Settings) -> dict[str, Any]:
    """Settings of librdkafka: ours, then KAFKA_OPTIONS, then what the protocol insists on."""
    config: dict[str, Any] = {
        "client.id": f"landing-{socket.gethostname()}",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "max.poll.interval.ms": 300_000,
        "isolation.level": "read_committed",
        "fetch.queue.backoff.ms": 5,  # the default of 1000 stalls a consumer whose queue was full
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.max.bytes": 8 * 2**20,
        # A fetch is decompressed into the queue at once, whatever its limits: the default of 1 MB of compressed quotes
        # took 24 MB a partition.
        "max.partition.fetch.bytes": 2**18,
        "statistics.interval.ms": STATISTICS_MS,
    }
    config |= settings.kafka.client_config()
    if settings.consumer.group_instance_id:
        config["group.instance.id"] = settings.consumer.group_instance_id
    return config | {
        "group.id": settings.kafka.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
    }


class Coordinator(msgspec.Struct):
    """How librdkafka stands with the group's coordinator: `state` is `up`, or what it waits for."""

    state: str


class Statistics(msgspec.Struct):
    """What is read of librdkafka's statistics."""

    cgrp: Coordinator


class Consumer:
    """One process of the group. `run` returns the exit status."""

    def __init__(self, settings: Settings, store: S3Store, control: S3Store, metrics: ConsumerMetrics) -> None:
        """`control` is the same bucket with a short timeout, for what the loop itself reads."""
        self._settings = settings
        self._control = control
        self._metrics = metrics
        self._log = logger("consumer")
        self._config = kafka_config(settings) | {
            "logger": LIBRDKAFKA,
            "on_commit": self._committed,
            "error_cb": self._kafka_said,
            "stats_cb": self._kafka_stands,
        }
        self._admin = topic.Admin(settings.kafka.client_config())
        self._limits = Limits(
            records=settings.consumer.batch_records,
            size_bytes=settings.consumer.batch_bytes,
            age_seconds=settings.consumer.batch_age_seconds,
            window_cells=WINDOW_CELLS_A_PUT * settings.consumer.parallel_puts,
            in_flight=QUEUED_A_THREAD * settings.consumer.parallel_puts,
        )
        self._lanes: dict[int, Lane] = {}
        self._unplaced: dict[int, int] = {}
        self._stopped: dict[int, str] = {}
        self._listing: Listing | None = None
        self._assignment = 0
        self._contract_is_fresh = True
        self._settle_at = 0.0
        self._pressure = Pressure(settings.consumer.max_buffer_bytes)
        self._refused: Exception | None = None
        self._terminating = threading.Event()
        self._last_turn = waking_and_sleeping()
        self._stalled = False
        self._last_commit = 0.0
        self._last_progress = monotonic()
        self._progress_count = 0
        self._unassigned = Pending()
        self._unassigned.begin("no assignment from the group yet", grace=0.0)
        self._unsettled = Pending()
        self._uncommitted = Pending()
        self._kafka_away = Pending()
        self._last_connection_error = ""
        self._rejects: Counter[str] = Counter()
        self._session_seconds = float(self._config["session.timeout.ms"]) / 1000
        self._contract = self._agree(self._facts())
        place = Place(
            settings.storage.data_prefix,
            settings.storage.dead_letter_prefix,
            self._contract,
            f"{socket.gethostname()}:{os.getpid()}",
        )
        self._sink = Sink(
            store, place, lambda put: batch_rows(settings.kafka.topic, put), metrics, settings.consumer.parallel_puts
        )
        self._kafka = KafkaConsumer(self._config)

    # --- start ----------------------------------------------------------------

    def _facts(self) -> topic.TopicFacts:
        facts = topic.describe(self._admin, self._settings.kafka.topic)
        relaxed = topic.require_fit(
            facts,
            allow_create_time=self._settings.consumer.allow_create_time,
            allow_missing_topic_id=self._settings.consumer.allow_missing_topic_id,
        )
        if relaxed:
            self._log.warning("guarantees relaxed by settings", relaxed=relaxed)
        return facts

    def _agree(self, facts: topic.TopicFacts) -> Contract:
        """Read or create the contract object (rule 1)."""
        mine = Contract(
            cluster_id=facts.cluster_id,
            topic=facts.topic,
            topic_id=facts.topic_id,
            suffix=".json.gz" if self._settings.consumer.compression == "gzip" else ".json",
            isolation_level=str(self._config["isolation.level"]),
            cells=(CellSize(self._settings.consumer.batch_records, {}),),
        )
        contract = agree(self._control, self._settings.storage.data_prefix, mine)
        if self._settings.consumer.batch_records > contract.cell_size:
            raise ContractError(
                f"CONSUMER_BATCH_RECORDS={self._settings.consumer.batch_records} is more than the prefix's cell size "
                f"{contract.cell_size}: lower it, or stop the group and run python -m include.ingest resize-cells"
            )
        return contract

    # --- the loop -------------------------------------------------------------

    def stop(self) -> None:
        """End the loop soon; may be called from a signal handler or another thread."""
        self._terminating.set()

    def run(self) -> int:
        """Land until stopped. Returns the exit status.

        Raises:
            RefusedError: a commit, contract or topic forbids going on.
        """
        self._log.info("started", group=self._settings.kafka.group, **summary(self._contract))
        self._subscribe()
        done = False
        try:
            while not self._terminating.is_set():
                self._turn()
            done = self._flush(list(self._lanes.values()), "shutdown", self._settings.consumer.shutdown_grace_seconds)
            self._commit(list(self._lanes.values()), wait=True)
            self._raise_refusal()
        finally:
            stopped = dict(self._stopped)  # leaving the group forgets them
            self._forget(list(self._lanes))
            self._end_listing()
            self._kafka.close()
            self._sink.close()
            self._statistics(done, stopped)
        return EXIT_CLEAN if done and not stopped else EXIT_UNLANDED

    def _subscribe(self) -> None:
        self._kafka.subscribe(
            [self._settings.kafka.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        self._last_turn = waking_and_sleeping()

    def _turn(self) -> None:
        """One round: answers, PUTs, commits, then records."""
        now = monotonic()
        for lane in self._lanes.values():
            lane.close_old(now)
        self._collect()
        self._dispatch()
        self._commit_if_due(now)
        if not self._settled:
            self._settle(now)
            self._dispatch()  # before the next poll, which may call for another look at the contract
        if self._settled:
            self._unsettled.end()
            self._end_listing()
        if self._may_poll(now):
            busy = any(lane.in_flight for lane in self._lanes.values())
            messages = self._kafka.consume(CHUNK, BUSY_POLL_SECONDS if busy else POLL_SECONDS)
            if not self._was_stalled():
                self._take(messages)
        self._raise_refusal()
        if now - self._last_progress >= PROGRESS_SECONDS:
            self._progress(now)
            self._check_assignment()

    def _raise_refusal(self) -> None:
        if self._refused is not None:
            raise RefusedError(str(self._refused)) from self._refused

    def _was_stalled(self) -> bool:
        """After a silence longer than the session the group may have moved on: give everything up and join anew.

        What was just consumed may come from after a change of the contract (rule 12), so
        it is not even looked at.
        """
        self._awake()
        if not self._stalled:
            return False
        self._stalled = False
        self._log.warning("stalled longer than the session, joining anew", session_seconds=self._session_seconds)
        self._join_anew()
        return True

    def _join_anew(self) -> None:
        """Leave the group as another member than the one that comes back.

        A client that unsubscribes and subscribes while the group rebalances may keep its old partitions without
        telling (librdkafka 2.16): they would be fetched and belong to no lane.
        """
        self._forget([*self._lanes, *self._unplaced, *self._stopped])
        self._unassigned.begin("no assignment from the group since joining anew")
        self._kafka.close()
        self._kafka = KafkaConsumer(self._config)
        self._subscribe()

    def _check_assignment(self) -> None:
        """Lanes are opened and dropped only where librdkafka's assignment is: should they differ, join anew.

        What is fetched for a partition without a lane is thrown away, and nothing else would tell.
        """
        assigned = {at.partition for at in self._kafka.assignment()}
        if not self._lanes.keys() <= assigned <= self._lanes.keys() | self._unplaced.keys() | self._stopped.keys():
            self._log.error(LANES_DIFFER, assigned=sorted(assigned), lanes=sorted(self._lanes))
            self._join_anew()

    def _awake(self) -> None:
        """Note that this thread runs; called at least every few seconds, so that a longer silence is a stall."""
        now = waking_and_sleeping()
        self._stalled = self._stalled or now - self._last_turn >= self._session_seconds
        self._last_turn = now

    def _take(self, messages: list[Message]) -> None:
        """Validate and feed a chunk of messages."""
        now = monotonic()
        if runs.has_errors(messages):
            for message in messages:
                self._kafka_error(message)
            messages = [message for message in messages if message.error() is None]
        for run in runs.cut(messages):
            lane = self._lanes.get(run.partition)
            if lane is None:
                continue
            try:
                self._feed(lane, run, now)
            except ProtocolError as error:
                self._stop_partition(lane.partition, str(error))

    def _feed(self, lane: Lane, run: Run, now: float) -> None:
        """Feed a run's quotes as they are, the messages between them that are none as rejects."""
        bare, errors = quote.check(run.values, self._settings.consumer.max_message_bytes)
        begin = 0
        for end, error in errors.items():
            lane.feed(run.offset + begin, run.timestamps[begin:end], bare[begin:end], run.epoch, now)
            self._reject(lane, run, end, error, now)
            begin = end + 1
        lane.feed(run.offset + begin, run.timestamps[begin:], bare[begin:], run.epoch, now)

    def _reject(self, lane: Lane, run: Run, index: int, error: quote.InvalidQuoteError, now: float) -> None:
        """Feed a message that is no quote, with its dead-letter row."""
        message, offset, timestamp = run.messages[index], run.offset + index, run.timestamps[index]
        row = rejected_message(
            topic=self._settings.kafka.topic, partition=run.partition, offset=offset, timestamp=timestamp,
            error_class=error.error_class, error=str(error), key=_bytes(message.key()), value=run.values[index],
            headers=message.headers(),
        )  # fmt: skip
        lane.reject(offset, timestamp, row, run.epoch, now)

    def _kafka_error(self, message: Message) -> None:
        """An error event: offset errors stop the partition (rule 10), others are librdkafka's to repeat."""
        error = message.error()
        if error is None:
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION):
            number = message.partition()
            partition = -1 if number is None else number
            self._contract_is_fresh = False  # the offset may be gone with the topic, and another have its name now
            self._stop_partition(
                partition,
                f"partition {partition}: {error.str()}. Records were deleted before they were landed, or the log "
                "was truncated. Unless the consumer now ends as refused, see what is missing and go on: "
                f"python -m include.ingest adopt --partition {partition}",
            )
        elif error.fatal():
            self._refused = KafkaException(error)
        else:
            self._log.warning("Kafka reports", error=error.str(), code=error.name())

    def _stop_partition(self, partition: int, reason: str) -> None:
        """Give a partition up until an operator has acted, or the group gives it to another: the others go on."""
        self._log.error("partition stopped", partition=partition, reason=reason)
        self._forget([partition])
        self._stopped[partition] = reason
        self._metrics.stopped.set(len(self._stopped))
        self._kafka.pause([TopicPartition(self._settings.kafka.topic, partition)])

    # --- PUTs -----------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start every PUT that may start."""
        if not self._contract_is_fresh:
            return
        for lane in self._lanes.values():
            for put in lane.puts():
                self._sink.submit(put)
            self._count(lane)

    def _collect(self, wait_seconds: float = 0.0) -> int:
        """Take the sink's answers, waiting for the first one at most `wait_seconds`; returns how many there were."""
        count = 0
        while True:
            try:
                done = self._sink.answers.get(wait_seconds > 0, wait_seconds or None)
            except Empty:
                return count
            wait_seconds = 0.0
            count += 1
            self._answered(done)

    def _answered(self, done: Done) -> None:
        if isinstance(done.answer, Created) and done.put.step is Step.DATA:
            self._metrics.uploaded(done.put.batch.accepted(), done.seconds)
        lane = self._lanes.get(done.put.partition)
        if lane is None or lane.assignment != done.put.assignment:
            return
        try:
            if done.error is not None:
                raise done.error
            if done.answer is None:
                return
            following = lane.answer(done.put, done.answer)
        except ProtocolError as error:
            self._stop_partition(lane.partition, str(error))
            return
        if following is not None:
            self._sink.submit(following)
        self._count(lane)

    def _count(self, lane: Lane) -> None:
        """Count the batches that have become durable."""
        for batch in lane.take_finished():
            classes = [error_class(row) for _, row in rows_to_land(batch)]
            if classes:
                self._rejects.update(classes)
            self._metrics.landed(batch.count, classes)

    # --- commits --------------------------------------------------------------

    def _commit_if_due(self, now: float) -> None:
        if now - self._last_commit >= COMMIT_SECONDS:
            self._last_commit = now
            self._commit(self._lanes.values(), wait=False)

    def _commit(self, lanes: Any, *, wait: bool) -> None:
        """Commit what is durable (rule 8)."""
        offsets = []
        for lane in lanes:
            commit = lane.commit()
            if commit is not None:
                offsets.append(self._position(lane.partition, commit.offset, commit.epoch))
        if not offsets:
            return
        try:
            if wait:
                commit_now(self._kafka, offsets)
            else:
                self._kafka.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._uncommitted.begin(f"Kafka does not take commits: {error}")
            self._log.warning("commit failed, landed ranges will be found again", error=str(error))
            for lane in lanes:
                lane.commit_failed()

    def _position(self, partition: int, offset: int, epoch: int | None) -> TopicPartition:
        mark = commit_mark(self._contract.topic_id)
        if epoch is None or epoch < 0:
            return TopicPartition(self._settings.kafka.topic, partition, offset, mark)
        return TopicPartition(self._settings.kafka.topic, partition, offset, mark, epoch)

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Outcome of a commit, called by librdkafka from `consume`."""
        refused = False
        for partition in partitions:
            failure = error or partition.error
            if failure is not None:
                refused = True
                self._uncommitted.begin(f"Kafka does not take commits: {failure}")
                self._log.warning("commit failed", partition=partition.partition, error=str(failure))
                lane = self._lanes.get(partition.partition)
                if lane is not None:
                    lane.commit_failed()
        if not refused:
            self._uncommitted.end()

    # --- assignment -----------------------------------------------------------

    def _assigned(self, kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """New partitions: start at our commits (rule 9); the contract is read again before anything is written.

        The group waits meanwhile, so Kafka is asked once. What it does not tell now (a coordinator that loads, say),
        and partitions without a commit, are left to `_settle`.
        """
        self._assignment += 1
        self._contract_is_fresh = self._contract_is_fresh and not partitions
        starts: list[TopicPartition] = []
        try:
            begun = {start.partition: start for start in self._committed_starts(kafka, partitions, ANSWER_SECONDS)}
        except KafkaException:  # told by read_commits
            begun = {}
        except ProtocolError as error:
            self._refused = error
            return
        self._awake()
        for at in partitions:
            start = begun.get(at.partition)
            if start is None:
                self._unplaced[at.partition] = self._assignment
                starts.append(TopicPartition(at.topic, at.partition, OFFSET_BEGINNING))
            else:
                self._open_lane(at.partition, start.offset)
                starts.append(start)
        kafka.incremental_assign(starts)
        waiting = starts if self._pressure.paused else [at for at in starts if at.partition in self._unplaced]
        if waiting:
            kafka.pause(waiting)
        self._unassigned.end()
        self._uncommitted.end()
        self._metrics.partitions.set(len(self._lanes))
        placed = {at.partition: at.offset for at in starts}
        self._log.info("assigned", partitions=placed, waiting=sorted(self._unplaced))

    def _committed_starts(
        self, kafka: KafkaConsumer, partitions: list[TopicPartition], answer: float
    ) -> list[TopicPartition]:
        """Where to start the partitions that have a commit (rule 9).

        Raises:
            KafkaException: Kafka does not tell now.
            ForeignCommitError: a commit is not ours.
        """
        starts = []
        for found in read_commits(kafka, partitions, within=0, answer=answer):
            start = start_from_commit(found.partition, found.offset, found.metadata, self._contract.topic_id)
            if start is not None:
                starts.append(self._position(found.partition, start, found.leader_epoch))
        return starts

    def _open_lane(self, partition: int, start: int) -> None:
        self._lanes[partition] = Lane(
            self._contract.topic_id,
            partition,
            self._assignment,
            start,
            self._contract.cells_of(partition),
            self._limits,
            line_start(self._settings.kafka.topic, partition),
        )

    @property
    def _settled(self) -> bool:
        """Whether everything that is assigned may be landed."""
        return self._contract_is_fresh and not self._unplaced

    def _settle(self, now: float, *, place: bool = True) -> None:
        """Read the contract again and place partitions; repeated until S3 and Kafka answer."""
        if now < self._settle_at:
            return
        self._unsettled.begin("landing waits")
        try:
            if not self._contract_is_fresh:
                self._check_contract()
            if place:
                self._place_all()
        except (BaseError, OSError) as error:
            self._metrics.failed(type(error).__name__)
            self._landing_waits(f"S3 does not answer: {str(error).splitlines()[0]}")
        except (topic.UnreachableError, KafkaException) as error:
            self._landing_waits(f"Kafka does not answer: {error}")
        except (ContractError, topic.TopicError, ProtocolError) as error:
            self._refused = error
        # From its end on: what does not answer may have taken longer than the pause.
        self._settle_at = monotonic() + SETTLE_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._awake()

    def _landing_waits(self, reason: str) -> None:
        self._unsettled.begin(f"landing waits: {reason}")
        self._log.warning("landing waits", reason=reason)

    def _check_contract(self) -> None:
        """Rule 1: read again at each assignment, and when an offset is not there.

        Other cells than those in use mean that somebody resized them.
        """
        if self._agree(self._facts()) != self._contract:
            raise ContractError("the contract object was changed while this consumer ran: start it again")
        self._contract_is_fresh = True

    def _place_all(self) -> None:
        """Start the partitions that have no lane yet: at their commit, else where `_place` finds."""
        name = self._settings.kafka.topic
        waiting = [TopicPartition(name, partition) for partition in sorted(self._unplaced)]
        for start in self._committed_starts(self._kafka, waiting, SETTLE_ANSWER_SECONDS):
            self._begin(start)
        try:
            self._place_listed()
        finally:
            if not self._is_listed():
                self._end_listing()
                self._listing = Listing(self._control, self._settings.storage, self._contract.topic_id, self._unplaced)
                self._listing.wait(LISTING_SECONDS)
        self._place_listed()

    def _is_listed(self) -> bool:
        """Whether what is landed is known of all partitions that wait, or being looked for of some."""
        if self._listing is None:
            return not self._unplaced
        listed = self._unplaced.items() & self._listing.assignments.items()
        return len(listed) == len(self._unplaced) or (bool(listed) and not self._listing.wait(0))

    def _place_listed(self) -> None:
        """Place the partitions of which it is known what is landed."""
        listing = self._listing
        if listing is None:
            return
        if not listing.wait(0):
            self._unsettled.begin("landing waits: what is landed is being listed")
            return
        try:
            listing.check()
        except (BaseError, OSError):
            self._listing = None
            raise
        for partition, assignment in list(self._unplaced.items()):
            if listing.assignments.get(partition) == assignment:
                self._unplaced[partition] = self._unplaced.pop(partition)  # should it fail, others go first next time
                self._place(partition, listing)
                self._awake()

    def _end_listing(self) -> None:
        if self._listing is not None:
            self._listing.give_up()
            self._listing = None

    def _place(self, partition: int, listing: Listing) -> None:
        """Start a partition that has no commit where S3 says (rule 9); commit that first."""
        at = TopicPartition(self._settings.kafka.topic, partition)
        low, _ = self._kafka.get_watermark_offsets(at, timeout=SETTLE_ANSWER_SECONDS)
        landed, cells = listing.first_offsets(partition), self._contract.cells_of(partition)
        try:
            start = start_without_commit(partition, landed, listing.given_up(partition), cells, low)
        except ProtocolError as error:
            self._stop_partition(partition, str(error))
            return
        at = self._position(partition, start, None)
        commit_now(self._kafka, [at])
        self._begin(at)
        self._log.info("placed without a commit", partition=partition, start=start, landed_objects=len(landed))

    def _begin(self, at: TopicPartition) -> None:
        """Land a partition that waited, from `at` on."""
        self._kafka.seek(at)
        del self._unplaced[at.partition]
        self._open_lane(at.partition, at.offset)
        self._metrics.partitions.set(len(self._lanes))
        if not self._pressure.paused:
            self._kafka.resume([TopicPartition(at.topic, at.partition)])

    def _revoked(self, _kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Land what is there within the time allowed, commit, let go (rule 11)."""
        numbers = [at.partition for at in partitions]
        lanes = [self._lanes[number] for number in numbers if number in self._lanes]
        done = self._flush(lanes, "revoked", self._settings.consumer.revoke_flush_seconds)
        self._commit(lanes, wait=True)
        self._forget(numbers)
        if not (self._lanes or self._unplaced or self._stopped):
            self._unassigned.begin("no assignment from the group since all partitions were revoked")
        self._log.info("revoked", partitions=numbers, flushed=done)

    def _lost(self, _kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """The group has moved on without us: nothing may be committed (rule 11)."""
        numbers = [at.partition for at in partitions]
        self._forget(numbers)
        self._unassigned.begin("no assignment from the group since it took this consumer for dead")
        self._log.warning("lost", partitions=numbers)

    def _forget(self, partitions: list[int]) -> None:
        """Drop the state of partitions; answers that still come are not listened to."""
        for number in partitions:
            self._unplaced.pop(number, None)
            self._stopped.pop(number, None)
            lane = self._lanes.pop(number, None)
            if lane is not None:
                lane.sealed = True
                self._sink.abandon(number, lane.assignment)
        self._metrics.partitions.set(len(self._lanes))
        self._metrics.stopped.set(len(self._stopped))

    def _flush(self, lanes: list[Lane], reason: Any, seconds: float) -> bool:
        """Seal lanes and wait until they are settled, at most `seconds`; returns whether they are."""
        deadline = monotonic() + seconds
        for lane in lanes:
            lane.seal(reason)
        while True:
            self._collect(0.0)
            lanes = [lane for lane in lanes if self._lanes.get(lane.partition) is lane]
            if all(lane.settled for lane in lanes):
                return True
            left = deadline - monotonic()
            if left <= 0 or self._refused is not None:
                return False
            if not self._contract_is_fresh and left > seconds / 2:  # a Kafka that is away takes its time to say so
                self._settle(monotonic(), place=False)
            self._dispatch()
            self._collect(min(left, THROTTLE_SECONDS))
            self._awake()

    # --- memory ---------------------------------------------------------------

    def _may_poll(self, now: float) -> bool:
        """Keep memory bounded. False when the loop has waited for S3 instead and should look at its answers."""
        buffered = sum(lane.buffered for lane in self._lanes.values())
        self._metrics.buffered_bytes = buffered
        self._metrics.puts_in_flight = sum(lane.in_flight for lane in self._lanes.values())
        if self._pressure.is_tight(buffered):
            self._close_for_memory()
        act = self._pressure.decide(now, buffered, busy=self._any_busy())
        if act is Act.PAUSE:
            self._pause()
        elif act is Act.RESUME:
            self._resume()
        elif act is Act.WAIT:
            if self._collect(THROTTLE_SECONDS):
                self._pressure.answered(now)
                sleep(ANSWERS_SECONDS)
            self._awake()
        return act is not Act.WAIT

    def _any_busy(self) -> bool:
        return any(lane.busy for lane in self._lanes.values())

    def _close_for_memory(self) -> None:
        """When nothing is under way, only open batches hold the memory: close them, or all would wait for ever."""
        if not self._any_busy():
            for lane in self._lanes.values():
                lane.close_open("memory")

    def _pause(self) -> None:
        self._metrics.paused.set(1)
        self._kafka.pause([TopicPartition(self._settings.kafka.topic, number) for number in self._lanes])
        self._log.warning("paused: S3 does not keep up", last_error=self._sink.last_error)

    def _resume(self) -> None:
        """Read on exactly where each lane stands, whatever was thrown away with the pause."""
        self._metrics.paused.set(0)
        name = self._settings.kafka.topic
        for number, lane in list(self._lanes.items()):
            try:
                self._kafka.seek(TopicPartition(name, number, lane.position))
            except KafkaException as error:
                self._stop_partition(number, f"partition {number}: seek to {lane.position} failed: {error}")
                continue
            self._kafka.resume([TopicPartition(name, number)])
        self._log.info("resumed")

    # --- end ------------------------------------------------------------------

    def _statistics(self, done: bool, stopped: dict[int, str]) -> None:
        total = self._metrics.total
        self._log.info(
            "stopped",
            everything_landed=done,
            messages=total.messages,
            rejected=dict(self._rejects),
            batches=total.batches,
            upload_errors=total.errors,
            seconds=round(total.seconds, 1),
            messages_per_second=round(total.messages / max(total.seconds, 0.001), 1),
            stopped_partitions=stopped,
        )

    def _progress(self, now: float) -> None:
        total = self._metrics.total
        seconds = now - self._last_progress
        self._log.info(
            "progress",
            messages=total.messages,
            batches=total.batches,
            rejected=total.rejected,
            upload_errors=total.errors,
            messages_per_second=round((total.messages - self._progress_count) / seconds, 1),
            buffered_bytes=sum(lane.buffered for lane in self._lanes.values()),
            partitions={number: lane.durable for number, lane in sorted(self._lanes.items())},
            paused=self._pressure.paused,
        )
        self._last_progress, self._progress_count = now, total.messages

    def _kafka_said(self, error: KafkaError) -> None:
        """An error of a connection, called by librdkafka from `consume`; it may be over already."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # says less than what came before it
            self._last_connection_error = error.str()

    def _kafka_stands(self, statistics: str) -> None:
        """The state of the connection to the group, called by librdkafka from `consume`."""
        state = msgspec.json.decode(statistics, type=Statistics).cgrp.state
        if state == "up":
            self._kafka_away.end()
            self._last_connection_error = ""
        else:
            self._kafka_away.begin(f"Kafka does not answer ({state}): {self._last_connection_error}")

    def health(self) -> ProcessHealth:
        """State for /healthz; called from the health server's threads."""
        problems = list(self._stopped.values())
        for waiting in (self._unassigned, self._kafka_away, self._unsettled, self._uncommitted):
            problems += waiting.problems()
        failing = self._sink.failing_since
        if failing is not None:
            problems.append(f"S3 has failed for {monotonic() - failing:.0f} s: {self._sink.last_error}")
        if self._pressure.paused:
            problems.append("reading is paused until S3 keeps up")
        silence = waking_and_sleeping() - self._last_turn
        live = silence < 300
        details = {
            "seconds_since_poll": round(silence, 1),
            "partitions": sorted(self._lanes),
            "partitions_waiting": sorted(self._unplaced),
            "partitions_stopped": sorted(self._stopped),
        }
        return ProcessHealth(live, live and not problems, problems, details)


def error_class(row: Any) -> str:
    """The class of a reject: a dead-letter row, a gap, or None for what only an earlier writer rejected."""
    if isinstance(row, Gap):
        return "gap"
    return "rejected_earlier" if row is None else str(row.error_class)


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
