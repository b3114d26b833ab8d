"""A silent monitor is mailed by a process of its own: with real S3 and SMTP, without Airflow's database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from aiosmtpd.controller import Controller

from include.local import airflow_metadata, mailbox, monitor_watch
from include.local.monitor_watch import MonitorWatch
from include.monitoring.alerts.store import S3AlertStore
from include.settings import LocalSettings, StorageSettings, load
from include.state import judged
from include.state.judged import JudgedConditions
from tests.servers import free_port

pytestmark = pytest.mark.servers

MINUTE = timedelta(minutes=1)


@pytest.fixture
def local(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSettings]:
    """The settings of a demo with a bucket and a mail server; its connections are variables."""
    port = free_port()
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("MONITOR_ENVIRONMENT", "demo")
    monkeypatch.setenv("LOCAL_SMTP_PORT", str(port))
    for name, connection in airflow_metadata.connection_variables().items():
        monkeypatch.setenv(name, connection)
    server = Controller(mailbox.FolderHandler(tmp_path / "mail"), hostname="127.0.0.1", port=port)
    server.start()
    yield LocalSettings(state=tmp_path)
    server.stop()


def look_for(minutes: int, local: LocalSettings, judged_at: datetime) -> MonitorWatch:
    """Look every two minutes, from the monitor's last run on."""
    settings = load()
    judged.write(boto3.client("s3"), settings.storage, JudgedConditions(judged_at, {}))
    watch = MonitorWatch(settings, local, boto3.client("s3"))
    for minute in range(0, minutes, 2):
        watch.look(judged_at + minute * MINUTE)
    return watch


def test_a_dead_scheduler_is_mailed_once(local: LocalSettings, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_watch, "stopped_programs", lambda _: {"airflow-scheduler": "STOPPED"})
    last_run = datetime(2026, 11, 30, 12, tzinfo=UTC)
    watch = look_for(14, local, last_run)
    assert mailbox.read(local.state / "mail") == []
    for minute in (14, 16, 18):
        watch.look(last_run + minute * MINUTE)
    (mail,) = mailbox.read(local.state / "mail")
    assert mail.subject == "[crypto-lakehouse demo] error: The monitor is silent"
    assert "Since: 2026-11-30T12:00:00Z" in mail.text
    assert "Detail: does not run: airflow-scheduler (STOPPED)" in mail.text
    assert "runbooks/monitor_silent.md" in mail.text
    state, _ = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket)).load()
    assert (set(state.open), state.outbox) == ({"monitor_silent"}, ())


def test_a_demo_that_is_being_stopped_mails_nothing(local: LocalSettings, tmp_path: Path) -> None:
    """Its supervisord does not answer any more."""
    look_for(20, local, datetime(2026, 11, 30, 12, tzinfo=UTC))
    assert mailbox.read(tmp_path / "mail") == []
