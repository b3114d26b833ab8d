"""The landing consumer: Kafka in, create-only objects out, then commits.

One loop in one thread talks to Kafka; the sink's threads carry out PUTs. `PartitionWriter` alone decides what may be
written or committed. This module writes and commits it, bounds memory, and reacts to rebalances, signals and faults.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from queue import Empty
from threading import Event
from time import monotonic, sleep
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from include.ingest import quote, runs
from include.ingest.background import Task
from include.ingest.commit_check import CommitCheck, HeldCommit
from include.ingest.commits import commit_now, position
from include.ingest.health import Pending, ProcessHealth
from include.ingest.log_ends import LogEnds
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Created, Limits, PartitionWriter, ProtocolError, Reason, Step
from include.ingest.placement import Placement
from include.ingest.pressure import Decision, Pressure
from include.ingest.progress import Place, Progress
from include.ingest.reading import ReadSize, return_blocks
from include.ingest.rejects import classes_of, message_row
from include.ingest.runs import ConsecutiveMessages
from include.ingest.shutdown import EXIT_UNLANDED, Deadline
from include.ingest.sink import Outcome, Sink
from include.ingest.starting_offset import WINDOW_CELLS_A_PUT, records_end
from include.ingest.stops import Stops
from include.ingest.topic import TopicError, UnreachableError
from include.ingest.watchdog import Watchdog
from include.landing.codec import Codec
from include.landing.contract import ContractError, summary
from include.reasons import reason_of
from include.settings import ConsumerSettings, KafkaSettings

POLL_SECONDS = 0.1
BUSY_POLL_SECONDS = 0.005
"""The poll's limit while PUTs are in flight. librdkafka waits that long for a full chunk, and S3's answers wait too."""
QUEUED_A_THREAD = 2
"""PUTs of a partition for each of the sink's threads. A thread then has its next PUT at once. To sleep and to be woken
for each PUT would cost as much as the PUT itself."""
ANSWERS_SECONDS = 0.005
"""While the buffer is full, S3's answers are collected this long. A turn of the loop for each would cost more CPU."""
COMMIT_SECONDS = 1.0
PROGRESS_SECONDS = 10.0
THROTTLE_SECONDS = 0.05
LEAVE_PROMPT_SECONDS = 0.5
"""How long the loop waits for an old client to leave. The new client may join before that."""
LIVE_SECONDS = 300
"""After this silence of the loop /healthz/live fails: it is librdkafka's max.poll.interval.ms."""

UNREADABLE = frozenset({
    KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._UNDERFLOW, KafkaError._NOT_IMPLEMENTED,
    KafkaError.INVALID_MSG,
})  # fmt: skip
"""Errors of a record batch that is damaged, or of an unknown format or compression."""
WHOLE_TOPIC = -1
"""The partition of an error that concerns all of them."""

ASSIGNMENT_DIFFERS = "assigned partitions and partition writers differ, joining again"

EXIT_CLEAN = 0
EXIT_REFUSED = 2
LEAVE_SECONDS = 3.0
"""Part of the shutdown's time that is kept for the last commit and for leaving the group (at most a quarter of it)."""


