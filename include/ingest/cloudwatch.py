"""Sends the consumer's metrics to CloudWatch [I6], from its own thread.

Durations and sizes are sent as distributions (distinct values and their counts), so percentiles work at any rate and
need few requests. A slow or absent CloudWatch never slows ingestion: unsent numbers go into the next publication.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.catalogue import ENVIRONMENT, METRICS
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics, Window
from include.settings import AwsSettings, MonitorSettings

MAX_VALUES = 150
"""PutMetricData's limit of distinct values for each metric."""
MAX_BACKLOG_SECONDS = 3600.0
"""Older unpublished numbers are dropped: CloudWatch would store them under the wrong hour."""


def metric_data(window: Window, environment: str, at: datetime) -> list[dict[str, Any]]:
    """PutMetricData's MetricData for one window."""
    scalars = {
        "MessagesConsumed": float(window.messages),
        "MessagesRejected": float(window.rejected),
        "BatchesUploaded": float(window.batches),
        "UploadErrors": float(window.errors),
        "Throughput": window.messages / max(window.seconds, 0.001),
    }
    data: list[dict[str, Any]] = [_datum(name, environment, at) | {"Value": value} for name, value in scalars.items()]
    for name, tally in (("UploadDuration", window.durations), ("BatchSize", window.sizes)):
        if tally:
            counts = _thin_out(tally)
            data.append(_datum(name, environment, at) | {"Values": list(counts), "Counts": list(counts.values())})
    return data


def _datum(name: str, environment: str, at: datetime) -> dict[str, Any]:
    return {
        "MetricName": name,
        "Unit": METRICS[name].unit,
        "Timestamp": at,
        "Dimensions": [{"Name": ENVIRONMENT, "Value": environment}],
    }


def _thin_out(tally: Tally[float]) -> dict[float, float]:
    """Counts of at most MAX_VALUES distinct values: neighbours are counted under the larger of them."""
    values = sorted(tally.items())
    step = -(-len(values) // MAX_VALUES)
    groups = [values[index : index + step] for index in range(0, len(values), step)]
    return {group[-1][0]: float(sum(count for _, count in group)) for group in groups}


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
            self._log.warning("metrics not published", error=str(error), seconds=round(window.seconds))
            if window.seconds < MAX_BACKLOG_SECONDS:
                self._metrics.give_back(window)
