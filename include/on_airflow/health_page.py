"""Pipeline Health with Airflow's connections: its sources, its links, and the daily report."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from airflow.sdk import Variable

from include.monitoring.checks.thresholds import VARIABLE
from include.monitoring.page import report
from include.monitoring.page.read_model import Sources
from include.monitoring.page.render import Links
from include.on_airflow import connections, dbt_docs
from include.settings import AlertSettings, Settings, load

log = logging.getLogger(__name__)


def sources(settings: Settings) -> Sources:
    """The sources of the page; a connection is opened when it is needed."""
    return Sources(
        settings,
        connections.page_s3_client,
        connections.page_cloudwatch_client,
        lambda: Variable.get(VARIABLE, default=None),
        lambda: datetime.now(UTC),
    )


def links(alert: AlertSettings) -> Links:
    """The page's links; the data dictionary has one if Airflow shows it."""
    return Links.of(alert, dbt_docs.address(alert.airflow_url))


def write_report(now: datetime) -> str:
    """Write the page as one file to S3; returns its address.

    Raises:
        SettingsError: settings have values that cannot be used.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    settings = load()
    html = report.make(sources(settings), links(settings.alert))
    address = report.write(connections.s3_client(), settings.storage, html, now)
    log.info("the report is at %s", address)
    return address
