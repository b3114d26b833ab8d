"""The failure callback of tasks, and the channels, against real SMTP, S3, SNS and HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

import boto3
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.monitoring.alerts.mail import Mail
from include.monitoring.alerts.store import S3AlertStore
from include.on_airflow import connections
from include.on_airflow.callbacks import deliver
from include.on_airflow.connections import send_mail
from include.settings import StorageSettings, load
from tests.airflow_connections import aws_connection
from tests.dags.conftest import Mailbox

pytestmark = pytest.mark.servers


@pytest.fixture
def lake(airflow_db: None, s3: str, bucket: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3))
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("ALERT_EMAILS", '["oncall@example.com"]')
    return bucket


@pytest.fixture
def dags(monkeypatch: pytest.MonkeyPatch) -> dict[str, DAG]:
    """The DAGs of tests/dags/bundle, as a bundle that Airflow knows."""
    folder = str(Path(__file__).parent / "bundle")
    bundle = {"name": "failing", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    bundles = [bundle | {"kwargs": {"path": folder}}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    bag = DagBag(folder)
    assert not bag.import_errors
    return bag.dags


def open_alerts(bucket: str) -> set[str]:
    return set(S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket)).load()[0].open)


def text_of(mail: Any) -> str:
    return str(mail.get_body(("plain",)).get_content())


def test_a_failed_task_is_mailed_once_without_secrets(lake: str, dags: dict[str, DAG], mailbox: Mailbox) -> None:
    dags["fails_plainly"].test()
    (mail,) = mailbox.take()
    assert str(mail["Subject"]).endswith("A task failed: fails_plainly / build")
    assert "AirflowFailException: connection to postgresql://airflow:[secret]@db refused" in text_of(mail)
    assert "/dags/fails_plainly/runs/" in text_of(mail)
    assert "task_failed.md" in text_of(mail)
    assert mail["Date"].datetime is not None
    assert str(mail["Message-ID"]).endswith("@example.com>")
    assert open_alerts(lake) == {"task_failed:fails_plainly/build"}
    dags["fails_plainly"].test()
    assert mailbox.take() == []


def test_failing_dbt_tests_are_named_with_counts_and_rows(lake: str, dags: dict[str, DAG], mailbox: Mailbox) -> None:
    dags["fails_in_dbt"].test()
    (mail,) = mailbox.take()
    assert str(mail["Subject"]).endswith("dbt tests fail: not_null_price")
    assert "3 failing rows" in text_of(mail)
    assert "id=7 price=" in text_of(mail)
    assert open_alerts(lake) == {"dbt_tests:not_null_price"}  # only the monitor alerts about a warning


def test_a_broken_mail_server_leaves_the_notice_in_the_outbox(
    lake: str, dags: dict[str, DAG], mailbox: Mailbox
) -> None:
    mailbox.refuse = True
    dags["fails_plainly"].test()
    state, _ = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=lake)).load()
    assert [(notice.attempts, notice.claimed_until) for notice in state.outbox] == [(1, None)]
    assert "try again later" in state.outbox[0].last_error


def test_a_mail_server_that_answers_late_accepts_a_notice_once(
    lake: str, dags: dict[str, DAG], mailbox: Mailbox
) -> None:
    mailbox.answers_after = 7  # longer than the five seconds that the connection allows for connecting
    dags["fails_plainly"].test()
    state, _ = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=lake)).load()
    assert (len(mailbox.take()), state.outbox) == (1, ())


def test_each_attempt_to_send_a_notice_has_the_same_message_id(
    lake: str, dags: dict[str, DAG], mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has accepted the mail, but answers too late even for a patient client."""
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 2)
    mailbox.answers_after = 6
    dags["fails_plainly"].test()
    store = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=lake))
    with pytest.raises(SMTPServerDisconnected, match="timed out"):
        deliver(store, load())
    mailbox.answers_after = 0
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 60)
    assert deliver(store, load()) == 1
    mails = mailbox.take()
    assert len(mails) == 3
    assert {str(mail["Message-ID"]) for mail in mails} == {str(mails[0]["Message-ID"])}
    assert str(mails[0]["Message-ID"]).endswith("@example.com>")


class Webhook(BaseHTTPRequestHandler):
    bodies: list[tuple[str, dict[str, Any]]]
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).bodies.append((self.path, body))
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing to the test's output."""


@pytest.fixture
def webhook() -> Iterator[tuple[str, type[Webhook]]]:
    handler = type("Handler", (Webhook,), {"bodies": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_slack_teams_and_sns_get_the_notice_too(
    lake: str,
    dags: dict[str, DAG],
    s3: str,
    mailbox: Mailbox,
    webhook: tuple[str, type[Webhook]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, handler = webhook
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name=f"alerts-{datetime.now(UTC):%H%M%S%f}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"alerts-{datetime.now(UTC):%H%M%S%f}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("ALERT_SNS_TOPIC_ARN", topic)
    monkeypatch.setenv("ALERT_SLACK_WEBHOOK_URL", f"{url}/slack/hunter2")
    monkeypatch.setenv("ALERT_TEAMS_WEBHOOK_URL", f"{url}/teams/hunter2")
    dags["fails_plainly"].test()
    assert len(mailbox.take()) == 1
    bodies = dict(handler.bodies)
    assert "A task failed: fails_plainly / build" in bodies["/slack/hunter2"]["text"]
    assert "|Runbook>" in bodies["/slack/hunter2"]["text"]
    card = bodies["/teams/hunter2"]["attachments"][0]["content"]
    assert "[Runbook](" in card["body"][1]["text"]
    assert "A task failed: fails_plainly / build" in card["body"][0]["text"]
    received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"]
    assert "A task failed: fails_plainly / build" in json.loads(received)["Subject"]


def test_a_webhook_that_refuses_is_logged_without_its_address(
    lake: str,
    dags: dict[str, DAG],
    mailbox: Mailbox,
    webhook: tuple[str, type[Webhook]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url, handler = webhook
    handler.status = 500
    monkeypatch.setenv("ALERT_SLACK_WEBHOOK_URL", f"{url}/slack/hook-secret")
    monkeypatch.setenv("ALERT_TEAMS_WEBHOOK_URL", "http://127.0.0.1:1/teams/hook-secret")
    dags["fails_plainly"].test()
    assert len(mailbox.take()) == 1
    logged = caplog.text + "".join(capfd.readouterr())
    assert "Slack did not take the notice: HTTP 500" in logged
    assert "Teams cannot be reached: ConnectError" in logged
    assert "hook-secret" not in logged


def test_one_refused_recipient_is_logged_and_the_others_have_the_mail(
    airflow_db: None, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    """If it were an error, the others would get the same mail again in each run of the monitor."""
    mailbox.unknown = {"left@example.com"}
    mail = Mail("subject", "text", "<p>text</p>")
    send_mail(mail, ["oncall@example.com", "left@example.com"], "lakehouse@example.com")
    assert [sent["Subject"] for sent in mailbox.take()] == ["subject"]
    assert "the mail server refused left@example.com (550 no such user)" in caplog.text
    with pytest.raises(SMTPRecipientsRefused):
        send_mail(mail, ["left@example.com"], "lakehouse@example.com")
