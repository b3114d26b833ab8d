"""A plan as text, and the tables of docs/sizing.md."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log10

from include.assets import coins
from include.aws import cost
from include.aws.sizing import plan as sizing
from include.aws.sizing.plan import Demand, Plan, plan, warnings
from include.ingest.topic import DEFAULT_PARTITIONS

ORDERS = tuple(10**power for power in range(7))
"""Messages a second of the page's table."""


def _round(value: float) -> str:
    """Three significant digits, with thousands separated."""
    rounded = float(f"{value:.3g}")
    digits = 2 - int(log10(rounded)) if rounded >= 1 else 2
    return f"{rounded:,.{max(0, digits)}f}"


def _size(value: float) -> str:
    """Bytes with a unit."""
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"))
    for size, unit in units:
        if value >= size:
            return f"{_round(value / size)} {unit}"
    return f"{value:.0f} bytes"


def rows(made: Plan) -> list[tuple[str, str]]:
    """The figures of a plan, each with its name."""
    mib = sizing.MIB
    return [
        ("topics (each with its prefixes)", f"{made.topics}"),
        ("partitions", f"{made.partitions}"),
        ("consumers, one core each", f"{made.consumers}"),
        ("messages/s of a consumer, at most", _round(made.process_messages_per_second)),
        ("records in a full file", f"{made.batch_records:,}"),
        ("memory of a consumer: sum, limit", f"{made.memory_bytes // mib} MiB, {made.memory_limit_bytes // mib} MiB"),
        ("PUTs a second", _round(made.puts_per_second)),
        (f"share of a prefix's {sizing.PREFIX_PUTS:,} PUTs/s", f"{100 * made.prefix_share:.2g} %"),
        ("new files a run", _round(made.files_per_run)),
        ("runs a day", f"{made.runs_per_day:,}"),
        ("Athena queries a day", f"{made.queries_per_day:,}"),
        ("Athena bytes a run", _size(made.scanned_bytes_per_run)),
        ("largest query", _size(made.largest_query_bytes)),
        ("CloudWatch series", f"{made.metric_series}"),
        *((f"US dollars a month: {part}", _round(dollars)) for part, dollars in made.dollars.items()),
        ("US dollars a month: sum", _round(made.dollars_a_month)),
    ]


def settings(made: Plan) -> dict[str, str]:
    """What the plan sets, by setting, option, variable or parameter, where it is not the default."""
    values: dict[str, tuple[float, float]] = {
        "create-topic --partitions": (made.partitions, DEFAULT_PARTITIONS),
        "CONSUMER_BATCH_RECORDS": (made.batch_records, sizing.LEAST_RECORDS),
        "CONSUMER_BATCH_AGE_SECONDS": (round(made.batch_age_seconds, 1), sizing.BATCH_AGE_SECONDS),
        "CONSUMER_MAX_BUFFER_BYTES": (made.buffer_bytes, sizing.BUFFER_BYTES),
        "WAREHOUSE_TRANSFORM_FLOOR_SECONDS": (round(made.floor_seconds, 1), sizing.FLOOR_SECONDS),
        "WAREHOUSE_TRANSFORM_RUNS_PER_DAY": (made.runs_per_day, ceil(sizing.DAY_SECONDS / sizing.FLOOR_SECONDS)),
        "WAREHOUSE_TRANSFORM_POLL_SECONDS": (round(made.poll_seconds, 1), sizing.POLL_SECONDS),
        "test_window_days": (round(made.test_window_days, 4), sizing.WINDOW_DAYS),
        "QueryCutoffBytes": (made.cutoff_bytes, sizing.CUTOFF_BYTES),
    }
    chosen = {name: f"{value:.15g}" for name, (value, default) in values.items() if value != default}
    if made.consumers > 1:
        chosen["replicas"] = f"{made.consumers}"
    if made.memory_limit_bytes != sizing.memory_limit(sizing.memory(sizing.BUFFER_BYTES, DEFAULT_PARTITIONS)):
        chosen["memory limit"] = f"{made.memory_limit_bytes // sizing.MIB}Mi"
    if made.consumers > len(coins()):
        chosen["PRODUCER_KEY"] = "none"
    return chosen


def text(made: Plan) -> str:
    """The answer of the command in plain text."""
    demand, figures = made.demand, rows(made)
    width = max(len(name) for name, _ in figures) + 2
    head = (
        f"{demand.messages_per_second:,.10g} messages/s of {demand.message_bytes:,} bytes, in gold after "
        f"{demand.freshness_seconds:,.10g} s, kept {demand.months_kept:g} months"
    )
    lines = [head, "", *(f"{name:{width}}{value:>14}" for name, value in figures), ""]
    chosen = [f"  {name}={value}" for name, value in settings(made).items()]
    lines += ["Settings that are not the defaults:", *(chosen or ["  none"])]
    lines += ["", *warnings(made)] if warnings(made) else []
    return "\n".join(lines)


