"""The page as one self-contained HTML file in S3 (`state/report/2026-11-30.html`), for readers without Airflow."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from include.monitoring.page import render, view
from include.monitoring.page.read_model import Reader, Sources
from include.monitoring.page.render import Links
from include.monitoring.page.trends import DEFAULT_RANGE
from include.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def key(storage: StorageSettings, at: datetime) -> str:
    """Key of a day's report; the last one of a day replaces the others."""
    return f"{storage.state_prefix}report/{at:%Y-%m-%d}.html"


def make(sources: Sources, links: Links) -> str:
    """The report of now. A source that cannot be read is in it as unknown, with its reason."""
    return render.report(view.of(Reader(sources).read(DEFAULT_RANGE), ""), links)


def write(s3: S3Client, storage: StorageSettings, html: str, at: datetime) -> str:
    """Write the report; returns its address.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    name = key(storage, at)
    s3.put_object(Bucket=storage.bucket, Key=name, Body=html.encode(), ContentType="text/html; charset=utf-8")
    return f"s3://{storage.bucket}/{name}"
