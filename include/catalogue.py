"""The metric catalogue: every number that is published and every condition that alarms.

A name, a unit or a threshold is written once, here. The consumer and the monitor publish the
metrics by these names. The monitor's checks and the CloudWatch alarms are made from the
conditions; dashboard, page and docs are made from both. This module imports only the standard
library, because the template generator and the consumer's image use it too.

Names are Amazon MSK's where MSK has the same metric (MaxOffsetLag, SumOffsetLag, EstimatedMaxTimeLag).
Dimensions stay few, because CloudWatch bills each combination. Numbers of single partitions
go to the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Unit = Literal["Count", "Count/Second", "Seconds", "Bytes", "Percent"]
Statistic = Literal["Sum", "Average", "Maximum", "Minimum", "p95"]
Comparison = Literal[">", "<"]
Missing = Literal["missing", "notBreaching", "breaching"]
AlarmMissing = Literal["missing", "notBreaching", "breaching", "ignore"]
Publisher = Literal["consumer", "monitor"]
Severity = Literal["error", "warning"]
Layer = Literal["bronze", "silver", "gold"]
Stage = Literal["landed", "bronze", "silver", "gold"]
"""A step of a record's way, at which its latency is measured."""

LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold")
STAGES: tuple[Stage, ...] = ("landed", *LAYERS)
ENVIRONMENT = "Environment"
LAYER = "Layer"
DEMO = "demo"
"""Value of the dimension Environment on a laptop: its mails have the commands of a clone that runs the demo."""

MONITOR_SECONDS = 300
"""Seconds between two runs of the monitor; also the period of the numbers that it publishes.

The schedule is a cron expression, so the interval must be whole minutes that divide an hour. Two measurements may be
one minute closer than the interval, so the interval must be longer than one minute.
"""
MONITOR_MINUTES = MONITOR_SECONDS // 60
"""The same interval in minutes, for the schedule and for texts."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One published number.

    Graphs and checks read it by `statistic` over `period_seconds`. Its publisher sends it every
    `publish_seconds`, so a longer gap is missing data.
    """

    name: str
    title: str
    unit: Unit
    statistic: Statistic
    publisher: Publisher
    meaning: str
    counts: str = ""
    """What the number counts, in the plural, for texts; empty where the unit says it."""
    period_seconds: int = MONITOR_SECONDS
    publish_seconds: int = MONITOR_SECONDS
    dimensions: tuple[str, ...] = (ENVIRONMENT,)


IN_THE_CLONE = "in the folder of the clone that runs the demo"
PLACES = {
    "docker exec consumer": "on the consumer's host",
    "docker exec producer": "on the producer's host",
    "airflow": "on the scheduler's host, or in its container",
    "python": "in a clone, with the settings of the stack",
    "select": "in Athena",
}
"""Begin of a deployed command -> where it runs."""


@dataclass(frozen=True, slots=True)
class FirstStep:
    """What the reader of a mail does first: a sentence, and the command that shows more.

    In a command `{subject}` is the alert's subject (a test, a DAG, a coin, a source), and `{dag}` the DAG of a subject
    like `dag/task`. A runbook shows them as SUBJECT and DAG.
    """

    text: str
    command: str
    laptop: str = "make demo-status"
    """The same in a clone that runs the demo."""

    def command_in(self, environment: str) -> str:
        """The command where the value of the dimension Environment is `environment`."""
        return self.laptop if environment == DEMO else self.command

    def place_in(self, environment: str) -> str:
        """Where that command runs."""
        return IN_THE_CLONE if environment == DEMO else self.place

    @property
    def place(self) -> str:
        """Where the deployed command runs."""
        return next(place for begin, place in PLACES.items() if self.command.startswith(begin))


