"""Sends the consumer's metrics to CloudWatch, from its own thread.

Durations and sizes are sent as distributions (distinct values and their counts), so percentiles work at any rate and
need few requests. A slow or absent CloudWatch never slows ingestion: unsent numbers go into the next publication.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter as Tally
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include import catalogue
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics, Window
from include.reasons import reason_of
from include.settings import AwsSettings, MonitorSettings

MAX_VALUES = 150
"""PutMetricData's limit of distinct values for each metric."""
MAX_BACKLOG_SECONDS = 3600.0
"""Older unpublished numbers are dropped: CloudWatch would store them under the wrong hour."""


def metric_data(window: Window, environment: str, at: datetime) -> list[dict[str, Any]]:
    """PutMetricData's MetricData for one window. A distribution without values is left out."""
    values: dict[catalogue.Metric, dict[str, Any]] = {
        catalogue.MESSAGES_CONSUMED: {"Value": float(window.messages)},
        catalogue.MESSAGES_REJECTED: {"Value": float(window.rejected)},
        catalogue.BATCHES_UPLOADED: {"Value": float(window.batches)},
        catalogue.UPLOAD_ERRORS: {"Value": float(window.errors)},
        catalogue.THROUGHPUT: {"Value": window.messages / max(window.seconds, 0.001)},
        catalogue.PARTITIONS_STOPPED: {"Value": float(window.stopped)},
        catalogue.UPLOAD_DURATION: _distribution(window.durations),
        catalogue.BATCH_SIZE: _distribution(window.sizes),
    }
    dimensions = [{"Name": catalogue.ENVIRONMENT, "Value": environment}]
    return [
        {"MetricName": metric.name, "Unit": metric.unit, "Timestamp": at, "Dimensions": dimensions} | value
        for metric, value in values.items()
        if value
    ]


def _distribution(tally: Tally[float]) -> dict[str, list[float]]:
    """At most MAX_VALUES distinct values and their counts: neighbouring values are counted as the largest of them."""
    if not tally:
        return {}
    counts = sorted(tally.items())
    step = -(-len(counts) // MAX_VALUES)
    groups = [counts[index : index + step] for index in range(0, len(counts), step)]
    return {
        "Values": [group[-1][0] for group in groups],
        "Counts": [float(sum(count for _, count in group)) for group in groups],
    }


class Publisher:
    """Publishes every `seconds` until it is stopped, and then once more."""

    def __init__(self, metrics: ConsumerMetrics, aws: AwsSettings, monitor: MonitorSettings, seconds: float) -> None:
        self._metrics = metrics
        self._aws = aws
        self._monitor = monitor
        self._seconds = seconds
        self._stop = threading.Event()
        self._log = logger("cloudwatch")
        self._thread = threading.Thread(target=self._run, name="cloudwatch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Publish the rest; wait at most `seconds` for that."""
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        import boto3  # its import is slow, and nothing else in the consumer needs it
        from botocore.config import Config

        client = boto3.client(
            "cloudwatch",
            region_name=self._aws.default_region,
            endpoint_url=self._aws.endpoint_url,
            config=Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2}),
        )
        while True:
            stopped = self._stop.wait(self._seconds)
            self._publish(client)
            if stopped:
                return

    def _publish(self, client: Any) -> None:
        window = self._metrics.take_window()
        data = metric_data(window, self._monitor.environment, datetime.now(UTC))
        try:
            client.put_metric_data(Namespace=self._monitor.namespace, MetricData=data)
        except (BotoCoreError, ClientError) as error:
            self._metrics.publish_errors.inc()
            self._log.warning("metrics not published", error=reason_of(error), seconds=round(window.seconds))
            if window.seconds < MAX_BACKLOG_SECONDS:
                self._metrics.give_back(window)
        gc.collect()  # botocore leaves its parser in a reference cycle, and this process looks for cycles rarely
