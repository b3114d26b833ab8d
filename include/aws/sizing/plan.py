"""From a load to a plan. Pure.

docs/sizing.md shows each formula with its source. Numbers that AWS or Kafka set are from their pages;
numbers of our programs are fitted to measurements, and tests/unit/aws/sizing/test_plan.py holds them against these.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import ceil, isfinite

from include.aws import cost
from include.catalogue import MONITOR_SECONDS
from include.ingest.pressure import THROTTLE_SHARE
from include.ingest.reading import PARTITION_BYTES, queue_config
from include.ingest.topic import DEFAULT_PARTITIONS
from include.settings import ConsumerSettings, WarehouseSettings

DAY_SECONDS = 86_400
MIB = 2**20

RECORD_SECONDS, FILE_SECONDS = 2.2e-6, 0.54e-3
"""One process's time for a record and for a file: the line through the two speeds of `ours` in docs/performance.md (in
files of 100 and of 10,000, two cores, 2026-11-26)."""
ROW_BYTES = 70
"""What a landed row has besides the payload: its place in Kafka and JSON around it (docs/performance.md)."""
PROCESS_BYTES_A_SECOND = 76e6
"""Rows that one process has landed in a second: 450,000 of 170 bytes. More was not measured."""
PUT_SECONDS = 0.1
PREFIX_PUTS = 3_500
"""S3 takes roughly 100 to 200 ms for a small object, and at least 3,500 PUTs a second for a prefix:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"""
PARTITION_BYTES_A_SECOND = 10e6
"""A careful estimate for one partition of Kafka:
https://dattell.com/data-architecture-blog/kafka-optimization-how-many-partitions-are-needed/"""
SPARE = 0.5
"""Share of a limit that the usual load takes. After an outage the other half catches up, as fast as new data comes."""
FULL_FILES_A_SECOND = 10
"""Batches grow so that full files come no faster than this: 130 US dollars of PUTs a month."""
LEAST_RECORDS, MOST_RECORDS = 100, 10_000
"""Records of a file: the default, and the most that was measured."""
PROGRAM_BYTES = 85e6
"""The consumer without messages (docs/ingest.md)."""
MEMORY_MARGIN, MEMORY_STEP = 1.5, 64 * MIB
"""A container's limit is half as much again as the sum, in steps of 64 MiB (deploy/kubernetes/consumer.yaml)."""
RUN_SECONDS = 120.0
"""A transform run on Athena: 122 statements of about one second. It was not measured on Athena; on DuckDB it takes 28
to 64 s (docs/performance.md)."""
STATEMENT_ROW_BYTES = 14
"""Bytes that Athena reads of a row for a statement: the mean of the two queries in docs/performance.md (216 and 65 KiB
of 10,000 rows). Most data tests read one column, a few join."""
WINDOW_ROWS = 10_000_000
"""The window of the data tests shrinks from three days so that it holds no more rows, but two runs at least."""
WINDOW_DAYS = 3.0
"""`test_window_days` in include/dbt/dbt_project.yml."""
CUTOFF_BYTES = 10 * 2**30
"""`QueryCutoffBytes` of the template: a query that reads more is cancelled."""
TRIED_FILES, TRIED_PAGES = 10_000, 100
"""New files of a run that were measured (docs/performance.md); pages of a look of the monitor, of 0.1 s each."""

_CONSUMER, _WAREHOUSE = ConsumerSettings.model_fields, WarehouseSettings.model_fields
PARALLEL_PUTS: int = _CONSUMER["parallel_puts"].default
BATCH_BYTES: int = _CONSUMER["batch_bytes"].default
BUFFER_BYTES: int = _CONSUMER["max_buffer_bytes"].default
BATCH_AGE_SECONDS: float = _CONSUMER["batch_age_seconds"].default
FLOOR_SECONDS: float = _WAREHOUSE["transform_floor_seconds"].default
POLL_SECONDS: float = _WAREHOUSE["transform_poll_seconds"].default
FRESHNESS_SECONDS = BATCH_AGE_SECONDS + POLL_SECONDS + FLOOR_SECONDS + RUN_SECONDS
"""What the default settings give."""
WAIT_SHARE = BATCH_AGE_SECONDS / FRESHNESS_SECONDS
"""Share of the freshness for the age of a batch, and for the interval of the trigger's looks; each at most 60 s."""


