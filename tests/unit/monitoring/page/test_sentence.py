from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from include.catalogue import CONDITIONS
from include.monitoring.page import sentence
from include.monitoring.page.health import PARTS
from include.state.judged import Judged
from tests.unit.monitoring.page.states import MINUTE, NOW, alert, health


def test_a_healthy_pipeline_is_told_by_its_newest_data() -> None:
    told = sentence.of(health())
    assert told.text == "All is well: gold is 60 s old. All 72 tests pass; no alert is open."
    assert (told.state, told.runbook) == ("ok", "")


def test_a_fault_is_told_with_its_beginning_and_what_to_do() -> None:
    told = sentence.of(health(alert("consumer_stalled", 14), alert("kafka_lag", 4, cause="consumer_stalled")))
    assert told.state == "fault"
    assert told.headline == "The consumer group is gone or stalled, since 05:46 UTC (14 min)."
    assert "therefore: Kafka lag is high" in told.rest
    assert told.notice == "No new prices arrive. Nothing is lost."
    assert told.step.startswith("See whether the consumer runs")
    assert told.command == "docker exec consumer python -m include.ingest health"
    assert (told.runbook, told.since) == ("consumer_stalled.md", NOW - 14 * MINUTE)


def test_an_error_is_told_before_an_older_warning() -> None:
    warning = alert("schema_drift", 300)
    told = sentence.of(health(warning, alert("upload_errors", 3)))
    assert told.headline.startswith("Uploads to S3 fail, since ")
    assert "1 more alert is open" in told.rest.lower()


def test_a_threshold_of_thousands_is_told_whole() -> None:
    told = sentence.of(health(alert("kafka_lag", value="2,345 messages", threshold="> 1,000, catalogue")))
    assert "2,345 messages (alarms when > 1,000)" in told.rest


def test_an_old_fault_is_told_with_its_day() -> None:
    assert "since 28 Nov 06:00 UTC (2 d)" in sentence.of(health(alert("stale_gold", 2 * 24 * 60))).headline


def test_a_monitor_that_is_silent_makes_everything_unknown() -> None:
    told = sentence.of(health(alert("kafka_lag"), judged_at=NOW - timedelta(minutes=47)))
    assert (
        told.text
        == "Nothing is known since 05:13 UTC (47 min): the monitor does not judge any more. 1 alert was open then."
    )
    assert (told.state, told.runbook) == ("unknown", "monitor_silent.md")


def test_s3_away_is_told_with_its_time_and_what_was_known() -> None:
    away = replace(health(), faults=dict.fromkeys(PARTS, "EndpointConnectionError: no answer."))
    told = sentence.of(away, NOW - 3 * MINUTE)
    assert told.headline == "Nothing is known now: the state cannot be read, since 05:57 UTC (3 min)."
    assert "EndpointConnectionError" in told.rest
    assert told.step.startswith("See whether S3 answers")
    assert "Below is what was known at 2026-11-30T05:59:00Z." in told.rest


def test_before_the_first_run_the_remedy_is_told() -> None:
    fresh = replace(health(), lag=None, judged=None, alerts=(), alerts_kept=False, layers=())
    told = sentence.of(fresh)
    assert told.text.startswith("Nothing is known yet: the monitor has never measured.")
    assert "unpause or trigger pipeline_monitor" in told.rest


def test_an_unknown_condition_is_told_although_nothing_is_open() -> None:
    told = sentence.of(health(kafka_lag=Judged("unknown", "Kafka could not be read")))
    assert told.headline == "Gold is 60 s old."
    assert f"1 of {len(CONDITIONS)} conditions unknown" in told.rest


def test_alerts_that_cannot_be_read_are_unknown() -> None:
    broken = replace(health(), alerts=None, faults={"alerts": "s3://lake/state/alerts.json is not readable"})
    told = sentence.of(broken)
    assert (told.state, told.headline) == ("unknown", "Nothing is known: the alerts cannot be read.")
    assert "alerts.json is not readable" in told.rest
