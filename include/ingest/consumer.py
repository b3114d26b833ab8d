"""The landing consumer: Kafka in, create-only objects out, then commits.

One loop in one thread talks to Kafka; the sink's threads carry out PUTs. `PartitionWriter` alone decides what may be
written or committed. This module writes and commits it, bounds memory, and reacts to rebalances, signals and faults.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from queue import Empty
from threading import Event
from time import monotonic, sleep
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from include.ingest import quote, runs
from include.ingest.commits import commit_now, position
from include.ingest.health import Pending, ProcessHealth
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Created, Limits, PartitionWriter, ProtocolError, Reason, Step
from include.ingest.placement import Placement
from include.ingest.pressure import Decision, Pressure
from include.ingest.reading import ReadSize
from include.ingest.rejects import classes_of, message_row
from include.ingest.runs import ConsecutiveMessages
from include.ingest.sink import Outcome, Sink
from include.ingest.starting_offset import WINDOW_CELLS_A_PUT
from include.ingest.topic import TopicError
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
LIVE_SECONDS = 300
"""After this silence of the loop /healthz/live fails: it is librdkafka's max.poll.interval.ms."""

ASSIGNMENT_DIFFERS = "assigned partitions and partition writers differ, joining again"

EXIT_CLEAN = 0
EXIT_REFUSED = 2
EXIT_UNLANDED = 3


class RefusedError(RuntimeError):
    """The consumer must not run like this; the text names the setting or object, its value and the remedy."""


