"""The state of the pipeline in Prometheus' text format, at /pipeline-health/metrics; it changes nothing.

A scrape reads six small objects from S3. When S3 cannot be read it answers 503, so Prometheus' `up` is 0.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import APIRouter, Depends, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from include.monitoring.prometheus import objects, samples
from include.on_airflow import connections
from include.reasons import reason_of
from include.settings import load

log = logging.getLogger(__name__)

router = APIRouter()
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Scrape(Collector):
    """The samples of one scrape."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """All metrics."""
        return self._families


def text(now: datetime) -> bytes:
    """The metrics at `now`.

    Raises:
        Exception: the settings or the connection cannot be used, or S3 refused or could not be reached.
    """
    settings = load()
    state = objects.read(connections.page_s3_client(), settings.storage)
    return generate_latest(Scrape(samples.families(state, settings.monitor.environment, now)))


@router.get("/metrics", dependencies=[Depends(requires_access_view(AccessView.WEBSITE))])
def metrics() -> Response:  # not a coroutine: FastAPI runs it beside the event loop, because it waits for S3
    """The metrics for a user who may see the Airflow UI."""
    try:
        return Response(text(datetime.now(UTC)), headers=HEADERS, media_type=CONTENT_TYPE_PLAIN_0_0_4)
    except Exception as error:  # a wrong connection can raise any exception
        log.warning("no metrics for Prometheus", exc_info=True)
        return Response(f"no metrics: {reason_of(error)}\n", 503, HEADERS, media_type="text/plain; charset=utf-8")
