"""The metric catalogue: every number that is published and every condition that alarms.

The consumer and the monitor publish the metrics by these names, the monitor's checks and
the CloudWatch alarms are made from the conditions, dashboard, page and docs from both; so
a name, a unit or a threshold is written once, here. Nothing is imported but the standard
library: the template generator and the consumer's image use this file too.

Names follow Amazon MSK's where MSK has one (MaxOffsetLag, SumOffsetLag, EstimatedMaxTimeLag).
Dimensions stay few, because CloudWatch bills each combination; numbers of single partitions
go to the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["Count", "Count/Second", "Seconds", "Bytes"]
Statistic = Literal["Sum", "Average", "Maximum", "Minimum"]
Comparison = Literal[">", "<"]
Missing = Literal["missing", "notBreaching", "breaching"]
AlarmMissing = Literal["missing", "notBreaching", "breaching", "ignore"]
Publisher = Literal["consumer", "monitor"]
Severity = Literal["error", "warning"]
Layer = Literal["bronze", "silver", "gold"]

LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold")
ENVIRONMENT = "Environment"
LAYER = "Layer"

MONITOR_SECONDS = 300
"""Seconds between two ticks of the monitor; also the period of what it publishes. Whole minutes that
divide an hour, since the schedule is a cron expression, and more than one, since two looks may be a minute off."""
MONITOR_MINUTES = MONITOR_SECONDS // 60
"""For the schedule and for texts."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One published number.

    `statistic` and `period_seconds` are how graphs and checks read it; `publish_seconds` is
    how often its publisher sends it, so a gap longer than that is missing data.
    """

    name: str
    title: str
    unit: Unit
    statistic: Statistic
    publisher: Publisher
    meaning: str
    period_seconds: int = MONITOR_SECONDS
    publish_seconds: int = MONITOR_SECONDS
    dimensions: tuple[str, ...] = (ENVIRONMENT,)


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must not happen.

    Breached when `metric` compared with `threshold` (in the metric's unit, by its statistic
    over its period) is true for `periods` periods on end. `missing` says what it means when
    the source can be read and has no number: nothing is known ("missing": the check is
    skipped), all is well ("notBreaching": no upload, so no slow one) or a breach. It never
    means zero, and when the source cannot be read at all nothing is known.

    `name` is the check's task id (`check_<name>`), the key in the Variable
    `monitor_thresholds`, and the runbook's file name.
    """

    name: str
    title: str
    metric: str | None
    comparison: Comparison
    threshold: float
    missing: Missing
    meaning: str
    severity: Severity = "error"
    periods: int = 1
    layer: Layer | None = None
    alarm: bool = True
    """There is a CloudWatch alarm of this condition, which also works when Airflow is dead."""
    checked: bool = True
    """The monitor has a task for it; False for what only CloudWatch or a failure callback can see."""

    @property
    def runbook(self) -> str:
        """File name in docs/runbooks/."""
        return f"{self.name}.md"

    @property
    def task_id(self) -> str:
        """Id of the monitor's task that turns red."""
        return f"check_{self.name}"

    @property
    def alarm_missing(self) -> AlarmMissing:
        """How the CloudWatch alarm takes a period without a number.

        What the monitor publishes is missing when the source or the monitor itself is away. The alarm stays as it is
        then, as the monitor's own alert does: neither "over" nor, once the numbers are back, told a second time.
        """
        metric = metric_of(self)
        by_monitor = metric is not None and metric.publisher == "monitor"
        return "ignore" if by_monitor and self.missing != "breaching" else self.missing

    @property
    def parameter(self) -> str:
        """Name of the CloudFormation parameter that holds the threshold, like KafkaLagThreshold."""
        return "".join(part.capitalize() for part in self.name.split("_")) + "Threshold"

    def breached_by(self, value: float, threshold: float | None = None) -> bool:
        """Whether `value` breaches `threshold` (default: the catalogue's)."""
        limit = self.threshold if threshold is None else threshold
        return value > limit if self.comparison == ">" else value < limit


CONSUMER_METRICS: tuple[Metric, ...] = (
    Metric(
        "MessagesConsumed",
        "Messages Consumed",
        "Count",
        "Sum",
        "consumer",
        "Records taken from Kafka and landed in S3, rejected ones included. Sent as 0 when there were none.",
        publish_seconds=60,
    ),
    Metric(
        "BatchesUploaded",
        "Batches Uploaded",
        "Count",
        "Sum",
        "consumer",
        "Data objects written to S3.",
        publish_seconds=60,
    ),
    Metric(
        "UploadErrors",
        "Upload Errors",
        "Count",
        "Sum",
        "consumer",
        "PUTs that failed, each retry counted. Nothing is lost by one: the PUT is repeated. Sent as 0 when none.",
        publish_seconds=60,
    ),
    Metric(
        "Throughput",
        "Throughput",
        "Count/Second",
        "Average",
        "consumer",
        "Records a second of one consumer process since its last publication.",
        publish_seconds=60,
    ),
    Metric(
        "UploadDuration",
        "Upload Duration",
        "Seconds",
        "Maximum",
        "consumer",
        "Time from the first attempt of a PUT until S3 had the object, retries included; published as a "
        "distribution (values and counts), so percentiles work. Absent while nothing is uploaded.",
        publish_seconds=60,
    ),
    Metric(
        "BatchSize",
        "Batch Size",
        "Count",
        "Average",
        "consumer",
        "Records in an uploaded object; published as a distribution. Absent while nothing is uploaded.",
        publish_seconds=60,
    ),
    Metric(
        "MessagesRejected",
        "Messages Rejected",
        "Count",
        "Sum",
        "consumer",
        "Messages that broke the format and went to the dead letters. Sent as 0 when there were none.",
        publish_seconds=60,
    ),
)
(
    MESSAGES_CONSUMED, BATCHES_UPLOADED, UPLOAD_ERRORS, THROUGHPUT, UPLOAD_DURATION, BATCH_SIZE, MESSAGES_REJECTED,
) = CONSUMER_METRICS  # fmt: skip
"""The same, for their publisher."""