class SizingError(ValueError):
    """No plan meets the demand; the text says what is possible."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The load and what is wanted. `message_bytes` are a message's bytes in Kafka without its key.

    `freshness_seconds` are from Kafka to gold, without outages.
    """

    messages_per_second: float
    message_bytes: int = 200
    freshness_seconds: float = FRESHNESS_SECONDS
    months_kept: float = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demand needs. Times in seconds, sizes in bytes, dollars a month.

    `topics` each have their own prefixes. `prefix_share` is the busiest prefix's share of S3's limit.
    """

    demand: Demand
    topics: int
    partitions: int
    consumers: int
    process_messages_per_second: float
    batch_records: int
    batch_age_seconds: float
    buffer_bytes: int
    memory_bytes: int
    memory_limit_bytes: int
    puts_per_second: float
    prefix_share: float
    monitor_pages: int
    floor_seconds: float
    poll_seconds: float
    runs_per_day: int
    queries_per_day: int
    files_per_run: float
    test_window_days: float
    scanned_bytes_per_run: float
    largest_query_bytes: float
    cutoff_bytes: int
    metric_series: int
    dollars: dict[str, float]

    @property
    def dollars_a_month(self) -> float:
        """The sum."""
        return sum(self.dollars.values())


def landing_rate(records: int, message_bytes: int, put_seconds: float = PUT_SECONDS) -> float:
    """Messages that one process lands in a second, at most."""
    own = RECORD_SECONDS + FILE_SECONDS / records
    puts = put_seconds / (PARALLEL_PUTS * records)
    return min(1 / max(own, puts), PROCESS_BYTES_A_SECOND / (message_bytes + ROW_BYTES))


def batch_records(demand: Demand) -> int:
    """Records of a full file."""
    wanted = ceil(demand.messages_per_second / FULL_FILES_A_SECOND)
    most = BATCH_BYTES // (demand.message_bytes + ROW_BYTES)
    return max(1, min(max(LEAST_RECORDS, wanted), MOST_RECORDS, most))


def pace(freshness_seconds: float) -> tuple[float, float]:
    """Age of a batch, which is also the interval of the trigger's looks, and the floor between two runs.

    Raises:
        SizingError: a run takes too long for this freshness.
    """
    wait = min(BATCH_AGE_SECONDS, freshness_seconds * WAIT_SHARE)
    floor = freshness_seconds - 2 * wait - RUN_SECONDS
    if floor < RUN_SECONDS:
        least = ceil(2 * RUN_SECONDS / (1 - 2 * WAIT_SHARE))
        raise SizingError(
            f"gold cannot be {freshness_seconds:g} s fresh: a run takes about {RUN_SECONDS:g} s, and the next one "
            f"begins after it. At least {least} s are possible; landed files are there after the age of a batch"
        )
    return wait, min(floor, float(DAY_SECONDS))


def memory(buffer_bytes: int, partitions: int) -> int:
    """The most bytes that a consumer holds if it has all partitions, as when the others are away (docs/ingest.md)."""
    queue = int(queue_config(buffer_bytes)["queued.max.messages.kbytes"]) * 1024
    return int(PROGRAM_BYTES) + buffer_bytes + queue + partitions * PARTITION_BYTES


def memory_limit(held: int) -> int:
    """A container's limit for a consumer that holds so much."""
    return _up(held * MEMORY_MARGIN, MEMORY_STEP)


def _up(value: float, step: int) -> int:
    return ceil(value / step) * step


def _buffer(partitions: int, records: int, message_bytes: int) -> int:
    """`CONSUMER_MAX_BUFFER_BYTES`: a full open batch of each of its partitions fits below the share for reading."""
    open_batches = partitions * records * message_bytes
    return max(BUFFER_BYTES, _up(open_batches / THROTTLE_SHARE, MEMORY_STEP))


def _window_days(rows_a_second: float, floor: float) -> float:
    fitting = WINDOW_ROWS / rows_a_second / DAY_SECONDS
    return min(WINDOW_DAYS, max(2 * floor / DAY_SECONDS, fitting))