ASK_CONSUMER = "docker exec consumer python -m include.ingest health"
ASK_PRODUCER = "docker exec producer python -m include.ingest health producer"
ON_LAPTOP = ".venv/bin/python -m include.ingest health"
NOTHING_LANDS = ("upload_errors", "consumer_stalled", "partitions_stopped", "monitor_blind:*S3")
"""Alerts that explain why a number of landed data is bad."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must not happen.

    It is breached when `metric` compared with `threshold` (in the metric's unit, by its
    statistic over its period) is true for `periods` consecutive periods. `missing` is the
    conclusion when the source can be read but has no number: nothing is known ("missing": the
    check is skipped), all is well ("notBreaching": no upload, so no slow upload) or a breach. A
    missing number is never read as zero. When the source cannot be read, nothing is known.

    `name` is part of the check's task id (`check_<name>`), the key in the Variable
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
    impact: str = field(kw_only=True)
    """The effect on the users of the data while it is open."""
    first_step: FirstStep = field(kw_only=True)
    keeps_records: bool = False
    """Whether no record is lost by it: at its end each record is landed or still in Kafka."""
    alarm: bool = True
    """Whether this condition has a CloudWatch alarm, which also works when Airflow is down."""
    checked: bool = True
    """Whether the monitor has a task for it; False when only CloudWatch or a failure callback can see it."""
    explained_by: tuple[str, ...] = ()
    """Alerts that explain this one, as patterns (fnmatch) of their keys, like `upload_errors` or `monitor_blind:*S3`.

    While such an alert is open, this one is listed under it and not mailed by itself. In a pattern `{subject}` is this
    alert's own subject (the part of its key after the colon), and `{last}` the last word of that subject.
    """

    @property
    def notice(self) -> str:
        """What the users of the data notice, and whether something is lost."""
        return f"{self.impact} Nothing is lost." if self.keeps_records else self.impact

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
        """How the CloudWatch alarm treats a period without a number.

        A number of the monitor is missing when its source or the monitor is down. The alarm then keeps its state,
        as the monitor's own alert does. So it does not end, and no second mail is sent when the numbers are back.
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
        counts="messages",
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
        "PUTs that failed, each retry counted. No data is lost: the PUT is repeated. Sent as 0 when there were none.",
        publish_seconds=60,
        counts="failed PUTs",
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
        "Time from the first attempt of a PUT until S3 had the object, retries included. Published as a "
        "distribution (values and counts), so percentiles work. Absent while nothing is uploaded.",
        publish_seconds=60,
    ),
    Metric(
        "BatchSize",
        "Batch Size",
        "Count",
        "Average",
        "consumer",
        "Records in an uploaded object, published as a distribution. Absent while nothing is uploaded.",
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
    Metric(
        "PartitionsStopped",
        "Stopped Partitions",
        "Count",
        "Maximum",
        "consumer",
        "Partitions of one consumer process that it does not land, because an object in S3 or the log is not as it "
        "must be. The process names them in its log and in /healthz.",
        publish_seconds=60,
    ),
)
(
    MESSAGES_CONSUMED, BATCHES_UPLOADED, UPLOAD_ERRORS, THROUGHPUT, UPLOAD_DURATION, BATCH_SIZE, MESSAGES_REJECTED,
    PARTITIONS_STOPPED,
) = CONSUMER_METRICS  # fmt: skip
"""The same metrics by name, for the code that publishes them."""

_ENDS: dict[Stage, str] = {
    "landed": "its object is in S3",
    "bronze": "the build of bronze that loaded it has ended",
    "silver": "the build of silver that accepted it has ended",
    "gold": "the build of gold that first contained it has ended",
}