MONITOR_METRICS: tuple[Metric, ...] = (
    Metric(
        "SumOffsetLag",
        "Consumer Lag",
        "Count",
        "Maximum",
        "monitor",
        "Messages on the topic that are not landed and committed yet, over all partitions. A partition "
        "without a commit counts from its earliest offset.",
    ),
    Metric(
        "MaxOffsetLag",
        "Consumer Lag of the Slowest Partition",
        "Count",
        "Maximum",
        "monitor",
        "The same of the partition with the most.",
    ),
    Metric(
        "EstimatedMaxTimeLag",
        "Consumer Lag in Time",
        "Seconds",
        "Maximum",
        "monitor",
        "Age of the oldest record that is not landed yet (now minus its Kafka timestamp); 0 when there is none.",
    ),
    Metric(
        "StalledPartitions",
        "Stalled Partitions",
        "Count",
        "Maximum",
        "monitor",
        "Partitions with unread records whose commit stands still (Burrow's STALL and STOP), or all with "
        "unread records when the group has no members.",
    ),
    Metric(
        "RetentionHeadroom",
        "Retention Headroom",
        "Seconds",
        "Minimum",
        "monitor",
        "Time until Kafka deletes the oldest record that is not landed yet: retention.ms minus its age. "
        "Absent on a topic that keeps everything.",
    ),
    Metric(
        "ObjectsLastHour",
        "Objects in the Last Hour",
        "Count",
        "Average",
        "monitor",
        "Data objects that arrived in S3 during the last 60 minutes.",
    ),
    Metric(
        "BytesLastHour",
        "Bytes in the Last Hour",
        "Bytes",
        "Average",
        "monitor",
        "Their bytes as stored.",
    ),
    Metric(
        "BatchSizeLastHour",
        "Batch Size in the Last Hour",
        "Count",
        "Average",
        "monitor",
        "Mean number of Kafka offsets in those objects, from their keys and the committed offsets.",
    ),
    Metric(
        "DeadLetterObjects",
        "Dead-Letter Objects in the Last Hour",
        "Count",
        "Maximum",
        "monitor",
        "Dead-letter objects that arrived during the last 60 minutes.",
    ),
    Metric(
        "DataAge",
        "Data Age",
        "Seconds",
        "Maximum",
        "monitor",
        "Now minus the newest quote time in a layer. Before the layer is first built: now minus the time of "
        "the oldest landed object.",
        dimensions=(ENVIRONMENT, LAYER),
    ),
    Metric(
        "BytesScanned",
        "Bytes Scanned",
        "Bytes",
        "Maximum",
        "monitor",
        "What Athena read for the last build of a layer, models and data tests together, as dbt reports it. "
        "The layer's state names it by model. Absent on DuckDB, which does not tell.",
        dimensions=(ENVIRONMENT, LAYER),
    ),
    Metric(
        "FailingTests",
        "Failing dbt Tests",
        "Count",
        "Maximum",
        "monitor",
        "dbt tests that failed or warned in the last build of each layer, or in the last run of the tests outside "
        "them: across layers, of seeds and of the test history; and those that failed in the daily run over every row.",
    ),
    Metric(
        "BlindSources",
        "Sources the Monitor Cannot Read",
        "Count",
        "Maximum",
        "monitor",
        "How many of Kafka, S3, the layer states, CloudWatch and the Variable monitor_thresholds could not be read in "
        "this tick. CloudWatch refusing the numbers cannot be among them: then MonitorHeartbeat is missing.",
    ),
    Metric(
        "UndeliveredNotices",
        "Undelivered Notices",
        "Count",
        "Maximum",
        "monitor",
        "Notices of this and earlier ticks that no mail server has accepted yet; they are tried again each tick.",
    ),
    Metric(
        "MonitorHeartbeat",
        "Monitor Heartbeat",
        "Count",
        "Sum",
        "monitor",
        "1 in every tick of the monitor that reached CloudWatch.",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*CONSUMER_METRICS, *MONITOR_METRICS)}

CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition(
            "kafka_lag",
            "Kafka lag is high",
            "SumOffsetLag",
            ">",
            1000,
            "missing",
            "The consumer does not keep up with the topic: data reaches the lake late.",
        ),
        Condition(
            "dbt_tests",
            "dbt tests fail",
            "FailingTests",
            ">",
            0,
            "missing",
            "Data in a layer breaks a rule. An error stops the layers after it, a warning does not.",
        ),
        Condition(
            "upload_errors",
            "Uploads to S3 fail",
            "UploadErrors",
            ">",
            5,
            "missing",
            f"S3 refused or did not answer more than a few PUTs in {MONITOR_MINUTES} minutes. The consumer repeats "
            "them.",
        ),
        Condition(
            "stale_gold",
            "Gold data is old",
            "DataAge",
            ">",
            2 * 3600,
            "missing",
            "The newest quote in crypto_curated is older than two hours: dashboards show the past.",
            layer="gold",
        ),
        Condition(
            "low_throughput",
            "Throughput is below its baseline",
            "MessagesConsumed",
            "<",
            3,
            "breaching",
            f"Fewer messages than usual were landed, for {3 * MONITOR_MINUTES} minutes on end: the producer, the topic "
            f"or the consumer is in trouble. The threshold is messages in {MONITOR_MINUTES} minutes; 3 is one quote of "
            "each asset.",
            periods=3,
        ),
        Condition(
            "slow_uploads",
            "Uploads to S3 are slow",
            "UploadDuration",
            ">",
            30,
            "notBreaching",
            "A PUT of a few kilobytes took longer than half a minute.",
        ),
        Condition(
            "consumer_stalled",
            "The consumer group is gone or stalled",
            "StalledPartitions",
            ">",
            0,
            "missing",
            "Records wait in Kafka and nobody commits, or the group has no members.",
        ),
        Condition(
            "dead_letters",
            "Dead letters arrive",
            "DeadLetterObjects",
            ">",
            0,
            "missing",
            "Messages broke the format, or offsets were deleted before they were read. They are kept and can be "
            "replayed.",
        ),
        Condition(
            "retention_headroom",
            "Kafka will soon delete unread records",
            "RetentionHeadroom",
            "<",
            6 * 3600,
            "notBreaching",
            "Less than six hours are left until retention deletes the oldest record that is not landed: data will "
            "be lost.",
        ),
        Condition(
            "stale_silver",
            "Silver data is old",
            "DataAge",
            ">",
            3 * 86400,
            "missing",
            "The newest quote in crypto_stage is older than three days.",
            severity="warning",
            layer="silver",
        ),
        Condition(
            "stale_bronze",
            "Bronze data is old",
            "DataAge",
            ">",
            7 * 86400,
            "missing",
            "The newest quote in crypto_raw is older than seven days.",
            severity="warning",
            layer="bronze",
        ),
        Condition(
            "monitor_blind",
            "The monitor cannot read a source",
            "BlindSources",
            ">",
            0,
            "missing",
            "Kafka, S3, the layer states or CloudWatch could not be read, so the checks that need it know nothing; or "
            "the Variable monitor_thresholds cannot be used, CloudWatch refused the numbers, or the alert state in S3 "
            "is out of reach.",
        ),
        Condition(
            "notices_undelivered",
            "Alert mails are not accepted",
            "UndeliveredNotices",
            ">",
            0,
            "notBreaching",
            "The mail server refuses our notices; only CloudWatch's alarms reach anybody.",
        ),
        Condition(
            "monitor_silent",
            "The monitor is silent",
            "MonitorHeartbeat",
            "<",
            1,
            "breaching",
            f"For {3 * MONITOR_MINUTES} minutes no tick of the monitor reached CloudWatch: Airflow or its way to "
            "CloudWatch is down.",
            periods=3,
            checked=False,
        ),
        Condition(
            "task_failed",
            "A task failed",
            None,
            ">",
            0,
            "missing",
            "A task of the transform or another DAG failed after its retries.",
            alarm=False,
            checked=False,
        ),
        Condition(
            "run_late",
            "A run takes too long",
            None,
            ">",
            0,
            "missing",
            "A run of the transform did not end by its deadline: it hangs, waits, or has very much to do.",
            alarm=False,
            checked=False,
        ),
    )
}


def alarm_name(condition: Condition, environment: str) -> str:
    """Name of the condition's CloudWatch alarm in one environment."""
    return f"crypto-lakehouse-{environment}-{condition.name.replace('_', '-')}"


def metric_of(condition: Condition) -> Metric | None:
    """The metric a condition looks at; None for what only a failure callback sees."""
    return None if condition.metric is None else METRICS[condition.metric]


def dimension_values(metric: Metric, environment: str, layer: Layer | None = None) -> dict[str, str]:
    """Dimension names and values of one series of `metric`.

    Raises:
        ValueError: the metric is kept by layer and none is given.
    """
    values = {ENVIRONMENT: environment}
    if LAYER in metric.dimensions:
        if layer is None:
            raise ValueError(f"metric {metric.name} has a dimension {LAYER}: name one of {', '.join(LAYERS)}")
        values[LAYER] = layer
    return values
