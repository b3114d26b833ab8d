"""What an operator does with the group stopped: adopt a position, change the cell size.

Both first make a plan that can be read, and carry it out only when told to. Both refuse
while the group has members. A consumer that is stalled (SIGSTOP, a frozen machine) is no
member any more but may wake up: end every consumer process first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import obstore
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from obstore.exceptions import NotFoundError
from obstore.store import S3Store

from include.ingest.commits import read_commits
from include.ingest.protocol import MAX_WINDOW_CELLS, commit_mark
from include.ingest.store import StoredContract, read_contract, replace_contract
from include.landing import body
from include.landing.contract import Contract
from include.landing.dead_letter import gap
from include.landing.layout import object_key, parse_key
from include.landing.metadata import ObjectMetadata
from include.settings import Settings

SECONDS = 15.0


class OperationError(RuntimeError):
    """The operation must not be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class Landed:
    """A data object's range, and whether its dead letters are there too."""

    first: int
    last: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopting means for a partition: commit `target`; offsets `hole` (inclusive) are given up."""

    partition: int
    committed: int
    committed_is_ours: bool
    log_start: int
    log_end: int
    landed_to: int | None
    target: int
    hole: tuple[int, int] | None


def require_stopped(admin: AdminClient, group: str) -> None:
    """Refuse while the group has members.

    Raises:
        OperationError: it has, or Kafka cannot tell.
    """
    try:
        described = admin.describe_consumer_groups([group], request_timeout=SECONDS)[group].result()
    except KafkaException as error:
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


# --- adopt --------------------------------------------------------------------


def decide(
    partition: int,
    *,
    committed: int,
    ours: bool,
    log: tuple[int, int],
    landed_to: int | None,
    offset: int | None,
) -> Plan:
    """Where the partition goes on. Pure; `log` is (log start, high watermark).

    Raises:
        OperationError: the wanted offset would land something twice, or lies outside the log.
    """
    low, high = log
    if offset is None:
        wanted = landed_to if landed_to is not None else max(committed, low)
        offset = max(wanted, low)
    if not low <= offset <= high:
        raise OperationError(f"partition {partition}: offset {offset} is outside the log ({low} to {high})")
    if landed_to is not None and offset < landed_to:
        raise OperationError(
            f"partition {partition}: offset {offset} is landed already (up to {landed_to}): going back would land "
            f"records twice; the smallest offset allowed is {landed_to}"
        )
    hole = (landed_to, offset - 1) if landed_to is not None and landed_to < offset else None
    return Plan(partition, committed, ours, low, high, landed_to, offset, hole)


def landed_to(objects: list[Landed], begin: int | None) -> int | None:
    """First offset that is not landed without a hole, None when nothing is landed.

    `objects` are those of the last cells, sorted; without a commit of ours (`begin` is
    None) the walk begins at the first of them.
    """
    position = begin
    for found in objects:
        if position is None:
            position = found.first
        if found.first < position:
            continue
        if found.first > position or not found.complete:
            break
        position = found.last + 1
    return position


class Operator:
    """Reads Kafka and S3 for plans and carries them out."""

    def __init__(self, settings: Settings, store: S3Store) -> None:
        self._settings = settings
        self._store = store
        self._admin = AdminClient(settings.kafka.client_config())
        require_stopped(self._admin, settings.kafka.group)
        self._kafka = KafkaConsumer(
            settings.kafka.client_config() | {"group.id": settings.kafka.group, "enable.auto.commit": False}
        )
        self._stored = require_contract(store, settings)

    @property
    def contract(self) -> Contract:
        """The contract in force."""
        return self._stored.contract

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
        ours = found.offset >= 0 and found.metadata == commit_mark(self.contract.topic_id)
        low, high = self._kafka.get_watermark_offsets(at, timeout=SECONDS)
        begin = found.offset if ours else None
        return decide(
            partition,
            committed=found.offset,
            ours=ours,
            log=(low, high),
            landed_to=self._landed_to(partition, begin),
            offset=offset,
        )

    def _landed_to(self, partition: int, begin: int | None) -> int | None:
        cells = self.contract.cells_of(partition)
        keys = [
            (parsed.first_offset, entry["path"])
            for chunk in obstore.list(self._store, prefix=self._settings.storage.data_prefix)
            for entry in chunk
            if (parsed := parse_key(entry["path"])) and parsed.kind == "crypto_data" and parsed.partition == partition
        ]
        if not keys:
            return begin
        horizon = cells.rank(max(keys)[0]) - MAX_WINDOW_CELLS
        near = sorted(key for key in keys if cells.rank(key[0]) >= horizon)
        return landed_to([self._read(first, path) for first, path in near], begin)

    def _read(self, first: int, path: str) -> Landed:
        head = obstore.get(self._store, path, options={"head": True})
        metadata = ObjectMetadata.from_attributes(path, dict(head.attributes))
        complete = True
        if metadata.rejected:
            storage = self._settings.storage
            letters = path.replace(storage.data_prefix, storage.dead_letter_prefix, 1)
            letters = letters.replace("/crypto_data_", "/dead_letter_")
            try:
                obstore.head(self._store, letters)
            except (NotFoundError, FileNotFoundError):
                complete = False
        return Landed(first, metadata.last_offset, complete)

    def carry_out(self, plan: Plan) -> None:
        """Write the gap row of what is given up, then commit with our mark."""
        if plan.hole is not None:
            self._write_gap(plan.partition, *plan.hole)
        mark = commit_mark(self.contract.topic_id)
        at = TopicPartition(self._settings.kafka.topic, plan.partition, plan.target, mark)
        for done in self._kafka.commit(offsets=[at], asynchronous=False) or []:
            if done.error is not None:
                raise KafkaException(done.error)

    def _write_gap(self, partition: int, first: int, last: int) -> None:
        now = int(datetime.now(UTC).timestamp() * 1000)
        contract = self.contract
        row = gap(contract.topic, partition, first, last, now, "given up by an operator (adopt)")
        metadata = ObjectMetadata(contract.topic, contract.topic_id, partition, first, last, 0, 1, "adopt")
        key = object_key(
            self._settings.storage.dead_letter_prefix, "dead_letter", partition, first, now, contract.suffix
        )  # fmt: skip
        obstore.put(
            self._store, key, body.encode([row.to_line()], contract.suffix), mode="create",
            attributes=metadata.to_attributes() | {"Content-Type": "application/json"}, use_multipart=False,
        )  # fmt: skip

    def resize(self, size: int) -> Contract:
        """Cells of `size` from the present log ends on (rule 12).

        Raises:
            obstore.exceptions.PreconditionError: somebody else changed the contract meanwhile.
        """
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