MONITOR_METRICS: tuple[Metric, ...] = (
    Metric(
        "SumOffsetLag",
        "Consumer Lag",
        "Count",
        "Maximum",
        "monitor",
        "Messages on the topic that are not landed and committed yet, over all partitions. A partition "
        "without a commit counts from its earliest offset.",
        counts="messages",
    ),
    Metric(
        "MaxOffsetLag",
        "Consumer Lag of the Slowest Partition",
        "Count",
        "Maximum",
        "monitor",
        "Messages that are not landed and committed yet, on the partition with the highest lag.",
    ),
    Metric(
        "EstimatedMaxTimeLag",
        "Consumer Lag in Time",
        "Seconds",
        "Maximum",
        "monitor",
        "Age of the oldest record that is not landed yet (now minus its Kafka timestamp); 0 when all are landed.",
    ),
    Metric(
        "StalledPartitions",
        "Stalled Partitions",
        "Count",
        "Maximum",
        "monitor",
        "Partitions with unread records whose commit does not advance (Burrow's STALL and STOP). When the group has "
        "no members, all partitions with unread records.",
        counts="partitions",
    ),
    Metric(
        "RetentionHeadroom",
        "Retention Headroom",
        "Seconds",
        "Minimum",
        "monitor",
        "Time until Kafka deletes the oldest record that is not landed yet (retention.ms minus its age). "
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
        "Stored bytes of the data objects that arrived in S3 during the last 60 minutes.",
    ),
    Metric(
        "BatchSizeLastHour",
        "Batch Size in the Last Hour",
        "Count",
        "Average",
        "monitor",
        "Mean number of Kafka offsets in a data object of the last 60 minutes, from keys and committed offsets.",
    ),
    Metric(
        "DeadLetterObjects",
        "Dead-Letter Objects in the Last Hour",
        "Count",
        "Maximum",
        "monitor",
        "Dead-letter objects that arrived during the last 60 minutes.",
        counts="objects",
    ),
    Metric(
        "SilentCoins",
        "Silent Coins",
        "Count",
        "Maximum",
        "monitor",
        "Coins of the seed without a quote for three times their usual interval. Absent in the monitor's first run "
        "after a start.",
        counts="coins",
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
        "Bytes that Athena read for the last build of a layer, models and data tests together, as dbt reports them. "
        "The layer's state has them by model. Absent on DuckDB, which does not report them.",
        dimensions=(ENVIRONMENT, LAYER),
    ),
    Metric(
        "FailingTests",
        "Failing dbt Tests",
        "Count",
        "Maximum",
        "monitor",
        "dbt tests that failed or warned in the last build of each layer, or in the last run of the tests outside "
        "them (across layers, of seeds and of the test history). Failed tests of the daily run over every row count.",
        counts="tests",
    ),
    Metric(
        "QuarantineShare",
        "Rows in Quarantine",
        "Percent",
        "Maximum",
        "monitor",
        "Share of the rows that a business rule of silver refused, among all rows that the runs of the last day before "
        "silver's last build loaded. Duplicates do not count.",
    ),
    *(
        Metric(
            f"LatencyTo{stage.capitalize()}",
            f"Latency to {stage.capitalize()}",
            "Seconds",
            "p95",
            "monitor",
            f"Time from Kafka's timestamp of a record until {end}: the distribution of a build's new records, of which "
            "CloudWatch shows any percentile. Absent without a new record.",
        )
        for stage, end in _ENDS.items()
    ),
    Metric(
        "BurningObjectives",
        "Latency Objectives at Risk",
        "Count",
        "Maximum",
        "monitor",
        "Latency objectives (OBJECTIVE_*) whose error budget is used up too fast. Zero without new records.",
        counts="objectives",
    ),
    Metric(
        "AuditFindings",
        "Audit Findings",
        "Count",
        "Maximum",
        "monitor",
        "Objects, offsets and rows that the last audit found missing, doubled, altered or out of place. Absent before "
        "the first audit of a day with records.",
        counts="findings",
    ),
    Metric(
        "DriftingFields",
        "Fields That Drift",
        "Count",
        "Maximum",
        "monitor",
        "Fields beyond the message's contract that nobody has acknowledged, that have another type than the project "
        "knows, or that no longer arrive.",
        counts="fields",
    ),
    Metric(
        "BlindSources",
        "Sources the Monitor Cannot Read",
        "Count",
        "Maximum",
        "monitor",
        "The number of sources (Kafka, S3, the layer states, CloudWatch, the Variable monitor_thresholds) that could "
        "not be read in this run. If CloudWatch refuses the numbers, MonitorHeartbeat is missing instead.",
        counts="sources",
    ),
    Metric(
        "UndeliveredNotices",
        "Undelivered Notices",
        "Count",
        "Maximum",
        "monitor",
        "Notices that no mail server has accepted yet. Each run of the monitor tries them again.",
        counts="notices",
    ),
    Metric(
        "UnhealthyDags",
        "Unhealthy DAGs",
        "Count",
        "Maximum",
        "monitor",
        "DAGs whose last run failed, that are paused although they have a schedule, whose runs wait in the queue, or "
        "that have not succeeded as their schedule promises. The monitor's own DAG does not count.",
        counts="DAGs",
    ),
    Metric(
        "MonitorHeartbeat",
        "Monitor Heartbeat",
        "Count",
        "Sum",
        "monitor",
        "1 in every run of the monitor that reached CloudWatch.",
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
            explained_by=NOTHING_LANDS,
            impact="New prices reach the reports late.",
            first_step=FirstStep("See what the consumer lands, and what it waits for.", ASK_CONSUMER, ON_LAPTOP),
            keeps_records=True,
        ),
        Condition(
            "latency_objective",
            "Records reach gold too late",
            "BurningObjectives",
            ">",
            0,
            "missing",
            "More records than an objective allows were late in S3 or in gold: its error budget is used up too fast.",
            alarm=False,
            explained_by=(
                "upload_errors",
                "consumer_stalled",
                "partitions_stopped",
                "kafka_lag",
                "stale_gold",
                "monitor_blind:*S3",
                "dag_unhealthy:crypto_transform",
                "run_late:crypto_transform",
                "latency_objective:landed",
                "monitor_silent",
            ),
            impact="New prices reach the reports later than promised.",
            first_step=FirstStep(
                "See whether the runs of the transform fail, are long, or are far apart.",
                "airflow dags list-runs crypto_transform",
            ),
        ),
        Condition(
            "dbt_tests",
            "dbt tests fail",
            "FailingTests",
            ">",
            0,
            "missing",
            "Data in a layer breaks a rule. An error stops the layers after it, a warning does not.",
            impact="Reports may show the rows that the test names. Layers after an error keep their old data.",
            first_step=FirstStep(
                "See which rows fail.",
                "select * from crypto_lakehouse_test_failures.{subject} limit 20",
                'make demo-sql SQL="select * from test_failures.{subject} limit 20"',
            ),
        ),
        Condition(
            "quarantine_share",
            "Many rows are in quarantine",
            "QuarantineShare",
            ">",
            1,
            "missing",
            "More than one percent of the new rows break a business rule. They do not reach gold, where a coin may "
            "become empty.",
            alarm=False,
            impact="Prices of a coin may be missing in gold. The rows are kept in quarantine.",
            first_step=FirstStep(
                "Count the refused rows by rule and coin.",
                "select broken_rule, symbol, count(*) from crypto_lakehouse_silver.crypto_quarantine group by 1, 2",
                'make demo-sql SQL="select broken_rule, symbol, count(*) from silver.crypto_quarantine group by 1, 2"',
            ),
        ),
        Condition(
            "schema_drift",
            "The fields of the messages have changed",
            "DriftingFields",
            ">",
            0,
            "missing",
            "A producer sends a field that the project does not know, or a known one with another type, or no longer "
            "sends it. Bronze keeps every field.",
            severity="warning",
            alarm=False,
            impact="Reports are complete, but a field that they could show is new, gone, or of another type.",
            first_step=FirstStep(
                "Compare what the producer sends now with the contract.",
                "python -m include.ingest check-contract docs/contract/quote-v1.schema.json NEW",
                ".venv/bin/python -m include.ingest check-contract docs/contract/quote-v1.schema.json NEW",
            ),
        ),
        Condition(
            "audit_failed",
            "The audit found a fault",
            "AuditFindings",
            ">",
            0,
            "missing",
            "What the bucket or a layer holds is not what landed: something is missing, doubled, altered or out of "
            "place.",
            alarm=False,
            impact="Reports may lack records, or count some twice, until the fault is repaired.",
            first_step=FirstStep(
                "Run the audit again: it lists every finding with its remedy.",
                "python -m include.audit run",
                ".venv/bin/python -m include.audit run",
            ),
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
            explained_by=("monitor_blind:*S3",),
            impact="New prices reach the reports late.",
            first_step=FirstStep("See what S3 answers.", ASK_CONSUMER, ON_LAPTOP),
            keeps_records=True,
        ),
        Condition(
            "stale_gold",
            "Gold data is old",
            "DataAge",
            ">",
            2 * 3600,
            "missing",
            "The newest quote in crypto_curated is older than two hours: dashboards show old prices.",
            layer="gold",
            explained_by=(*NOTHING_LANDS, "monitor_silent"),
            impact="Dashboards show old prices.",
            first_step=FirstStep(
                "See whether the transform runs, and how its last runs ended.",
                "airflow dags list-runs crypto_transform",
            ),
        ),
        Condition(
            "low_throughput",
            "Throughput is below its baseline",
            "MessagesConsumed",
            "<",
            3,
            "breaching",
            f"Fewer messages than usual were landed for {3 * MONITOR_MINUTES} minutes: the producer, the topic or the "
            f"consumer has a fault. The threshold is messages in {MONITOR_MINUTES} minutes; 3 is one quote of each "
            "asset.",
            periods=3,
            explained_by=("upload_errors", "consumer_stalled", "monitor_blind:*S3", "quotes_missing:*"),
            impact="Few or no new prices arrive.",
            first_step=FirstStep("See whether the producer sends quotes.", ASK_PRODUCER, f"{ON_LAPTOP} producer"),
        ),
        Condition(
            "quotes_missing",
            "A coin sends no quotes",
            "SilentCoins",
            ">",
            0,
            "missing",
            "No quote of a coin has reached the lake for three times its usual interval: its prices stand still.",
            alarm=False,
            explained_by=(
                "upload_errors",
                "consumer_stalled",
                "partitions_stopped",
                "monitor_blind:*S3",
                "monitor_blind:Kafka",
                "low_throughput",
                "quotes_missing:*",
            ),
            impact="The last price of each silent coin stands still in every report.",
            first_step=FirstStep(
                "See whether the producer gets quotes of the coin.", ASK_PRODUCER, f"{ON_LAPTOP} producer"
            ),
        ),
        Condition(
            "slow_uploads",
            "Uploads to S3 are slow",
            "UploadDuration",
            ">",
            30,
            "notBreaching",
            "A PUT of a few kilobytes took longer than the threshold.",
            explained_by=("upload_errors", "monitor_blind:*S3"),
            impact="New prices may reach the reports late.",
            first_step=FirstStep("See which uploads wait, and what S3 answers.", ASK_CONSUMER, ON_LAPTOP),
            keeps_records=True,
        ),
        Condition(
            "consumer_stalled",
            "The consumer group is gone or stalled",
            "StalledPartitions",
            ">",
            0,
            "missing",
            "Records wait in Kafka and no consumer commits, or the group has no members.",
            explained_by=("upload_errors", "monitor_blind:*S3"),
            impact="No new prices arrive.",
            first_step=FirstStep("See whether the consumer runs, and what it waits for.", ASK_CONSUMER, ON_LAPTOP),
            keeps_records=True,
        ),
        Condition(
            "partitions_stopped",
            "Partitions are stopped",
            "PartitionsStopped",
            ">",
            0,
            "missing",
            "A consumer does not land a partition, because an object in S3 or the log is not as it must be. The other "
            "partitions go on. Retention will delete what is not landed.",
            impact="Prices of the stopped partitions are missing. They are lost when Kafka's retention ends.",
            first_step=FirstStep("See which partition is stopped, and the remedy.", ASK_CONSUMER, ON_LAPTOP),
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
            impact="Some quotes are missing in the reports. They are kept and can be replayed.",
            first_step=FirstStep(
                "List the rejected messages with their reasons.",
                "docker exec consumer python -m include.ingest replay",
                "set -a; . .local/demo/environment; set +a; .venv/bin/python -m include.ingest replay",
            ),
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
            impact="Kafka is about to delete records that are not in the lake: data will be lost.",
            first_step=FirstStep(
                "See why the consumer is late; then raise the topic's retention.", ASK_CONSUMER, ON_LAPTOP
            ),
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
            explained_by=(*NOTHING_LANDS, "monitor_silent"),
            impact="Reports on silver show old prices.",
            first_step=FirstStep(
                "See whether the transform runs, and how its last runs ended.",
                "airflow dags list-runs crypto_transform",
            ),
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
            explained_by=(*NOTHING_LANDS, "monitor_silent"),
            impact="No layer has new data.",
            first_step=FirstStep(
                "See whether the transform runs, and how its last runs ended.",
                "airflow dags list-runs crypto_transform",
            ),
        ),
        Condition(
            "monitor_blind",
            "The monitor cannot read a source",
            "BlindSources",
            ">",
            0,
            "missing",
            "Kafka, S3, the layer states or CloudWatch could not be read, so the checks that need them are skipped. "
            "Or the Variable monitor_thresholds cannot be used, CloudWatch refused the numbers, or the alert state in "
            "S3 cannot be reached.",
            explained_by=("monitor_blind:*{last}",),
            impact="No new prices if the source is down. Alerts that need it can neither start nor end.",
            first_step=FirstStep(
                "See whether the consumer reaches Kafka and S3: if it does, only the monitor's way there is broken.",
                ASK_CONSUMER,
                ON_LAPTOP,
            ),
        ),
        Condition(
            "dag_unhealthy",
            "A DAG does not run as it should",
            "UnhealthyDags",
            ">",
            0,
            "missing",
            "A DAG's last run failed, or the DAG is paused, waits in the queue, or does not succeed as its schedule "
            "promises. This is seen from outside, so it is also told when the tasks' own code could not report it.",
            alarm=False,
            explained_by=("task_failed:{subject}/*", "run_late:{subject}", "dbt_tests:*", "monitor_silent"),
            impact="New prices (crypto_transform), tests (lakehouse_maintenance) or replays are late.",
            first_step=FirstStep("See how its last runs ended.", "airflow dags list-runs {subject}"),
        ),
        Condition(
            "notices_undelivered",
            "Alert mails are not accepted",
            "UndeliveredNotices",
            ">",
            0,
            "notBreaching",
            "The mail server refuses the notices. Only CloudWatch's alarms reach a person.",
            impact="Nobody gets a mail about any alert.",
            first_step=FirstStep(
                "See the reason in the log of the task notify of the last run.",
                "airflow dags list-runs pipeline_monitor",
            ),
        ),
        Condition(
            "monitor_silent",
            "The monitor is silent",
            "MonitorHeartbeat",
            "<",
            1,
            "breaching",
            f"For {3 * MONITOR_MINUTES} minutes no run of the monitor ended or reached CloudWatch: Airflow or its way "
            "there is down.",
            periods=3,
            checked=False,
            impact="Nobody hears of a new fault. If the scheduler is down, reports also get no new prices.",
            first_step=FirstStep(
                "See whether the scheduler runs. If it does, see whether pipeline_monitor is paused.",
                "airflow jobs check --job-type SchedulerJob",
            ),
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
            impact="The work of the task is late. The next layers keep their last good data.",
            first_step=FirstStep(
                "See whether the runs before failed too; the link opens the task's log.", "airflow dags list-runs {dag}"
            ),
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
            impact="Dashboards show old prices until the run ends.",
            first_step=FirstStep("See whether a run is running or waits.", "airflow dags list-runs {subject}"),
        ),
    )
}

MONITOR_SILENT_MINUTES = CONDITIONS["monitor_silent"].periods * MONITOR_MINUTES
MONITOR_SILENT_AFTER = timedelta(minutes=MONITOR_SILENT_MINUTES)
"""Older numbers and verdicts of the monitor are not those of now. The alarm `monitor_silent` has this time."""


def alarm_name(condition: Condition, environment: str) -> str:
    """Name of the condition's CloudWatch alarm in one environment."""
    return f"crypto-lakehouse-{environment}-{condition.name.replace('_', '-')}"


def metric_of(condition: Condition) -> Metric | None:
    """The metric of a condition; None when only a failure callback sees the condition."""
    return None if condition.metric is None else METRICS[condition.metric]


def dimension_values(metric: Metric, environment: str, layer: Layer | None = None) -> dict[str, str]:
    """Dimension names and values of one series of `metric`.

    Raises:
        ValueError: the metric has the dimension Layer, and `layer` is None.
    """
    values = {ENVIRONMENT: environment}
    if LAYER in metric.dimensions:
        if layer is None:
            raise ValueError(f"metric {metric.name} has a dimension {LAYER}: name one of {', '.join(LAYERS)}")
        values[LAYER] = layer
    return values
