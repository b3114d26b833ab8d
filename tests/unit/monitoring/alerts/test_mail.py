"""The text of a mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from include.catalogue import CONDITIONS
from include.monitoring.alerts.mail import render
from include.monitoring.alerts.model import Effect, Notice, NoticeKind, OpenAlert
from include.reasons import without_secrets
from include.settings import AlertSettings

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
SETTINGS = AlertSettings(airflow_url="http://airflow.test/", runbook_url="https://docs.test/runbooks/")
LAG = OpenAlert(
    key="kafka_lag",
    condition="kafka_lag",
    severity="error",
    title="Kafka lag is high",
    since=NOW - timedelta(minutes=25),
    notified_at=NOW,
    value="2,345",
    threshold="> 1,000, catalogue",
    details=("slowest partition 2,000 messages, the oldest is 20 min old",),
    run_url="http://airflow.test/dags/pipeline_monitor/runs/x",
)


def notice(kind: NoticeKind, alert: OpenAlert = LAG) -> Notice:
    return Notice("1", kind, alert, NOW)


def test_a_start_has_value_threshold_time_runbook_and_links() -> None:
    mail = render([notice("start")], SETTINGS, "test", NOW)
    assert mail.subject == "[crypto-lakehouse test] error: Kafka lag is high"
    for part in (
        "2,345",
        "Alarms when: > 1,000\n",
        "2026-11-23T14:05:00Z (25 min)",
        "slowest partition 2,000 messages",
        "https://docs.test/runbooks/kafka_lag.md",
        "http://airflow.test/dags/pipeline_monitor/runs/x",
        "Alert board: http://airflow.test/dags/pipeline_monitor\n",
        "Pipeline Health: http://airflow.test/plugin/pipeline-health\n",
    ):
        assert part in mail.text
    assert '<a href="https://docs.test/runbooks/kafka_lag.md"' in mail.html
    assert '<a href="http://airflow.test/plugin/pipeline-health">Pipeline Health</a>' in mail.html
    assert "&gt; 1,000<" in mail.html


@pytest.mark.parametrize(
    ("kind", "subject", "heading"),
    [("reminder", "still error: Kafka lag is high", "STILL OPEN"), ("recovery", "over: Kafka lag is high", "OVER")],
)
def test_subject_and_heading_name_the_kind_of_notice(kind: NoticeKind, subject: str, heading: str) -> None:
    mail = render([notice(kind)], SETTINGS, "test", NOW)
    assert mail.subject.endswith(subject)
    assert heading in mail.text


def test_a_start_begins_with_what_users_notice_and_the_first_step() -> None:
    mail = render([notice("start")], SETTINGS, "test", NOW)
    labels = [line.strip().partition(":")[0] for line in mail.text.splitlines() if line.startswith("  ")]
    assert labels[:5] == ["Users notice", "First step", "Command", "Since", "Detected"]
    assert f"Command: {CONDITIONS['kafka_lag'].first_step.command}\n" in mail.text


def test_a_mail_of_the_demo_has_the_command_of_a_laptop() -> None:
    """A laptop has no container to run the other one in."""
    mail = render([notice("start")], SETTINGS, "demo", NOW)
    assert f"Command: {CONDITIONS['kafka_lag'].first_step.laptop}\n" in mail.text


def test_a_command_names_the_alerts_subject() -> None:
    failed = replace(LAG, key="task_failed:crypto_transform/gold.build", condition="task_failed")
    mail = render([notice("start", failed)], SETTINGS, "test", NOW)
    assert "Command: airflow dags list-runs crypto_transform\n" in mail.text


@pytest.mark.parametrize(("condition", "says"), [("upload_errors", True), ("dead_letters", False)])
def test_an_end_says_that_nothing_is_lost_only_where_it_is_known(condition: str, says: bool) -> None:
    mail = render([notice("recovery", replace(LAG, key=condition, condition=condition))], SETTINGS, "test", NOW)
    assert ("Lost: nothing" in mail.text) is says
    assert "First step" not in mail.text


def test_the_course_of_the_number_is_shown() -> None:
    mail = render([notice("start")], SETTINGS, "test", NOW, {"kafka_lag": "▁▃█ last 3 h, at most 2,345"})
    assert "Course: ▁▃█ last 3 h, at most 2,345\n" in mail.text
    assert "▁▃█ last 3 h" in mail.html


@pytest.mark.parametrize("kind", ["reminder", "recovery"])
def test_a_later_mail_is_a_reply_to_the_one_about_the_start(kind: NoticeKind) -> None:
    threaded = replace(LAG, thread="first")
    assert render([notice(kind, threaded)], SETTINGS, "test", NOW).replies_to == ("first",)
    gold = replace(LAG, key="stale_gold", condition="stale_gold")
    assert render([notice(kind, threaded), notice("start", gold)], SETTINGS, "test", NOW).replies_to == ()


def test_several_notices_are_one_mail_with_the_starts_first() -> None:
    gold = replace(LAG, key="stale_gold", condition="stale_gold", title="Gold data is old")
    mail = render([notice("recovery"), notice("start", gold)], SETTINGS, "test", NOW)
    assert mail.subject == "[crypto-lakehouse test] 1 new, 1 over: error: Gold data is old, ..."
    assert mail.text.index("Gold data is old") < mail.text.index("Kafka lag is high")


def test_texts_of_other_programs_are_escaped() -> None:
    mail = render([notice("start", replace(LAG, details=("<script>alert(1)</script>",)))], SETTINGS, "test", NOW)
    assert "<script>" not in mail.html
    assert "&lt;script&gt;" in mail.html


def test_long_and_many_details_are_cut() -> None:
    alert = replace(LAG, details=("x" * 5000, *("y" for _ in range(60))))
    mail = render([notice("start", alert)], SETTINGS, "test", NOW)
    assert "... (5,000 characters)" in mail.text
    assert "and 36 more in the task's log" in mail.text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("sasl.password=hunter2 refused", "hunter2"),
        ('{"password": "hunter2"}', "hunter2"),
        ("postgresql://airflow:hunter2@db/airflow", "hunter2"),
        ("Authorization: Bearer hunter2", "hunter2"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", "AKIAIOSFODNN7EXAMPLE"),
        ("aws_secret_access_key = hunter2", "hunter2"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "hunter2"),
        ("COINMARKETCAP_API_KEY=hunter2", "hunter2"),
    ],
)
def test_secrets_are_not_shown(text: str, secret: str) -> None:
    mail = render([notice("start", replace(LAG, details=(text,)))], SETTINGS, "test", NOW)
    assert secret not in mail.text
    assert secret not in mail.html


@pytest.mark.parametrize("text", ["partition 3: STALL", "http://airflow.test/dags/x", "tokens are counted"])
def test_text_without_secrets_is_unchanged(text: str) -> None:
    assert without_secrets(text) == text


def test_consequences_are_listed_under_their_cause() -> None:
    low = Effect("low_throughput", "error", "Throughput is low", "2", NOW - timedelta(minutes=5))
    gold = Effect("stale_gold", "error", "Gold data is old", "3 h", NOW - timedelta(minutes=9), NOW)
    mail = render([notice("recovery", replace(LAG, effects=(low, gold)))], SETTINGS, "test", NOW)
    assert "Consequence: error: Throughput is low: 2, since 2026-11-23T14:25:00Z\n" in mail.text
    assert (
        "Consequence: error: Gold data is old: 3 h, since 2026-11-23T14:21:00Z, over at 2026-11-23T14:30:00Z"
        in mail.text
    )


def test_since_is_the_first_evidence_with_the_detection_beside_it() -> None:
    early = replace(LAG, began_at=LAG.since - timedelta(minutes=6))
    mail = render([notice("start", early)], SETTINGS, "test", NOW)
    assert "Since: 2026-11-23T13:59:00Z (31 min)\n" in mail.text
    assert "Detected: 2026-11-23T14:05:00Z\n" in mail.text


@given(st.text(max_size=200))
def test_any_text_can_be_rendered(text: str) -> None:
    mail = render([notice("start", replace(LAG, details=(text,), value=text))], SETTINGS, "test", NOW)
    assert mail.subject
    assert mail.html.startswith("<!doctype html>")


def test_further_subjects_of_the_same_condition_are_counted_in_the_title() -> None:
    """They began together, and none of them is the reason of another."""
    silent = CONDITIONS["quotes_missing"]
    coins = tuple(
        Effect(f"quotes_missing:{coin}", "error", f"{silent.title}: {coin}", "", NOW) for coin in ("ETH", "XRP")
    )
    alert = replace(OpenAlert.begin(silent, NOW, "BTC", value="3 coins", threshold="> 0", details=()), effects=coins)
    mail = render([notice("start", alert)], SETTINGS, "test", NOW)
    assert mail.subject.endswith("error: A coin sends no quotes: BTC and 2 more")
    assert "Also: error: A coin sends no quotes: ETH" in mail.text
    assert "Consequence" not in mail.text
