"""Mails when the monitor itself is silent: the laptop's replacement of the CloudWatch alarm `monitor_silent`.

The AWS emulator judges an alarm when a number arrives; this alarm is about a number that does not. So a process of its
own, which needs neither scheduler nor metadata database, looks every minute when the monitor judged last. The rule is
in `monitoring/alerts/silent.py`. The monitor's next run mails the end.

`python -m include.local.monitor_watch` (with the demo's environment) runs until TERM.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from include.local.airflow_metadata import connection_variables
from include.local.process_control import NotRunningError, ProcessControl
from include.monitoring.alerts import silent
from include.monitoring.alerts.silent import Watch
from include.reasons import reason_of
from include.settings import LocalSettings, Settings, load, load_group
from include.state import judged
from include.state.json_object import StateUnreadableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0


def stopped_programs(local: LocalSettings) -> Mapping[str, str]:
    """Airflow's programs that do not run, with their state.

    Raises:
        NotRunningError: the whole demo is being stopped.
    """
    states = ProcessControl(local.state).status()
    return {name: state for name, state in states.items() if name.startswith("airflow-") and state != "RUNNING"}


class MonitorWatch:
    """The looks at the monitor's last verdicts."""

    def __init__(self, settings: Settings, local: LocalSettings, s3: S3Client) -> None:
        self._settings = settings
        self._local = local
        self._s3 = s3
        self._watch: Watch | None = None

    def look(self, now: datetime) -> None:
        """Look once, and mail if the monitor is silent. Whatever fails is tried again by the next look."""
        try:
            last = judged.read(self._s3, self._settings.storage)
        except (ClientError, BotoCoreError, StateUnreadableError) as error:
            log.warning("whether the monitor runs is not known: %s", reason_of(error))
            return
        self._watch = self._watch.at(now) if self._watch else Watch(now, now)
        try:
            stopped = stopped_programs(self._local)
        except NotRunningError:
            return
        alert = silent.alert_of(last.at if last else None, self._watch, stopped)
        if alert is None:
            return
        log.error("the monitor is silent: %s; %s", alert.value, "; ".join(alert.details))
        from include.on_airflow.callbacks import raise_from_outside  # Airflow's modules are needed for a mail only

        try:
            raise_from_outside(alert, now)
        except Exception as error:  # noqa: BLE001 of the mail server or S3; the notice stays in the outbox
            log.error("the alert could not be mailed and is tried again: %s", reason_of(error))


def main() -> None:
    """Look every minute."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for name, connection in connection_variables().items():
        os.environ.setdefault(name, connection)
    patience = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    watch = MonitorWatch(load(), load_group(LocalSettings), boto3.client("s3", config=patience))
    while True:
        watch.look(datetime.now(UTC))
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main()