class Consumer:
    """One process of the group. `run` returns the exit status."""

    def __init__(
        self, kafka: KafkaSettings, settings: ConsumerSettings, connect: Callable[[dict[str, Any]], KafkaConsumer],
        placement: Placement, sink: Sink, codec: Codec, metrics: ConsumerMetrics, watchdog: Watchdog,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        """`connect` makes a client with callbacks; `placement` is open already; `clock` is monotonic, in seconds."""
        self._topic, self._group = kafka.topic, kafka.group
        self._settings = settings
        self._connect = connect
        self._placement = placement
        self._sink = sink
        self._codec = codec
        self._metrics = metrics
        self._clock = clock
        self._watchdog = watchdog
        self._log = logger("consumer")
        self._limits = Limits(
            records=settings.batch_records, size_bytes=settings.batch_bytes, age_seconds=settings.batch_age_seconds,
            window_cells=WINDOW_CELLS_A_PUT * settings.parallel_puts,
            in_flight=QUEUED_A_THREAD * settings.parallel_puts,
        )  # fmt: skip
        self._pressure = Pressure(settings.max_buffer_bytes)
        self._read_size = ReadSize(settings.max_buffer_bytes)
        self._writers: dict[int, PartitionWriter] = {}
        self._stopped: dict[int, str] = {}
        self._assignment = 0
        self._refused: Exception | None = None
        self._terminating = Event()
        self._last_commit = 0.0
        self._last_progress = clock()
        self._progress_count = 0
        self._unassigned = Pending(clock)
        self._unassigned.begin("no assignment from the group yet", grace=0.0)
        self._uncommitted = Pending(clock)
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
            all_landed = self._flush(self._writers.values(), "shutdown", self._settings.shutdown_grace_seconds)
            self._commit(self._writers.values(), wait=True)
            self._raise_refusal()
        finally:
            stopped = dict(self._stopped)  # `_forget` clears them when the client leaves the group
            self._forget(list(self._writers))
            self._placement.close()
            self._kafka.close()
            self._sink.close()
            self._log_statistics(all_landed, stopped)
        return EXIT_CLEAN if all_landed and not stopped else EXIT_UNLANDED

    def _join(self) -> None:
        """Join the group with a new client."""
        callbacks = {"on_commit": self._on_commit, "error_cb": self._on_error, "stats_cb": self._on_statistics}
        self._kafka = self._connect(callbacks)
        self._kafka.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        self._watchdog.restart()

    def _turn(self) -> None:
        """One round: answers, PUTs, commits, then records."""
        now = self._clock()
        for writer in self._writers.values():
            writer.close_old(now)
        self._collect()
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
        self._forget([*self._writers, *self._placement.waiting, *self._stopped])
        self._unassigned.begin("no assignment from the group since joining again")
        self._kafka.close()
        self._join()

    def _check_assignment(self) -> None:
        """Join again if librdkafka's assignment and our partitions differ.

        Records of a partition without a writer are thrown away, and no other check would notice that.
        """
        assigned = {place.partition for place in self._kafka.assignment()}
        writers = self._writers.keys()
        if not writers <= assigned <= writers | self._placement.waiting.keys() | self._stopped.keys():
            self._log.error(ASSIGNMENT_DIFFERS, assigned=sorted(assigned), writers=sorted(writers))
            self._join_again()

    def _take(self, messages: list[Message]) -> None:
        """Validate and feed a chunk of messages."""
        now, count, size = self._clock(), len(messages), 0
        if runs.has_errors(messages):
            for message in messages:
                self._kafka_error(message)
            messages = [message for message in messages if message.error() is None]
        for consecutive in runs.cut(messages):
            writer = self._writers.get(consecutive.partition)
            if writer is None:
                continue
            before = writer.buffered
            try:
                self._feed(writer, consecutive, now)
            except ProtocolError as error:
                self._stop_partition(writer.partition, str(error))
            size += writer.buffered - before
        self._read_size.took(count, size)

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

    def _kafka_error(self, message: Message) -> None:
        """An offset error stops the partition (rule 10), a fatal error the consumer. Otherwise librdkafka retries."""
        error = message.error()
        if error is None:
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION):
            number = message.partition()
            partition = -1 if number is None else number
            self._placement.contract_is_fresh = False  # the topic may have been deleted and created again
            self._stop_partition(
                partition,
                f"partition {partition}: {error.str()}. Records were deleted before they were landed, or the log "
                "was truncated. If the consumer does not end as refused now, see what is missing and go on: "
                f"python -m include.ingest adopt --partition {partition}",
            )
        elif error.fatal():
            self._refused = KafkaException(error)
        else:
            self._log.warning("Kafka reports", error=reason_of(error), code=error.name())

    def _stop_partition(self, partition: int, reason: str) -> None:
        """Land nothing more of a partition until an operator acts or the group moves it. The other partitions go on."""
        self._log.error("partition stopped", partition=partition, reason=reason)
        self._forget([partition])
        self._stopped[partition] = reason
        self._metrics.stopped.set(len(self._stopped))
        self._kafka.pause([TopicPartition(self._topic, partition)])

    # --- PUTs -----------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start every PUT that may start."""
        if not self._placement.contract_is_fresh:
            return
        for writer in self._writers.values():
            for put in writer.puts():
                self._sink.submit(put)
            self._count(writer)

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
            commit = writer.commit()
            if commit is not None:
                offsets.append(position(self._placement.contract, writer.partition, commit.offset, commit.epoch))
        if not offsets:
            return
        try:
            if wait:
                commit_now(self._kafka, offsets)
            else:
                self._kafka.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._uncommitted.begin(f"Kafka does not take commits: {reason_of(error)}")
            self._log.warning("commit failed, landed ranges will be found again", error=reason_of(error))
            for writer in writers:
                writer.commit_failed()

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The outcome of a commit; librdkafka calls this method from `consume`."""
        failed = False
        for partition in partitions:
            failure = error or partition.error
            if failure is not None:
                failed = True
                self._uncommitted.begin(f"Kafka does not take commits: {reason_of(failure)}")
                self._log.warning("commit failed", partition=partition.partition, error=reason_of(failure))
                writer = self._writers.get(partition.partition)
                if writer is not None:
                    writer.commit_failed()
        if not failed:
            self._uncommitted.end()

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
        unread = starts if self._pressure.paused else [start for start in starts if start.partition in waiting]
        if unread:
            kafka.pause(unread)
        self._unassigned.end()
        self._uncommitted.end()
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
            if not self._pressure.paused:
                self._kafka.resume([TopicPartition(start.topic, start.partition)])
        for partition, reason in stopped.items():
            self._stop_partition(partition, reason)
        self._metrics.partitions.set(len(self._writers))

    def _open_writer(self, start: TopicPartition) -> None:
        contract, partition = self._placement.contract, start.partition
        self._writers[partition] = PartitionWriter(
            contract.topic_id, partition, self._assignment, start.offset, contract.cells_of(partition), self._limits,
            self._codec, self._codec.prefix(self._topic, partition),
        )  # fmt: skip

    def _revoked(self, _kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Land the records in memory within the time allowed, commit, and forget the partitions (rule 11)."""
        numbers = [place.partition for place in partitions]
        writers = [self._writers[number] for number in numbers if number in self._writers]
        flushed = self._flush(writers, "revoked", self._settings.revoke_flush_seconds)
        self._commit(writers, wait=True)
        self._forget(numbers)
        if not (self._writers or self._placement.waiting or self._stopped):
            self._unassigned.begin("no assignment from the group since all partitions were revoked")
        self._log.info("revoked", partitions=numbers, flushed=flushed)

    def _lost(self, _kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """The group has moved on without us: nothing may be committed (rule 11)."""
        numbers = [place.partition for place in partitions]
        self._forget(numbers)
        self._unassigned.begin("no assignment from the group since it took this consumer for dead")
        self._log.warning("lost", partitions=numbers)

    def _forget(self, partitions: list[int]) -> None:
        """Drop the state of partitions. S3's answers that still come for them are ignored."""
        for number in partitions:
            self._placement.forget(number)
            self._stopped.pop(number, None)
            writer = self._writers.pop(number, None)
            if writer is not None:
                writer.sealed = True
                self._sink.abandon(number, writer.assignment)
        self._metrics.partitions.set(len(self._writers))
        self._metrics.stopped.set(len(self._stopped))

    def _flush(self, writers: Collection[PartitionWriter], reason: Reason, seconds: float) -> bool:
        """Seal writers and wait at most `seconds` until all are flushed. Returns whether all are flushed."""
        deadline = self._clock() + seconds
        for writer in writers:
            writer.seal(reason)
        while True:
            self._collect()
            writers = [writer for writer in writers if self._writers.get(writer.partition) is writer]
            if all(writer.flushed for writer in writers):
                return True
            remaining = deadline - self._clock()
            if remaining <= 0 or self._refused is not None:
                return False
            if not self._placement.contract_is_fresh and remaining > seconds / 2:  # Kafka may take long to answer
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
        self._kafka.pause([TopicPartition(self._topic, number) for number in self._writers])
        self._log.warning("paused: S3 does not keep up", last_error=self._sink.last_error)

    def _resume(self) -> None:
        """Read on exactly at each writer's position: librdkafka may have dropped fetched records at the pause."""
        self._metrics.paused.set(0)
        for number, writer in list(self._writers.items()):
            try:
                self._kafka.seek(TopicPartition(self._topic, number, writer.position))
            except KafkaException as error:
                self._stop_partition(
                    number, f"partition {number}: seek to {writer.position} failed: {reason_of(error)}"
                )
                continue
            self._kafka.resume([TopicPartition(self._topic, number)])
        self._log.info("resumed")

    # --- reports --------------------------------------------------------------

    def _log_statistics(self, all_landed: bool, stopped: dict[int, str]) -> None:
        total = self._metrics.total
        self._log.info(
            "stopped", everything_landed=all_landed, messages=total.messages, rejected=dict(self._rejects),
            batches=total.batches, upload_errors=total.errors, seconds=round(total.seconds, 1),
            messages_per_second=round(total.messages / max(total.seconds, 0.001), 1), stopped_partitions=stopped,
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
        problems = list(self._stopped.values())
        for pending in (self._unassigned, self._disconnected, self._placement, self._uncommitted):
            problems += pending.problems()
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
            "partitions_stopped": sorted(self._stopped),
        }
        return ProcessHealth(live, live and not problems, problems, details)