def _counts(demand: Demand, records: int, process: float) -> tuple[int, int, int]:
    """Topics, consumers and partitions."""
    rate = demand.messages_per_second
    topics = ceil(rate / records / (SPARE * PREFIX_PUTS))
    consumers = max(topics, ceil(rate / (SPARE * process)))
    by_bytes = ceil(rate * demand.message_bytes / PARTITION_BYTES_A_SECOND)
    return topics, consumers, max(DEFAULT_PARTITIONS, 2 * consumers, by_bytes)


def _scans(rate: float, row_bytes: int, floor: float, days: float) -> tuple[float, float]:
    """Bytes that a statement about the window reads, and that bronze reads of the new files."""
    window = rate * days * DAY_SECONDS * STATEMENT_ROW_BYTES
    return max(cost.ATHENA_LEAST_BYTES, window), max(cost.ATHENA_LEAST_BYTES, rate * floor * row_bytes)


def _cutoff(largest: float) -> int:
    """`QueryCutoffBytes`: twice the largest query, at least the template's."""
    return CUTOFF_BYTES if largest <= SPARE * CUTOFF_BYTES else _up(2 * largest, CUTOFF_BYTES)


def plan(demand: Demand) -> Plan:
    """The plan for a demand.

    Raises:
        SizingError: a number is not positive, or gold cannot be so fresh.
    """
    if not all(isfinite(number) and number > 0 for number in astuple(demand)):
        raise SizingError("messages a second, bytes, freshness and months kept must be numbers above 0")
    rate, row_bytes = demand.messages_per_second, demand.message_bytes + ROW_BYTES
    records, (wait, floor) = batch_records(demand), pace(demand.freshness_seconds)
    process = landing_rate(records, demand.message_bytes)
    topics, consumers, partitions = _counts(demand, records, process)
    buffer = _buffer(ceil(partitions / consumers), records, demand.message_bytes)
    held, days, runs = memory(buffer, partitions), _window_days(rate, floor), ceil(DAY_SECONDS / floor)
    statement, bronze = _scans(rate, row_bytes, floor, days)
    scanned = (cost.QUERIES - 1) * statement + bronze
    load = cost.Load(
        messages_per_second=rate, bytes_per_message=row_bytes, partitions=partitions, batch_records=records,
        batch_age_seconds=wait, transform_seconds=ceil(floor), scanned_bytes=scanned / cost.QUERIES,
        months_kept=demand.months_kept, consumers=consumers,
    )  # fmt: skip
    files = cost.files(load) / cost.MONTH_SECONDS
    return Plan(
        demand=demand, topics=topics, partitions=partitions, consumers=consumers,
        process_messages_per_second=process, batch_records=records, batch_age_seconds=wait, buffer_bytes=buffer,
        memory_bytes=held, memory_limit_bytes=memory_limit(held),
        puts_per_second=files, prefix_share=files / topics / PREFIX_PUTS,
        monitor_pages=ceil(files * 3600 / 1000), floor_seconds=floor, poll_seconds=wait, runs_per_day=runs,
        queries_per_day=runs * cost.QUERIES, files_per_run=files * floor, test_window_days=days,
        scanned_bytes_per_run=scanned, largest_query_bytes=max(statement, bronze),
        cutoff_bytes=_cutoff(max(statement, bronze)),
        metric_series=cost.SERIES, dollars=cost.monthly(load),
    )  # fmt: skip


def warnings(made: Plan) -> list[str]:
    """What nobody has measured, or what this plan cannot do, in sentences."""
    texts = []
    if made.topics > 1:
        texts.append(f"One prefix takes too few PUTs: use {made.topics} topics, each with its own S3_*_PREFIX.")
    if made.files_per_run > TRIED_FILES:
        texts.append(f"A run finds {made.files_per_run:,.0f} new files. More than {TRIED_FILES:,} were not measured.")
    if made.monitor_pages > TRIED_PAGES:
        texts.append(
            f"Each look of the monitor (every {MONITOR_SECONDS // 60} minutes) lists {made.monitor_pages:,} pages of "
            "the last hour's objects, of about 0.1 s each."
        )
    if made.largest_query_bytes > CUTOFF_BYTES:
        texts.append(
            f"The largest query reads {made.largest_query_bytes / 1e9:,.0f} GB. Athena ends a query after 30 minutes, "
            "unless AWS raises this quota; no query of this size was measured."
        )
    return texts