def _plans() -> list[Plan]:
    return [plan(Demand(float(order))) for order in ORDERS]


def orders() -> Iterator[str]:
    """The table of docs/sizing.md: a column for each order of magnitude."""
    columns = [dict(rows(made)) for made in _plans()]
    yield f"| messages a second | {' | '.join(f'{order:,}' for order in ORDERS)} |"
    yield f"|---|{'---|' * len(ORDERS)}"
    for name in columns[0]:
        yield f"| {name} | {' | '.join(column[name] for column in columns)} |"


def changes() -> Iterator[str]:
    """What to change from one order of magnitude to the next."""
    yield "| messages a second | set | look out |"
    yield "|---|---|---|"
    before: dict[str, str] = {}
    for order, made in zip(ORDERS, _plans(), strict=True):
        chosen = settings(made)
        new = [f"`{name}={value}`" for name, value in chosen.items() if before.get(name) != value]
        yield f"| {order:,} | {', '.join(new) or 'nothing'} | {' '.join(warnings(made))} |"
        before = chosen


def formulas() -> Iterator[str]:
    """Each figure's formula and where its numbers come from."""
    bench, ingest, cost_page = "[benchmarks](performance.md#landing)", "[ingest.md](ingest.md)", "aws-cost.md"
    s3 = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"
    blog = "https://dattell.com/data-architecture-blog/kafka-optimization-how-many-partitions-are-needed/"
    table = [
        (
            "messages/s of a consumer",
            f"the least of 1 / ({sizing.RECORD_SECONDS * 1e6:g} µs + {sizing.FILE_SECONDS * 1e6:g} µs / records), "
            f"{sizing.PARALLEL_PUTS} x records / {sizing.PUT_SECONDS:g} s, and "
            f"{sizing.PROCESS_BYTES_A_SECOND / 1e6:g} MB/s / (bytes + {sizing.ROW_BYTES})",
            f"{bench}; [S3's latency]({s3})",
        ),
        (
            "consumers",
            f"messages/s / ({sizing.SPARE:g} x messages/s of a consumer): half is kept to catch up after an outage",
            "our choice",
        ),
        (
            "partitions",
            f"the most of {DEFAULT_PARTITIONS}, 2 x consumers, and bytes/s / "
            f"{sizing.PARTITION_BYTES_A_SECOND / 1e6:g} MB",
            f"[an estimate]({blog})",
        ),
        (
            "records in a full file",
            f"messages/s / {sizing.FULL_FILES_A_SECOND}, from {sizing.LEAST_RECORDS} to {sizing.MOST_RECORDS:,}, and "
            "at most `CONSUMER_BATCH_BYTES`",
            f"{bench}: no larger file was measured",
        ),
        (
            "PUTs a second",
            "the larger of messages/s / records and partitions / batch age, at most messages/s",
            f"[{cost_page}]({cost_page})",
        ),
        (
            "topics",
            f"messages/s / records / ({sizing.SPARE:g} x {sizing.PREFIX_PUTS:,})",
            f"[S3's limit]({s3})",
        ),
        (
            "memory of a consumer",
            f"{sizing.PROGRAM_BYTES / 1e6:g} MB + buffer + librdkafka's queue + 256 KB x all partitions; the limit is "
            f"{sizing.MEMORY_MARGIN:g} times that",
            f"{ingest}, [the manifest](../deploy/kubernetes/consumer.yaml)",
        ),
        (
            "floor between two runs",
            f"freshness - batch age - look - {sizing.RUN_SECONDS:g} s for the run, which was not measured on Athena",
            "[aws-cost.md](aws-cost.md#what-the-latency-of-gold-costs)",
        ),
        (
            "`test_window_days`",
            f"{sizing.WINDOW_DAYS:g}, or less so that the window holds {sizing.WINDOW_ROWS:,} rows, but two runs",
            "our choice",
        ),
        (
            "Athena bytes a run",
            f"{cost.QUERIES - 1} statements x rows of the window x {sizing.STATEMENT_ROW_BYTES} bytes, plus the new "
            f"files; at least {cost.ATHENA_LEAST_BYTES / 1e6:g} MB each",
            "[Trino](performance.md#athenas-engine), which stands for Athena",
        ),
        ("US dollars a month", "include/aws/cost.py", f"[{cost_page}]({cost_page})"),
    ]
    yield "| figure | formula | source |"
    yield "|---|---|---|"
    yield from (f"| {' | '.join(cells)} |" for cells in table)
