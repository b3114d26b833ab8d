"""When a condition is breached."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from include.catalogue import CONDITIONS
from include.monitoring.checks.judge import Evidence, Outcome, Subject, Verdict, judge
from include.monitoring.checks.thresholds import Threshold


@pytest.mark.parametrize(
    ("name", "evidence", "outcome", "says"),
    [
        ("kafka_lag", Evidence((1000.0,)), "ok", "1,000"),
        ("kafka_lag", Evidence((1001.0,)), "breached", "1,001 messages"),
        ("kafka_lag", Evidence(blind="Kafka could not be read"), "unknown", "Kafka could not be read"),
        ("kafka_lag", Evidence((None,)), "unknown", "no data"),
        ("upload_errors", Evidence((9.0, 0.0)), "ok", "0 failed PUTs in 5 min"),
        ("upload_errors", Evidence((0.0, 6.0)), "breached", "6 failed PUTs in 5 min"),
        ("upload_errors", Evidence((0.0, None)), "unknown", "no data"),
        ("slow_uploads", Evidence((31.0, None)), "ok", "no data"),
        ("slow_uploads", Evidence((None, 30.5)), "breached", "30 s"),
        ("low_throughput", Evidence((0.0, 2.0, None)), "breached", "no data, for 3 periods"),
        ("low_throughput", Evidence((2.0, 3.0, 2.0)), "ok", "2 messages in 5 min, for 1 of 3 periods"),
        ("low_throughput", Evidence((None, None), note="watched for 2 of 3"), "unknown", "watched for 2 of 3"),
        ("retention_headroom", Evidence((None,), note="no time limit"), "ok", "no time limit"),
        ("retention_headroom", Evidence((3600.0,)), "breached", "60 min"),
        ("stale_gold", Evidence((7201.0,)), "breached", "2 h"),
        ("stale_gold", Evidence(note="nothing has landed yet"), "unknown", "nothing has landed yet"),
    ],
)
def test_judge(name: str, evidence: Evidence, outcome: Outcome, says: str) -> None:
    condition = CONDITIONS[name]
    verdict = judge(condition, evidence, Threshold(condition.threshold))
    assert (verdict.outcome, says in verdict.value) == (outcome, True), verdict


def test_the_verdict_names_the_source_of_the_threshold_and_warnings() -> None:
    threshold = Threshold(5000, "Variable monitor_thresholds")
    verdict = judge(CONDITIONS["kafka_lag"], Evidence((1.0,)), threshold, "its CloudWatch alarm is set to 1000")
    assert verdict.threshold == "> 5,000, Variable monitor_thresholds"
    assert "its CloudWatch alarm is set to 1000" in verdict.sentence


@pytest.mark.parametrize(
    ("name", "evidence", "sentence"),
    [
        (
            "low_throughput",
            Evidence((9.0, 0.0, 0.0)),
            "ok: Messages Consumed 0 messages in 5 min, for 2 of 3 periods (alarms when < 3 in 5 min, catalogue)",
        ),
        (
            "low_throughput",
            Evidence((0.0, 0.0, 0.0)),
            "Throughput is below its baseline: 0 messages in 5 min, for 3 periods (threshold < 3 in 5 min, catalogue)",
        ),
        (
            "kafka_lag",
            Evidence(blind="Kafka is away"),
            "unknown, Kafka is away (alarms when > 1,000, catalogue)",
        ),
    ],
)
def test_only_a_breach_is_reported_by_the_title_of_the_condition(name: str, evidence: Evidence, sentence: str) -> None:
    condition = CONDITIONS[name]
    assert judge(condition, evidence, Threshold(condition.threshold)).sentence == sentence


def test_a_verdict_is_the_same_after_its_way_through_xcom() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    verdict = Verdict("dbt_tests", "breached", "1", "> 0", ("a",), {"t": Subject("line", "warning", now)}, now, now)
    assert msgspec.convert(msgspec.to_builtins(verdict), Verdict) == verdict