class RefusedError(RuntimeError):
    """The consumer must not run like this; the text names the setting or object, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class ReadError:
    """What Kafka reported about a partition, and when (monotonic, s)."""

    text: str
    at: float


class Consumer:
    """One process of the group. `run` returns the exit status."""

    def __init__(
        self, kafka: KafkaSettings, settings: ConsumerSettings, connect: Callable[[dict[str, Any]], KafkaConsumer],
        placement: Placement, sink: Sink, codec: Codec, metrics: ConsumerMetrics, watchdog: Watchdog,
        deadline: Deadline, log_ends: LogEnds, clock: Callable[[], float] = monotonic,
        commit_check: CommitCheck | None = None,
    ) -> None:  # fmt: skip
        """`connect` makes a client with callbacks; `placement` is open already; `clock` is monotonic, in seconds.

        `deadline` bounds the shutdown. `log_ends` says what there is to read. `commit_check` holds commits against what
        is landed; None: they are trusted.
        """
        self._topic, self._group, self._token = kafka.topic, kafka.group, kafka.token
        self._settings = settings
        self._connect = connect
        self._placement = placement
        self._commit_check = commit_check
        self._sink = sink
        self._codec = codec
        self._metrics = metrics
        self._clock = clock
        self._watchdog = watchdog
        self._deadline = deadline
        self._log_ends = log_ends
        self._log = logger("consumer")
        self._limits = Limits(
            records=settings.batch_records, size_bytes=settings.batch_bytes, age_seconds=settings.batch_age_seconds,
            window_cells=WINDOW_CELLS_A_PUT * settings.parallel_puts,
            in_flight=QUEUED_A_THREAD * settings.parallel_puts,
        )  # fmt: skip
        self._pressure = Pressure(settings.max_buffer_bytes)
        self._read_size = ReadSize(settings.max_buffer_bytes)
        self._writers: dict[int, PartitionWriter] = {}
        self._stops = Stops()
        self._read_errors: dict[int, ReadError] = {}
        self._progress = Progress(settings.standstill_seconds)
        self._left: dict[int, str] = {}
        self._assignment = 0
        self._refused: Exception | None = None
        self._terminating = Event()
        self._last_commit = 0.0
        self._last_progress = clock()
        self._progress_count = 0
        self._unassigned = Pending(clock)
        self._unassigned.begin("no assignment from the group yet", grace=0.0)
        self._uncommitted: dict[int, Pending] = {}
        self._topic_is_gone = False
        self._disconnected = Pending(clock)
        self._last_connection_error = ""
        self._rejects: Counter[str] = Counter()

    # --- the loop -------------------------------------------------------------

    def stop(self) -> None:
        """End the loop soon; a signal handler or another thread may call it."""
        self._terminating.set()

    def run(self) -> int:
        """Land until stopped. Returns the exit status.

        Raises:
            RefusedError: because of a commit, the contract or the topic the consumer must not go on.
        """
        self._log.info("started", group=self._group, **summary(self._placement.contract))
        self._join()
        all_landed = False
        try:
            while not self._terminating.is_set():
                self._turn()
            self._deadline.begin()
            all_landed = self._flush(self._writers.values(), "shutdown", inf)
            self._commit(self._writers.values(), wait=True)
            self._raise_refusal()
        finally:
            self._deadline.begin()
            stopped = self._stops.reasons  # `_forget` clears them when the client leaves the group
            self._left = self.not_landed
            self._forget(list(self._writers))
            if self._commit_check is not None:
                self._commit_check.close()
            self._leave().done(None)
            self._sink.close()
            self._log_statistics(all_landed, stopped)
        return EXIT_CLEAN if all_landed and not stopped else EXIT_UNLANDED

    @property
    def not_landed(self) -> dict[int, str]:
        """The offsets that were read and are not durable, by partition. The next consumer reads them again."""
        reading = sorted(self._writers.items())
        held = {number: (writer.durable, writer.position) for number, writer in reading}
        return self._left | {number: f"{low} to {high - 1}" for number, (low, high) in held.items() if low < high}

    def report_held(self, place: str) -> None:
        """Log what is not done when the shutdown's time is over; another thread calls it. `place` holds the loop."""
        landed = {number: writer.durable for number, writer in sorted(self._writers.items())}
        self._log.error(
            "not ended in time, ends now", grace_seconds=self._settings.shutdown_grace_seconds, held_at=place,
            not_landed=self.not_landed, landed_up_to=landed, partitions_waiting=sorted(self._placement.waiting),
            stopped_partitions=self._stops.reasons,
        )  # fmt: skip

    def _join(self) -> None:
        """Join the group with a new client."""
        self._session = session = object()

        def heard(callback: Callable[..., None]) -> Callable[..., None]:
            """The callback, for this client only: one that leaves in the background must not change the new state."""
            return lambda *arguments: callback(*arguments) if self._session is session else None

        callbacks: dict[str, Callable[..., None]]
        callbacks = {"on_commit": self._on_commit, "error_cb": self._on_error, "stats_cb": self._on_statistics}
        self._kafka = self._new_client({name: heard(callback) for name, callback in callbacks.items()})
        rebalance: dict[str, Callable[..., None]]
        rebalance = {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._lost}
        self._kafka.subscribe([self._topic], **{name: heard(callback) for name, callback in rebalance.items()})
        self._watchdog.restart()

    def _new_client(self, callbacks: dict[str, Callable[..., None]]) -> KafkaConsumer:
        """A new client. It is tried until there is a token for its login; an attempt takes ten seconds.

        Raises:
            UnreachableError: stopped before there was a token.
        """
        while True:
            try:
                return self._connect(callbacks)
            except UnreachableError as error:
                if self._terminating.is_set():
                    raise
                self._unassigned.begin(f"no assignment from the group: {error}")
                self._log.warning("cannot join the group yet", reason=str(error))
            self._watchdog.awake()

    def _leave(self) -> Task[None]:
        """Leave the group and close the client. A Kafka that is silent makes this hang."""
        self._placement.close()
        return Task("leave", self._kafka.close)

    def _turn(self) -> None:
        """One round: answers, PUTs, commits, then records."""
        now = self._clock()
        for writer in self._writers.values():
            writer.close_old(now)
        self._collect()
        self._stop_at_holes()
        self._dispatch()
        self._commit_if_due(now)
        if not self._placement.is_done:
            self._place()
            self._dispatch()  # now: a rebalance in the next poll may stop all PUTs until the contract is read again
        if self._may_poll(now):
            busy = any(writer.in_flight for writer in self._writers.values())
            wait = BUSY_POLL_SECONDS if busy or self._read_size.is_full else POLL_SECONDS
            messages = self._kafka.consume(self._read_size.count, wait)
            if not self._watchdog.was_stalled():
                self._take(messages)
            else:  # the group may have moved on, and the contract may have changed before these messages (rule 12)
                seconds = self._watchdog.session_seconds
                self._log.warning("stalled longer than the session, joining again", session_seconds=seconds)
                self._join_again()
        self._raise_refusal()
        self._watch(now)
        if now - self._last_progress >= PROGRESS_SECONDS:
            self._log_progress(now)
            self._check_assignment()

    def _raise_refusal(self) -> None:
        if self._refused is not None:
            raise RefusedError(reason_of(self._refused)) from self._refused

    def _join_again(self) -> None:
        """Forget everything, leave the group, and join it as a new member.

        A client that unsubscribes and subscribes while the group rebalances may keep its old partitions without a
        callback (librdkafka 2.16). Their records would then be fetched without a writer.
        """
        self._forget([*self._writers, *self._placement.waiting, *self._stops])
        self._unassigned.begin("no assignment from the group since joining again")
        self._session = object()  # what the old client says from now on is not heard
        self._leave().done(LEAVE_PROMPT_SECONDS)
        self._join()

    def _check_assignment(self) -> None:
        """Join again if librdkafka's assignment and our partitions differ.

        Records of a partition without a writer are thrown away, and no other check would notice that.
        """
        assigned = {place.partition for place in self._kafka.assignment()}
        writers = self._writers.keys()
        if not writers <= assigned <= writers | self._placement.waiting.keys() | set(self._stops):
            self._log.error(ASSIGNMENT_DIFFERS, assigned=sorted(assigned), writers=sorted(writers))
            self._join_again()

    def _take(self, messages: list[Message]) -> None:
        """Validate and feed a chunk of messages."""
        now, count, size = self._clock(), len(messages), 0
        ends: list[Message] = []
        if runs.has_errors(messages):
            events = [message for message in messages if message.error() is not None]
            messages = [message for message in messages if message.error() is None]
            ends = [event for event in events if not self._kafka_error(event)]
            count = len(messages)  # an event takes no memory
        for consecutive in runs.cut(messages):
            writer = self._writers.get(consecutive.partition)
            if writer is None:
                continue
            if self._read_errors:
                self._read_errors.pop(consecutive.partition, None)
                self._read_errors.pop(WHOLE_TOPIC, None)
            before = writer.buffered
            try:
                self._feed(writer, consecutive, now)
            except ProtocolError as error:
                self._stop_partition(writer.partition, str(error))
            except Exception as error:  # a record must not end the process: its partition stops
                if isinstance(error, MemoryError):
                    raise
                self._log.exception("records could not be taken", partition=writer.partition)
                self._stop_partition(writer.partition, consecutive.unexpected(error), may_end=False)
            size += writer.buffered - before
        were_small = self._read_size.are_small
        self._read_size.took(count, size)
        if self._read_size.are_small != were_small:
            return_blocks(are_small=self._read_size.are_small)
        for event in ends:
            self._reach(event)

    def _reach(self, end: Message) -> None:
        """Kafka has nothing more to read: the writer learns of a hole at the log's end, so that it is committed.

        The event itself has no leader epoch (librdkafka 2.16), the client's position does.
        """
        place = TopicPartition(self._topic, end.partition() or 0)
        writer, offset = self._writers.get(place.partition), end.offset()
        if writer is None or offset is None or offset <= writer.next_offset:
            return
        try:
            epochs = [now.leader_epoch for now in self._kafka.position([place]) if now.offset == offset]
        except KafkaException:  # librdkafka is taking the partition away; a commit needs no epoch
            epochs = []
        try:
            writer.reach(offset, epochs[0] if epochs else None)
        except ProtocolError as error:
            self._stop_partition(writer.partition, str(error))

    def _feed(self, writer: PartitionWriter, consecutive: ConsecutiveMessages, now: float) -> None:
        """Feed the quotes, and each invalid message between them as a reject."""
        messages, errors = quote.check(consecutive.values, self._settings.max_message_bytes)
        offset, timestamps, epoch = consecutive.offset, consecutive.timestamps, consecutive.epoch
        begin = 0
        for index, error in errors.items():
            writer.feed(offset + begin, timestamps[begin:index], messages[begin:index], epoch, now)
            row = message_row(self._topic, consecutive, index, error)
            writer.reject(offset + index, timestamps[index], row, epoch, now)
            begin = index + 1
        writer.feed(offset + begin, timestamps[begin:], messages[begin:], epoch, now)

    def _kafka_error(self, message: Message) -> bool:
        """Handle an error event; False if it is only the end of a partition.

        An offset error stops the partition (rule 10), also records that cannot be read: librdkafka would leave them
        out. A fatal error ends the consumer. Otherwise librdkafka retries.
        """
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return False
        number = message.partition()
        partition = WHOLE_TOPIC if number is None else number
        if partition != WHOLE_TOPIC and not self._has(partition) and not error.fatal():
            return True  # the partition moved away during the read that brought this event
        if error.code() in UNREADABLE:
            self._stop_partition(
                partition,
                f"partition {partition}: the records at offset {message.offset()} cannot be read: {error.str()}. Save "
                "what can be saved, then go on after them: python -m include.ingest adopt "
                f"--partition {partition} --offset N",
                may_end=False,
            )
        elif error.code() in (
            KafkaError._AUTO_OFFSET_RESET,
            KafkaError.OFFSET_OUT_OF_RANGE,
            KafkaError._LOG_TRUNCATION,
        ):
            self._placement.contract_is_fresh = False  # the topic may have been deleted and created again
            self._stop_partition(
                partition,
                f"partition {partition}: {error.str()}. Records were deleted before they were landed, or the log "
                "was truncated. If the consumer does not end as refused now, see what is missing and go on: "
                f"python -m include.ingest adopt --partition {partition}",
                may_end=False,
            )
        elif error.fatal():
            self._refused = KafkaException(error)
        else:
            self._log.warning("Kafka reports", partition=partition, error=reason_of(error), code=error.name())
            # librdkafka reports an error once, however long it lasts.
            self._read_errors[partition] = ReadError(reason_of(error), self._clock())
        return True

    def _has(self, partition: int) -> bool:
        return partition in self._writers or partition in self._placement.waiting or partition in self._stops

    def _stop_partition(self, partition: int, reason: str, *, may_end: bool = True) -> None:
        """Land nothing more of a partition until its cause is gone or the group moves it. The others go on.

        `may_end`: look by and by whether the cause is gone. Otherwise an operator must act, with the group stopped.
        """
        if self._stops.stop(partition, reason, self._clock(), may_end=may_end):
            self._log.error("partition stopped", partition=partition, reason=reason)
        self._drop(partition)
        self._follow_state([partition])
        self._metrics.stopped(len(self._stops))

    def _try_stopped(self, now: float) -> None:
        """Try stopped partitions again, and take note of those that go on."""
        for number in self._stops.due(now):
            self._assignment += 1
            self._placement.try_again(number, self._assignment)
        for number in self._stops.tried:
            writer = None if self._is_held(number) else self._writers.get(number)
            if writer is not None and (writer.durable > writer.start or self._has_nothing_to_land(writer)):
                self._stops.end(number)
                self._log.info("partition goes on", partition=number, offset=writer.durable)
                self._metrics.stopped(len(self._stops))

    def _has_nothing_to_land(self, writer: PartitionWriter) -> bool:
        end = self._log_ends.answer.ends.get(writer.partition)
        return end is not None and writer.flushed and end <= self._position(writer)

    # --- progress ---------------------------------------------------------------

    def _watch(self, now: float) -> None:
        """Compare with what Kafka has, now and then."""
        if len(self._stops):
            self._try_stopped(now)
        if not self._log_ends.look(self._writers.keys()):
            return
        answer = self._log_ends.answer
        self._note_topic(answer.topic_is_there)
        read_to_end = set()
        for number, writer in self._writers.items():
            end = answer.ends.get(number)
            position = writer.next_offset if end is None or writer.next_offset >= end else self._position(writer)
            self._progress.see(number, Place(position, writer.durable, end, writer.busy, answer.error), now)
            if end is not None and position >= end:
                read_to_end.add(number)
        for number, read_error in list(self._read_errors.items()):
            over = {number} if number != WHOLE_TOPIC else self._writers.keys()
            is_idle = bool(over) or bool(answer.topic_is_there)  # a process without partitions reads nothing
            if is_idle and over <= read_to_end and read_error.at < answer.asked_at:
                del self._read_errors[number]  # nothing is unread, so nothing can be delivered to end it

    def _position(self, writer: PartitionWriter) -> int:
        """The client's position: it also moves over transaction markers, which are no messages."""
        try:
            (place,) = self._kafka.position([TopicPartition(self._topic, writer.partition)])
        except KafkaException:  # librdkafka is taking the partition away
            return writer.next_offset
        return max(writer.next_offset, place.offset)

    def _note_topic(self, is_there: bool | None) -> None:
        if is_there is None:
            return
        if not is_there and not self._topic_is_gone:
            self._log.error("topic is gone", reason=self._gone)
        self._topic_is_gone = not is_there

    @property
    def _gone(self) -> str:
        return (
            f"topic {self._topic!r} is not in Kafka any more: it was deleted while this consumer ran. What was read is "
            "landed. If it is created again, its offsets begin again: use another S3_DATA_PREFIX, "
            "S3_DEAD_LETTER_PREFIX and S3_STATE_PREFIX. If another topic shall be landed, set KAFKA_TOPIC"
        )

    # --- PUTs -----------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start every PUT that may start."""
        if not self._placement.contract_is_fresh:
            return
        for writer in self._writers.values():
            if self._is_held(writer.partition):
                continue
            for put in writer.puts():
                self._sink.submit(put)
            self._count(writer)

    def _is_held(self, partition: int) -> bool:
        return self._commit_check is not None and self._commit_check.is_held(partition)

    def _stop_at_holes(self) -> None:
        """Stop the partitions whose commit is after records that were never landed."""
        if self._commit_check is not None:
            for partition, reason in self._commit_check.holes().items():
                self._stop_partition(partition, reason)

    def _collect(self, wait_seconds: float = 0.0) -> int:
        """Take the sink's answers; wait at most `wait_seconds` for the first. Returns the number of answers."""
        count = 0
        while True:
            try:
                outcome = self._sink.answers.get(wait_seconds > 0, wait_seconds or None)
            except Empty:
                return count
            wait_seconds = 0.0
            count += 1
            self._take_outcome(outcome)

    def _take_outcome(self, outcome: Outcome) -> None:
        if isinstance(outcome.answer, Created) and outcome.put.step is Step.DATA:
            self._metrics.uploaded(outcome.put.batch.accepted(), outcome.seconds)
        writer = self._writers.get(outcome.put.partition)
        if writer is None or writer.assignment != outcome.put.assignment:
            return
        try:
            if outcome.error is not None:
                raise outcome.error
            if outcome.answer is None:
                return
            following = writer.answer(outcome.put, outcome.answer)
        except ProtocolError as error:
            self._stop_partition(writer.partition, str(error))
            return
        if following is not None:
            self._sink.submit(following)
        self._count(writer)

    def _count(self, writer: PartitionWriter) -> None:
        """Count the writer's batches that became durable since the last call."""
        for batch in writer.take_finished():
            classes = classes_of(batch)
            if classes:
                self._rejects.update(classes)
            self._metrics.landed(batch.count, classes)

    # --- commits --------------------------------------------------------------

    def _commit_if_due(self, now: float) -> None:
        if now - self._last_commit >= COMMIT_SECONDS:
            self._last_commit = now
            self._commit(self._writers.values(), wait=False)

    def _commit(self, writers: Collection[PartitionWriter], *, wait: bool) -> None:
        """Commit what is durable (rule 8)."""
        offsets = []
        for writer in writers:
            commit = None if self._is_held(writer.partition) else writer.commit()
            if commit is not None:
                contract, end = self._placement.contract, commit.records_end
                offsets.append(position(contract, writer.partition, commit.offset, commit.epoch, end))
        if not offsets:
            return
        try:
            if wait:
                commit_now(self._kafka, offsets)
            else:
                self._kafka.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._log.warning("commit failed, landed ranges will be found again", error=reason_of(error))
            for offset in offsets:
                self._note_commit(offset.partition, error)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The outcome of a commit; librdkafka calls this method from `consume`."""
        for partition in partitions:
            failure = error or partition.error
            self._placement.committed(partition, failure)
            if failure is not None:
                self._log.warning("commit failed", partition=partition.partition, error=reason_of(failure))
            self._note_commit(partition.partition, failure)

    def _note_commit(self, partition: int, failure: object | None) -> None:
        """A failed commit is a problem until one of the same partition succeeds, or the partition moves away."""
        writer = self._writers.get(partition)
        if failure is None or writer is None:
            self._uncommitted.pop(partition, None)
            return
        writer.commit_failed()
        pending = self._uncommitted.setdefault(partition, Pending(self._clock))
        pending.begin(f"Kafka does not take commits: {reason_of(failure)}")

    # --- assignment -----------------------------------------------------------

    def _assigned(self, kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Open a writer for each new partition whose start is known; the other partitions wait for `_place`."""
        self._assignment += 1
        try:
            starts = self._placement.assign(kafka, partitions, self._assignment)
        except ProtocolError as error:
            self._refused = error
            return
        waiting = self._placement.waiting.keys()
        for start in starts:
            if start.partition not in waiting:
                self._open_writer(start)
        kafka.incremental_assign(starts)
        self._follow_state([start.partition for start in starts])
        self._unassigned.end()
        self._metrics.partitions.set(len(self._writers))
        offsets = {start.partition: start.offset for start in starts}
        self._log.info("assigned", partitions=offsets, waiting=sorted(waiting))

    def _place(self, *, contract_only: bool = False) -> None:
        """Read the contract again if necessary, and start the partitions whose start is known by now."""
        try:
            starts, stopped = self._placement.place(self._kafka, contract_only=contract_only)
        except (ContractError, TopicError, ProtocolError) as error:
            self._refused = error
            return
        for start in starts:
            self._open_writer(start)
        self._follow_state([start.partition for start in starts])
        for partition, reason in stopped.items():
            self._stop_partition(partition, reason)
        self._metrics.partitions.set(len(self._writers))

    def _open_writer(self, start: TopicPartition) -> None:
        contract, partition = self._placement.contract, start.partition
        end = records_end(start.metadata, contract.topic_id)
        self._writers[partition] = PartitionWriter(
            contract.topic_id, partition, self._assignment, start.offset, contract.cells_of(partition), self._limits,
            self._codec, self._codec.prefix(self._topic, partition), end,
        )  # fmt: skip
        if self._commit_check is not None:
            self._commit_check.begin([HeldCommit(partition, start.offset, end)])

    def _revoked(self, _kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Land the records in memory within the time allowed, commit, and forget the partitions (rule 11)."""
        numbers = [place.partition for place in partitions]
        writers = [self._writers[number] for number in numbers if number in self._writers]
        flushed = self._flush(writers, "revoked", self._settings.revoke_flush_seconds)
        # librdkafka sends this commit before it joins again, so it arrives before the partitions move.
        self._commit(writers, wait=False)
        self._forget(numbers)
        if not (self._writers or self._placement.waiting or self._stops):
            self._unassigned.begin("no assignment from the group since all partitions were revoked")
        self._log.info("revoked", partitions=numbers, flushed=flushed)

    def _lost(self, _kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """The group has moved on without us: nothing may be committed (rule 11)."""
        numbers = [place.partition for place in partitions]
        self._forget(numbers)
        self._unassigned.begin("no assignment from the group since it took this consumer for dead")
        self._log.warning("lost", partitions=numbers)

    def _forget(self, partitions: Collection[int]) -> None:
        """Drop the state of partitions. S3's answers that still come for them are ignored."""
        for number in partitions:
            self._drop(number)
            self._stops.end(number)
        self._metrics.partitions.set(len(self._writers))
        self._metrics.stopped(len(self._stops))

    def _drop(self, number: int) -> None:
        """Drop everything that a partition has, except the reason why it is stopped."""
        self._placement.forget(number)
        if self._commit_check is not None:
            self._commit_check.forget(number)
        self._progress.forget(number)
        self._read_errors.pop(number, None)
        self._uncommitted.pop(number, None)
        writer = self._writers.pop(number, None)
        if writer is not None:
            writer.sealed = True
            self._sink.abandon(number, writer.assignment)

    def _follow_state(self, partitions: Collection[int]) -> None:
        """Set librdkafka's pause flags from our state: they outlive an assignment, so none may be taken for granted."""
        readable = set() if self._pressure.paused else self._writers.keys() & set(partitions)
        read = [TopicPartition(self._topic, number) for number in partitions if number in readable]
        unread = [TopicPartition(self._topic, number) for number in partitions if number not in readable]
        if unread:
            self._kafka.pause(unread)
        if read:
            self._kafka.resume(read)

    def _flush(self, writers: Collection[PartitionWriter], reason: Reason, seconds: float) -> bool:
        """Seal writers and wait at most `seconds` until all are flushed. Returns whether all are flushed.

        A shutdown, which may begin meanwhile, shortens the wait.
        """
        end = self._clock() + seconds
        reserve = min(LEAVE_SECONDS, self._settings.shutdown_grace_seconds / 4)
        for writer in writers:
            writer.seal(reason)
        while True:
            self._collect()
            self._stop_at_holes()
            writers = [writer for writer in writers if self._writers.get(writer.partition) is writer]
            if all(writer.flushed for writer in writers):
                return True
            remaining = min(end - self._clock(), self._deadline.remaining - reserve)
            if remaining <= 0 or self._refused is not None:
                return False
            if not self._placement.contract_is_fresh:
                self._place(contract_only=True)
            self._dispatch()
            self._collect(min(remaining, THROTTLE_SECONDS))
            self._watchdog.awake()

    # --- memory ---------------------------------------------------------------

    def _may_poll(self, now: float) -> bool:
        """Keep memory bounded. Returns False if the loop waited for S3 instead of polling."""
        buffered = sum(writer.buffered for writer in self._writers.values())
        self._metrics.buffered_bytes = buffered
        self._metrics.puts_in_flight = sum(writer.in_flight for writer in self._writers.values())
        if self._pressure.is_tight(buffered):
            self._close_for_memory()
        decision = self._pressure.decide(now, buffered, busy=self._any_busy())
        if decision is Decision.PAUSE:
            self._pause()
        elif decision is Decision.RESUME:
            self._resume()
        elif decision is Decision.WAIT:
            if self._collect(THROTTLE_SECONDS):
                self._pressure.answered(now)
                sleep(ANSWERS_SECONDS)
            self._watchdog.awake()
        return decision is not Decision.WAIT

    def _any_busy(self) -> bool:
        return any(writer.busy for writer in self._writers.values())

    def _close_for_memory(self) -> None:
        """Close the open batches if no PUT is in flight or waits: then nothing else would free memory."""
        if not self._any_busy():
            for writer in self._writers.values():
                writer.close_open("memory")

    def _pause(self) -> None:
        self._metrics.paused.set(1)
        self._follow_state(self._writers.keys())
        self._log.warning("paused: S3 does not keep up", last_error=self._sink.last_error)

    def _resume(self) -> None:
        """Read on exactly where each writer is: librdkafka may have dropped fetched records at the pause."""
        self._metrics.paused.set(0)
        for number, writer in list(self._writers.items()):
            try:
                self._kafka.seek(TopicPartition(self._topic, number, writer.next_offset))
            except KafkaException as error:
                self._stop_partition(
                    number, f"partition {number}: seek to {writer.next_offset} failed: {reason_of(error)}"
                )
        self._follow_state(self._writers.keys())
        self._log.info("resumed")

    # --- reports --------------------------------------------------------------

    def _log_statistics(self, all_landed: bool, stopped: dict[int, str]) -> None:
        total = self._metrics.total
        self._log.info(
            "stopped", everything_landed=all_landed, messages=total.messages, rejected=dict(self._rejects),
            batches=total.batches, upload_errors=total.errors, seconds=round(total.seconds, 1),
            messages_per_second=round(total.messages / max(total.seconds, 0.001), 1), stopped_partitions=stopped,
            not_landed=self._left,
        )  # fmt: skip

    def _log_progress(self, now: float) -> None:
        total = self._metrics.total
        seconds = now - self._last_progress
        self._log.info(
            "progress", messages=total.messages, batches=total.batches, rejected=total.rejected,
            upload_errors=total.errors,
            messages_per_second=round((total.messages - self._progress_count) / seconds, 1),
            buffered_bytes=sum(writer.buffered for writer in self._writers.values()),
            partitions={number: writer.durable for number, writer in sorted(self._writers.items())},
            paused=self._pressure.paused,
        )  # fmt: skip
        self._last_progress, self._progress_count = now, total.messages

    def _on_error(self, error: KafkaError) -> None:
        """Keep a connection's error, which may be over already; librdkafka calls this method from `consume`."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # the error before this one says more
            self._last_connection_error = reason_of(error)

    def _on_statistics(self, statistics: str) -> None:
        """Read the state of the connection to the group; librdkafka calls this method from `consume`."""
        state = json.loads(statistics)["cgrp"]["state"]
        if state == "up":
            self._disconnected.end()
            self._last_connection_error = ""
        else:
            self._disconnected.begin(f"Kafka does not answer ({state}): {self._last_connection_error}")

    def health(self) -> ProcessHealth:
        """State for /healthz; the health server's threads call it."""
        problems = list(self._stops.reasons.values())
        if self._topic_is_gone:
            problems.append(self._gone)
        else:
            problems += self._unassigned.problems()
        uncommitted = [problem for pending in self._uncommitted.copy().values() for problem in pending.problems()]
        problems += self._token.problems() if self._token else []
        problems += self._disconnected.problems() + self._placement.problems() + uncommitted[:1]
        problems += [_read_problem(number, error.text) for number, error in sorted(self._read_errors.copy().items())]
        problems += self._progress.problems(self._clock())
        if self._commit_check is not None:
            problems += self._commit_check.problems()
        failing = self._sink.failing_since
        if failing is not None:
            problems.append(f"S3 has failed for {self._clock() - failing:.0f} s: {self._sink.last_error}")
        if self._pressure.paused:
            problems.append("reading is paused until S3 keeps up")
        silence = self._watchdog.silence
        live = silence < LIVE_SECONDS
        details = {
            "seconds_since_poll": round(silence, 1),
            "partitions": sorted(self._writers),
            "partitions_waiting": sorted(self._placement.waiting),
            "partitions_stopped": sorted(self._stops.reasons),
        }
        return ProcessHealth(live, live and not problems, problems, details)


def _read_problem(partition: int, error: str) -> str:
    """A partition's error, which librdkafka reported when it began."""
    name = "the topic" if partition == WHOLE_TOPIC else f"partition {partition}"
    return f"{name} delivers nothing since Kafka reported: {error}"
