"""Operations on a stopped consumer group: reset offsets (`adopt`), change the cell size.

Both show what they would do first. Both refuse while the group has members. A stalled consumer (SIGSTOP, a frozen
machine) is not a member any more but can continue later, so end every consumer process first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import obstore
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, TopicPartition
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import S3Store

from include.ingest import topic
from include.ingest.adoption import LandedRange, OperationError, Plan, decide, is_landed, missing_ranges
from include.ingest.background import Task
from include.ingest.commits import commit_now, position, read_commits
from include.ingest.listing import ADOPT, list_objects, read_metadata, skipped_ranges
from include.ingest.logs import LIBRDKAFKA
from include.ingest.reading import queue_config
from include.ingest.starting_offset import (
    MAX_WINDOW_CELLS,
    OffsetRange,
    complete_to,
    is_ours,
    records_end,
    still_skipped,
)
from include.ingest.store import StoredContract, read_contract, replace_contract
from include.landing.codec import CODECS, Codec
from include.landing.contract import Contract, ContractError
from include.landing.dead_letter import gap
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata
from include.reasons import reason_of
from include.settings import ConsumerSettings, Settings

SECONDS = 15.0
COMMIT_SECONDS = 60.0
"""Time limit of a commit. librdkafka has none, and asks again for as long as Kafka is silent."""


def require_stopped(admin: topic.Admin, group: str) -> None:
    """Refuse while the group has members.

    Raises:
        OperationError: the group has members, or Kafka does not say whether it has.
        UnreachableError: Kafka does not answer.
    """
    try:
        description = admin.describe_consumer_groups([group], request_timeout=SECONDS)[group].result()
    except KafkaException as error:
        if error.args[0].code() < 0:  # librdkafka's own code: no broker has answered
            raise admin.unreachable(error) from error
        raise OperationError(f"Kafka does not say whether group {group!r} has members: {reason_of(error)}") from error
    if description.members:
        raise OperationError(f"group {group!r} has {len(description.members)} members: stop every consumer first")


def require_contract(store: S3Store, settings: Settings) -> StoredContract:
    """The prefix's contract.

    Raises:
        OperationError: the prefix has no contract.
    """
    stored = read_contract(store, settings.storage.data_prefix)
    if stored is None:
        raise OperationError(f"no contract object under {settings.storage.data_prefix}: start a consumer once first")
    return stored


def require_topic(contract: Contract, facts: topic.TopicFacts) -> None:
    """Refuse a topic that is not the contract's: its offsets mean nothing under this prefix.

    Only the topic is compared. A consumer's choices (suffix, isolation level, cell size) are taken from the contract.

    Raises:
        OperationError: topic, topic id or cluster differ; the text names both values.
    """
    configured = replace(contract, topic=facts.topic, topic_id=facts.topic_id, cluster_id=facts.cluster_id)
    try:
        contract.check(configured)
    except ContractError as error:
        raise OperationError(
            f"KAFKA_TOPIC={facts.topic} at KAFKA_BOOTSTRAP_SERVERS is not the topic of this prefix: {error}"
        ) from error


def require_size(size: int, present: int) -> None:
    """Refuse a cell size that CONSUMER_BATCH_RECORDS cannot have, or that is in force already.

    Raises:
        OperationError: the text names the value and the limits.
    """
    limits = ConsumerSettings.model_json_schema()["properties"]["batch_records"]
    smallest, largest = limits["minimum"], limits["maximum"]
    if not smallest <= size <= largest:
        raise OperationError(
            f"cell size {size} is not allowed: CONSUMER_BATCH_RECORDS, which it limits, is {smallest} to {largest}"
        )
    if size == present:
        raise OperationError(f"the cell size is {size} already: there is nothing to change")


class Operator:
    """Reads Kafka and S3 for plans, and carries them out."""

    def __init__(self, settings: Settings, store: S3Store) -> None:
        """Check the group, the contract and the topic before anything is planned.

        Raises:
            OperationError: the group has members, or the prefix has no contract or that of another topic.
            ContractError: the contract object is not readable, or has other prefixes.
            TopicError: the topic does not exist, or Kafka does not answer.
        """
        self._storage = settings.storage
        self._topic = settings.kafka.topic
        self._store = store
        config = settings.kafka.client_config() | {"logger": LIBRDKAFKA}
        admin = topic.Admin(config)
        require_stopped(admin, settings.kafka.group)
        self._stored = require_contract(store, settings)
        self.contract.check_prefixes(settings.storage)
        require_topic(self.contract, topic.describe(admin, self._topic))
        bounds = queue_config(settings.consumer.max_buffer_bytes)
        self._kafka = KafkaConsumer(bounds | config | {"group.id": settings.kafka.group, "enable.auto.commit": False})

    @property
    def contract(self) -> Contract:
        """The contract in force."""
        return self._stored.contract

    @property
    def _codec(self) -> Codec:
        return CODECS[self.contract.suffix]

    def partitions(self) -> list[int]:
        """The topic's partitions."""
        return sorted(self._kafka.list_topics(self._topic, timeout=SECONDS).topics[self._topic].partitions)

    def chosen(self, wanted: list[int] | None) -> list[int]:
        """The wanted partitions, each once; without a choice all of the topic.

        Raises:
            OperationError: the topic does not have a wanted partition.
        """
        present = self.partitions()
        for number in wanted or ():
            if number not in present:
                raise OperationError(
                    f"partition {number} is not in topic {self._topic!r}, which has the partitions {present[0]} to "
                    f"{present[-1]}: give --partition one of them"
                )
        return sorted(set(wanted)) if wanted else present

    def plan(self, partition: int, offset: int | None = None) -> Plan:
        """Look at a partition and decide where it goes on; nothing changes.

        Raises:
            OperationError: see `decide`.
            KafkaException: Kafka does not answer.
        """
        place = TopicPartition(self._topic, partition)
        (commit,) = read_commits(self._kafka, [place], SECONDS)
        ours = commit.offset >= 0 and is_ours(commit.metadata, self.contract.topic_id)
        low, high = self._kafka.get_watermark_offsets(place, timeout=SECONDS)
        begin, landed = self._landed(partition, commit.offset if ours else None, low)
        if ours and not is_landed(commit.offset, records_end(commit.metadata, self.contract.topic_id), landed):
            ours = False
            begin, landed = self._landed(partition, None, low)
        return decide(
            partition,
            committed=commit.offset,
            is_ours=ours,
            log=(low, high),
            begin=begin,
            landed=landed,
            cells=self.contract.cells_of(partition),
            offset=offset,
        )

    def _landed(self, partition: int, begin: int | None, low: int) -> tuple[int | None, list[LandedRange]]:
        """An offset before which all offsets are accounted for, and the accounted ranges from there on."""
        dead_letters = dict(self._keys(self._storage.dead_letter_prefix, "dead_letter", partition))
        data = dict(self._keys(self._storage.data_prefix, "crypto_data", partition))
        without_data = [path for first, path in dead_letters.items() if first not in data]
        skipped = still_skipped(skipped_ranges(self._store, self.contract.topic_id, without_data), data)
        if begin is None and (data or skipped):
            begin = complete_to(data.keys(), skipped, self.contract.cells_of(partition), low, MAX_WINDOW_CELLS)
        firsts = sorted(data)
        nearest = max(0, bisect_right(firsts, begin or 0) - 1)
        landed = [self._read(first, data[first]) for first in firsts[nearest:]]
        landed += [LandedRange(first, first, last, skipped=True) for first, last in skipped]
        return begin, sorted(landed, key=lambda part: part.first)

    def _keys(self, prefix: str, kind: Kind, partition: int) -> Iterator[tuple[int, str]]:
        for page in list_objects(self._store, prefix, kind):
            yield from ((key.first_offset, path) for key, path in page if key.partition == partition)

    def _read(self, first: int, path: str) -> LandedRange:
        """The offsets that the data object at `path` accounts for."""
        metadata = read_metadata(self._store, path)
        last = metadata.last_offset
        if not metadata.rejected:
            return LandedRange(metadata.begin, first, last)
        dead_letters = path.replace(self._storage.data_prefix, self._storage.dead_letter_prefix, 1)
        dead_letters = dead_letters.replace("/crypto_data_", "/dead_letter_")
        try:
            return LandedRange(min({metadata.begin} | self._offsets(dead_letters)), first, last)
        except (NotFoundError, FileNotFoundError):
            missing = missing_ranges(self._offsets(path), first, last)
            return LandedRange(metadata.begin, first, last, missing, dead_letters)

    def _offsets(self, path: str) -> set[int]:
        """The offsets of an object's rows."""
        content = bytes(obstore.get(self._store, path).bytes())
        return {int(row["_offset"]) for row in self._codec.decode(content)}

    def carry_out(self, plan: Plan) -> None:
        """Write the gap rows of the skipped offsets, then commit with our metadata.

        The call may be repeated: each object of gap rows is created once.
        """
        if plan.skipped:
            time = self._time_at(plan)
            prefix, suffix = self._storage.dead_letter_prefix, self.contract.suffix
            for hole in plan.holes:
                key = object_key(prefix, "dead_letter", plan.partition, hole[0], time, suffix)
                self._write_gaps(key, plan.partition, hole, (hole,), time)
            for part in plan.incomplete:
                self._write_gaps(part.dead_letters, plan.partition, (part.first, part.last), part.missing, time)
        if plan.target != plan.committed or not plan.committed_is_ours:
            self._commit(position(self.contract, plan.partition, plan.target, None))

    def _commit(self, place: TopicPartition) -> None:
        """Commit one partition, in a thread that the process need not wait for.

        Raises:
            OperationError: Kafka did not answer in time.
        """
        task = Task("commit", partial(commit_now, self._kafka, [place]))
        if not task.done(COMMIT_SECONDS):
            raise OperationError(
                f"partition {place.partition}: Kafka did not answer the commit of {place.offset} within "
                f"{COMMIT_SECONDS:.0f} s. See that its brokers run, then run the same command again"
            )
        task.result()

    def _time_at(self, plan: Plan) -> int:
        """Kafka's time (ms) of the record at the target; the present time if there is no such record yet.

        Gap rows that are written again therefore get the same key, and the warehouse still looks for files of their
        day.
        """
        if plan.target < plan.log_end:
            self._kafka.assign([TopicPartition(self._topic, plan.partition, plan.target)])
            message = self._kafka.poll(SECONDS)
            self._kafka.unassign()
            if message is not None and message.error() is None:
                return int(message.timestamp()[1])
        return int(datetime.now(UTC).timestamp() * 1000)

    def _write_gaps(
        self, key: str, partition: int, whole: OffsetRange, gaps: tuple[OffsetRange, ...], time: int
    ) -> None:
        """Create the object of gap rows for `whole`, with a row for each of `gaps`."""
        contract = self.contract
        rows = [
            gap(contract.topic, partition, first, last, time, "given up by an operator (adopt)").to_line()
            for first, last in gaps
        ]
        metadata = ObjectMetadata(contract.topic, contract.topic_id, partition, *whole, 0, len(rows), ADOPT)
        try:
            obstore.put(
                self._store, key, self._codec.encode(rows), mode="create",
                attributes=metadata.to_attributes() | {"Content-Type": self._codec.content_type},
                use_multipart=False,
            )  # fmt: skip
        except AlreadyExistsError as error:
            # After a 409 the other write may not have landed yet. This read then raises NotFoundError: adopt again.
            if read_metadata(self._store, key).writer != ADOPT:
                raise OperationError(
                    f"{key} exists already and does not say what is skipped: a consumer wrote it, and its data object "
                    "is gone; restore the data object or move this object out of the prefix, then adopt again"
                ) from error

    def resize(self, size: int) -> Contract:
        """Write a contract with cells of `size` from the present log ends on (rule 12); returns it.

        Raises:
            OperationError: see `require_size`.
            obstore.exceptions.PreconditionError: another program changed the contract meanwhile.
        """
        require_size(size, self.contract.cell_size)
        ends = {
            number: self._kafka.get_watermark_offsets(TopicPartition(self._topic, number), timeout=SECONDS)[1]
            for number in self.partitions()
        }
        new = self.contract.resized(size, ends)
        replace_contract(self._store, self._storage.data_prefix, self._stored, new)
        return new

    def close(self) -> None:
        """Leave Kafka, or give up if it is silent."""
        Task("leave", self._kafka.close).done(SECONDS)
