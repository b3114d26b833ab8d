"""What an operator does with the group stopped: adopt a position, change the cell size.

Both first make a plan that can be read, and carry it out only when told to. Both refuse
while the group has members. A consumer that is stalled (SIGSTOP, a frozen machine) is no
member any more but may wake up: end every consumer process first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

import obstore
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, TopicPartition
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import S3Store

from include.ingest import topic
from include.ingest.commits import commit_now, position, read_commits
from include.ingest.listing import ADOPT, list_objects, read_metadata, skipped_ranges
from include.ingest.logs import LIBRDKAFKA
from include.ingest.starting_offset import MAX_WINDOW_CELLS, OffsetRange, commit_metadata, complete_to, still_skipped
from include.ingest.store import StoredContract, read_contract, replace_contract
from include.landing.cells import Cells
from include.landing.codec import CODECS, Codec
from include.landing.contract import Contract, ContractError
from include.landing.dead_letter import gap
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata
from include.settings import ConsumerSettings, Settings

SECONDS = 15.0


class OperationError(RuntimeError):
    """The operation must not be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class Landed:
    """What is accounted for: a data object's range, or a stretch given up earlier. All offsets are inclusive.

    `begin` lies before `first`, the first record, if the object's dead letters name a hole there. `lacks` are offsets
    in it that no row holds because its dead letters are missing; they belong at `letters`.
    """

    begin: int
    first: int
    last: int
    lacks: tuple[OffsetRange, ...] = ()
    letters: str = ""
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopting means for a partition: commit `target`; the `holes` are given up.

    `incomplete` are objects before the target whose dead letters are missing: what they lack is given up too.
    """

    partition: int
    committed: int
    committed_is_ours: bool
    log_start: int
    log_end: int
    landed_to: int | None
    target: int
    holes: tuple[OffsetRange, ...] = ()
    incomplete: tuple[Landed, ...] = ()

    @property
    def given_up(self) -> list[OffsetRange]:
        """All that is given up, in order."""
        return sorted([*self.holes, *(stretch for found in self.incomplete for stretch in found.lacks)])


def require_stopped(admin: topic.Admin, group: str) -> None:
    """Refuse while the group has members.

    Raises:
        OperationError: it has, or Kafka cannot tell.
        UnreachableError: Kafka does not answer.
    """
    try:
        described = admin.describe_consumer_groups([group], request_timeout=SECONDS)[group].result()
    except KafkaException as error:
        if error.args[0].code() < 0:  # librdkafka's own: no broker has answered
            raise admin.unreachable(error) from error
        raise OperationError(f"Kafka does not tell whether group {group!r} has members: {error}") from error
    if described.members:
        raise OperationError(f"group {group!r} has {len(described.members)} members: stop every consumer first")


def require_contract(store: S3Store, settings: Settings) -> StoredContract:
    """The prefix's contract.

    Raises:
        OperationError: there is none.
    """
    stored = read_contract(store, settings.storage.data_prefix)
    if stored is None:
        raise OperationError(f"no contract object under {settings.storage.data_prefix}: start a consumer once first")
    return stored


def require_topic(contract: Contract, facts: topic.TopicFacts) -> None:
    """Refuse a topic that is not the contract's: its offsets mean nothing under this prefix.

    What a consumer chooses (suffix, isolation level, cell size) is the contract's own here.

    Raises:
        OperationError: topic, topic id or cluster differ; names both values.
    """
    pointed_at = replace(contract, topic=facts.topic, topic_id=facts.topic_id, cluster_id=facts.cluster_id)
    try:
        contract.check(pointed_at)
    except ContractError as error:
        raise OperationError(
            f"KAFKA_TOPIC={facts.topic} at KAFKA_BOOTSTRAP_SERVERS is not the topic of this prefix: {error}"
        ) from error


def require_size(size: int, present: int) -> None:
    """Refuse a cell size that no CONSUMER_BATCH_RECORDS may have, or that is in force already.

    Raises:
        OperationError: names the value and what is allowed.
    """
    allowed = ConsumerSettings.model_json_schema()["properties"]["batch_records"]
    smallest, largest = allowed["minimum"], allowed["maximum"]
    if not smallest <= size <= largest:
        raise OperationError(
            f"cell size {size} is not allowed: CONSUMER_BATCH_RECORDS, which it limits, is {smallest} to {largest}"
        )
    if size == present:
        raise OperationError(f"the cell size is {size} already: there is nothing to change")


# --- adopt --------------------------------------------------------------------


def decide(
    partition: int,
    *,
    committed: int,
    ours: bool,
    log: tuple[int, int],
    begin: int | None,
    landed: list[Landed],
    cells: Cells,
    offset: int | None,
) -> Plan:
    """Where the partition goes on. Pure; `log` is (log start, high watermark), the rest as of `landed_to`.

    Raises:
        OperationError: the wanted offset would land something twice, lies outside the log, or dead letters that can
            still be read would be given up without having been asked for.
    """
    low, high = log
    done = landed_to(landed, begin)
    wanted = offset if offset is not None else max(done if done is not None else max(committed, low), low)
    if not low <= wanted <= high:
        raise OperationError(f"partition {partition}: offset {wanted} is outside the log ({low} to {high})")
    if done is not None and wanted < done:
        raise OperationError(
            f"partition {partition}: offset {wanted} is landed already (up to {done}): going back would land "
            f"records twice; the smallest offset allowed is {done}"
        )
    target = wanted if ours and wanted == done else _clear_of(wanted, landed, cells)
    if done is None:
        return Plan(partition, committed, ours, low, high, done, target)
    incomplete = tuple(found for found in landed if found.lacks and done <= found.last < target)
    if offset is None and any(found.last >= low for found in incomplete):
        first = next(found for found in incomplete if found.last >= low)
        raise OperationError(
            f"partition {partition}: the dead letters of the object of offsets {first.first} to {first.last} are "
            f"missing and it cannot be landed again from {low} on: save what Kafka still holds of the records that are "
            f"not in it, then give them up with --partition {partition} --offset {target}"
        )
    return Plan(partition, committed, ours, low, high, done, target, _holes(landed, done, target), incomplete)


def landed_to(landed: list[Landed], begin: int | None) -> int | None:
    """First offset that is not accounted for without a hole, None when nothing is landed.

    `landed` is sorted; everything before `begin` is accounted for.
    """
    position = begin
    for found in landed:
        if position is None or found.last < position:
            continue
        if found.begin > position or found.lacks:
            break
        position = found.last + 1
    return position


def _clear_of(target: int, landed: list[Landed], cells: Cells) -> int:
    """The first offset from `target` on at which a writer may begin without landing anything twice.

    Not inside what is there; nor before an object that it would meet half-way, since its cell begins with offsets
    that nothing accounts for.
    """
    end = 0
    for found in landed:
        if found.last >= target:
            free = max(end, target, cells.bounds(found.first)[0])
            if found.given_up:
                target = found.last + 1 if found.begin <= target else target
            elif found.first < target:
                target = found.last + 1
            elif free < found.begin:
                target = found.first
        end = max(end, found.last + 1)
    return target


def _holes(landed: list[Landed], done: int, target: int) -> tuple[OffsetRange, ...]:
    """The stretches between `done` and `target` that nothing accounts for."""
    holes = []
    for found in landed:
        if found.last >= done and done < target:
            if found.begin > done:
                holes.append((done, min(found.begin, target) - 1))
            done = found.last + 1
    if done < target:
        holes.append((done, target - 1))
    return tuple(holes)


def _without(there: set[int], first: int, last: int) -> tuple[OffsetRange, ...]:
    """The stretches of `first` to `last` that are not in `there`."""
    edges = sorted({first - 1, last + 1} | {offset for offset in there if first <= offset <= last})
    return tuple((before + 1, after - 1) for before, after in pairwise(edges) if after - before > 1)


class Operator:
    """Reads Kafka and S3 for plans and carries them out."""

    def __init__(self, settings: Settings, store: S3Store) -> None:
        """Look at the group, the contract and the topic before anything is planned.

        Raises:
            OperationError: the group has members, there is no contract, or it is another topic's.
            ContractError: the contract object is not readable.
            TopicError: the topic is not there, or Kafka does not answer.
        """
        self._settings = settings
        self._store = store
        config = settings.kafka.client_config() | {"logger": LIBRDKAFKA}
        admin = topic.Admin(config)
        require_stopped(admin, settings.kafka.group)
        self._stored = require_contract(store, settings)
        require_topic(self.contract, topic.describe(admin, settings.kafka.topic))
        self._kafka = KafkaConsumer(config | {"group.id": settings.kafka.group, "enable.auto.commit": False})

    @property
    def contract(self) -> Contract:
        """The contract in force."""
        return self._stored.contract

    @property
    def _codec(self) -> Codec:
        return CODECS[self.contract.suffix]

    def partitions(self) -> list[int]:
        """The topic's partitions."""
        name = self._settings.kafka.topic
        return sorted(self._kafka.list_topics(name, timeout=SECONDS).topics[name].partitions)

    def plan(self, partition: int, offset: int | None = None) -> Plan:
        """What adopting would do.

        Raises:
            OperationError: see `decide`.
            KafkaException: Kafka does not answer.
        """
        at = TopicPartition(self._settings.kafka.topic, partition)
        (found,) = read_commits(self._kafka, [at], SECONDS)
        ours = found.offset >= 0 and found.metadata == commit_metadata(self.contract.topic_id)
        low, high = self._kafka.get_watermark_offsets(at, timeout=SECONDS)
        begin, landed = self._landed(partition, found.offset if ours else None, low)
        return decide(
            partition,
            committed=found.offset,
            ours=ours,
            log=(low, high),
            begin=begin,
            landed=landed,
            cells=self.contract.cells_of(partition),
            offset=offset,
        )

    def _landed(self, partition: int, begin: int | None, low: int) -> tuple[int | None, list[Landed]]:
        """Where what is not accounted for may begin, and what is accounted for from there on."""
        storage = self._settings.storage
        letters = dict(self._keys(storage.dead_letter_prefix, "dead_letter", partition))
        data = dict(self._keys(storage.data_prefix, "crypto_data", partition))
        alone = skipped_ranges(
            self._store, self.contract.topic_id, [path for first, path in letters.items() if first not in data]
        )
        gone = still_skipped(alone, data)
        if begin is None and (data or gone):
            begin = complete_to(data.keys(), gone, self.contract.cells_of(partition), low, MAX_WINDOW_CELLS)
        firsts = sorted(data)
        near = firsts[max(0, bisect_right(firsts, begin or 0) - 1) :]
        landed = [self._read(first, data[first]) for first in near]
        landed += [Landed(first, first, last, given_up=True) for first, last in gone]
        return begin, sorted(landed, key=lambda one: one.first)

    def _keys(self, prefix: str, kind: Kind, partition: int) -> Iterator[tuple[int, str]]:
        for page in list_objects(self._store, prefix, kind):
            yield from ((key.first_offset, path) for key, path in page if key.partition == partition)

    def _read(self, first: int, path: str) -> Landed:
        metadata = read_metadata(self._store, path)
        last = metadata.last_offset
        if not metadata.rejected:
            return Landed(first, first, last)
        storage, codec = self._settings.storage, self._codec
        letters = path.replace(storage.data_prefix, storage.dead_letter_prefix, 1)
        letters = letters.replace("/crypto_data_", "/dead_letter_")
        try:
            rows = codec.decode(bytes(obstore.get(self._store, letters).bytes()))
        except (NotFoundError, FileNotFoundError):
            there = {int(row["_offset"]) for row in codec.decode(bytes(obstore.get(self._store, path).bytes()))}
            return Landed(first, first, last, _without(there, first, last), letters)
        return Landed(min([first, *(int(row["_offset"]) for row in rows)]), first, last)

    def carry_out(self, plan: Plan) -> None:
        """Write the gap rows of what is given up, then commit with our mark. May be repeated: rows are created once."""
        if plan.given_up:
            time = self._time_at(plan.partition, plan.target, plan.log_end)
            contract = self.contract
            for hole in plan.holes:
                key = object_key(
                    self._settings.storage.dead_letter_prefix, "dead_letter", plan.partition, hole[0], time,
                    contract.suffix,
                )  # fmt: skip
                self._write_gaps(key, plan.partition, hole, (hole,), time)
            for found in plan.incomplete:
                self._write_gaps(found.letters, plan.partition, (found.first, found.last), found.lacks, time)
        commit_now(self._kafka, [position(self.contract, plan.partition, plan.target, None)])

    def _time_at(self, partition: int, target: int, log_end: int) -> int:
        """Kafka's time (ms) of the record where the partition goes on, now if there is none yet.

        So a stretch has the same key when it is written again, and a day on which the warehouse still looks for files.
        """
        if target < log_end:
            self._kafka.assign([TopicPartition(self._settings.kafka.topic, partition, target)])
            message = self._kafka.poll(SECONDS)
            self._kafka.unassign()
            if message is not None and message.error() is None:
                return int(message.timestamp()[1])
        return int(datetime.now(UTC).timestamp() * 1000)

    def _write_gaps(
        self, key: str, partition: int, whole: OffsetRange, gaps: tuple[OffsetRange, ...], time: int
    ) -> None:
        contract = self.contract
        rows = [gap(contract.topic, partition, *one, time, "given up by an operator (adopt)").to_line() for one in gaps]
        metadata = ObjectMetadata(contract.topic, contract.topic_id, partition, *whole, 0, len(rows), ADOPT)
        try:
            obstore.put(
                self._store, key, self._codec.encode(rows), mode="create",
                attributes=metadata.to_attributes() | {"Content-Type": self._codec.content_type},
                use_multipart=False,
            )  # fmt: skip
        except AlreadyExistsError as error:
            # NotFoundError: a 409 whose winner has not landed; try again
            if read_metadata(self._store, key).writer != ADOPT:
                raise OperationError(
                    f"{key} is there already and says nothing of what is given up: a consumer wrote it, and its data "
                    "object is gone; restore that or move this out of the prefix, then adopt again"
                ) from error

    def resize(self, size: int) -> Contract:
        """Cells of `size` from the present log ends on (rule 12).

        Raises:
            OperationError: see `require_size`.
            obstore.exceptions.PreconditionError: somebody else changed the contract meanwhile.
        """
        require_size(size, self.contract.cell_size)
        name = self._settings.kafka.topic
        ends = {
            number: self._kafka.get_watermark_offsets(TopicPartition(name, number), timeout=SECONDS)[1]
            for number in self.partitions()
        }
        new = self.contract.resized(size, ends)
        replace_contract(self._store, self._settings.storage.data_prefix, self._stored, new)
        return new

    def close(self) -> None:
        """Leave Kafka."""
        self._kafka.close()
