"""Estimate of a month's cost on AWS.

The prices are list prices of us-east-1 in US dollars without the free tier. They change and differ by region.
docs/aws-cost.md names AWS's page for each price, and the costs that the sum leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

from include.catalogue import CONDITIONS, CONSUMER_METRICS, LAYERS, METRICS, MONITOR_SECONDS

MONTH_SECONDS = 30 * 24 * 3600

S3_PUT = 0.005 / 1000
S3_GET = 0.0004 / 1000
S3_GB_MONTH = 0.023
ATHENA_TB = 5.0
ATHENA_LEAST_BYTES = 10 * 10**6
METRIC_MONTH = 0.30
ALARM_MONTH = 0.10
COMPOSITE_ALARM_MONTH = 0.50
DASHBOARD_MONTH = 3.0
PUT_METRIC_DATA = 0.01 / 1000
GET_METRIC_DATA = 0.01 / 1000


QUERIES = 122
"""Statements of one transform run; tests/athena/test_conformance.py counts them. Some 20 scan nothing (DDL)."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load that the cost depends on.

    `partitions` are the partitions that get messages. `queries` are the statements of one transform run (models and
    tests), and `scanned_bytes` is their average.
    """

    messages_per_second: float
    bytes_per_message: int
    partitions: int
    batch_records: int = 100
    batch_age_seconds: float = 60.0
    transform_seconds: int = 900
    queries: int = QUERIES
    scanned_bytes: float = 10e6
    months_kept: float = 12
    consumers: int = 1


def files(load: Load) -> float:
    """Files a month: a batch closes when it is full or old."""
    by_size = load.messages_per_second * MONTH_SECONDS / load.batch_records
    by_age = load.partitions * MONTH_SECONDS / load.batch_age_seconds
    return max(by_size, min(by_age, load.messages_per_second * MONTH_SECONDS))


def idle_looks(poll_seconds: float) -> float:
    """US dollars a month for the looks of the trigger while nothing lands: one LIST, at the price of a PUT, 3 GETs."""
    return MONTH_SECONDS / poll_seconds * (S3_PUT + 3 * S3_GET)


def wait_p95(floor_seconds: float) -> float:
    """95 % of files that land at a steady rate wait at most this long for the start of a run, without the look."""
    return 0.95 * floor_seconds


def monthly(load: Load) -> dict[str, float]:
    """US dollars a month by part; storage after `months_kept`."""
    landed = load.messages_per_second * MONTH_SECONDS * load.bytes_per_message
    runs = MONTH_SECONDS / load.transform_seconds
    series = sum(len(LAYERS) if "Layer" in metric.dimensions else 1 for metric in METRICS.values())
    monitor_runs = MONTH_SECONDS / MONITOR_SECONDS
    publications = load.consumers * MONTH_SECONDS / 60 + monitor_runs
    alarms = sum(condition.alarm for condition in CONDITIONS.values())
    return {
        "landing (S3 PUT)": files(load) * S3_PUT,
        # landed files, and one more copy for bronze, silver and gold together, because Parquet is compressed
        "storage (S3)": 2 * landed * load.months_kept / 1e9 * S3_GB_MONTH,
        "transform (Athena)": runs * load.queries * max(load.scanned_bytes, ATHENA_LEAST_BYTES) / 1e12 * ATHENA_TB,
        "metrics (CloudWatch)": series * METRIC_MONTH
        + publications * PUT_METRIC_DATA
        + monitor_runs * len(CONSUMER_METRICS) * GET_METRIC_DATA,
        "alarms (CloudWatch)": alarms * ALARM_MONTH + COMPOSITE_ALARM_MONTH,
        "dashboard (CloudWatch)": DASHBOARD_MONTH,
    }
