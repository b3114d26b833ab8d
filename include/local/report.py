"""`make report`: writes the running demo's Pipeline Health as one HTML file, to its S3 and to its folder."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import boto3
from rich.console import Console

from include.local import environment
from include.local.process_control import ProcessControl
from include.local.stack import Demo, DemoError
from include.monitoring.page import report
from include.monitoring.page.read_model import Sources
from include.monitoring.page.render import Links
from include.settings import LocalSettings, load, load_group


def write(demo: Demo, now: datetime) -> tuple[str, Path]:
    """Write the report; returns its address in S3 and its file. Thresholds are the catalogue's, as on the screen.

    Raises:
        DemoError: the demo does not run.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    with environment.applied(demo.values):
        settings, session = load(), boto3.Session()
        s3, cloudwatch = session.client("s3"), session.client("cloudwatch")
    sources = Sources(settings, lambda: s3, lambda: cloudwatch, lambda: None, lambda: now)
    html = report.make(sources, Links.of(settings.alert))
    file = demo.local.state / "report.html"
    file.write_text(html)
    return report.write(s3, settings.storage, html, now), file


def main() -> int:
    """Command line; returns 1 without a running demo."""
    local = load_group(LocalSettings)
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True)).as_it_runs()
    try:
        address, file = write(demo, datetime.now(UTC))
    except DemoError as error:
        demo.tell(f"report: {error}")
        return 1
    demo.tell(f"report: {address}, and the same in {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
