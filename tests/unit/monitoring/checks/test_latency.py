"""When an error budget is used too fast, and which builds are published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from msgspec.structs import replace

from include.catalogue import Stage
from include.monitoring.checks import latency
from include.monitoring.checks.latency import RULES, Objective, objectives
from include.monitoring.checks.thresholds import in_force
from include.monitoring.checks.verdicts import numbers, verdicts
from include.settings import ObjectiveSettings, StorageSettings
from include.state.latency import BuildLatency, Count, StageLatency, added
from tests.unit.monitoring.measured import EVERYTHING, LAYERS

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SLOT = timedelta(minutes=10)
FAST, SLOW, SLOWEST = RULES


def slots(late: float, begin: timedelta, end: timedelta = timedelta(), records: int = 300) -> tuple[Count, ...]:
    """Counts with a share of late records, from a time ago to another."""
    number = int((begin - end) / SLOT)
    bad = round(late * records)
    return tuple(Count(NOW - begin + n * SLOT, records - bad, bad) for n in range(number))


def gold(*counts: Count) -> Objective:
    return objectives({"gold": StageLatency(counts=counts)}, ObjectiveSettings(), NOW)["gold"]


def alarmed(objective: Objective) -> latency.Rule | None:
    return objective.alarm.rule if objective.alarm else None


@pytest.mark.parametrize(
    ("late", "since", "rule"),
    [
        (0.80, timedelta(hours=1), FAST),  # 16 times
        (0.70, timedelta(hours=1), None),  # 14 times
        (0.35, timedelta(hours=6), SLOW),  # 7 times
        (0.25, timedelta(hours=6), None),  # 5 times
        (0.06, timedelta(days=3), SLOWEST),
        (0.04, timedelta(days=3), None),
    ],
)
def test_each_rule_alarms_above_its_burn_rate(late: float, since: timedelta, rule: latency.Rule | None) -> None:
    before = slots(0, timedelta(days=3), since) if since < timedelta(days=3) else ()
    assert alarmed(gold(*before, *slots(late, since))) == rule


def test_the_alarm_ends_when_the_short_window_is_good_or_empty() -> None:
    outage = (*slots(0, timedelta(days=3), timedelta(hours=1)), *slots(1, timedelta(hours=1), timedelta(minutes=40)))
    assert alarmed(gold(*outage)) is None  # idle since then
    assert alarmed(gold(*outage, *slots(0, timedelta(minutes=40)))) is None


def test_an_idle_pipeline_burns_nothing() -> None:
    idle = gold()
    assert [burn.long for burn in idle.burns] == [None, None, None]
    assert idle.alarm is None
    assert idle.line == "burn rate unknown"


def test_few_records_do_not_alarm() -> None:
    assert alarmed(gold(*slots(1, timedelta(minutes=30), records=33))) is None
    assert alarmed(gold(*slots(1, timedelta(minutes=30), records=34))) == FAST


def test_the_objective_for_landing_allows_one_percent() -> None:
    stage = StageLatency(counts=slots(0.2, timedelta(hours=1)))
    known = objectives({"landed": stage, "gold": stage, "silver": stage}, ObjectiveSettings(), NOW)
    assert {name: alarmed(objective) for name, objective in known.items()} == {"landed": FAST, "gold": SLOWEST}


def test_the_alert_names_share_burn_rates_and_last_build() -> None:
    stage = StageLatency(counts=slots(0.8, timedelta(hours=1)))
    late = added(stage, NOW - timedelta(minutes=5), {1500: 100}, 1200)
    known = objectives({"gold": late}, ObjectiveSettings(), NOW)
    measured = replace(EVERYTHING, layers=replace(LAYERS, latency=latency.LatencyMeasurement(known)))
    limits, _ = in_force(None)
    verdict = next(v for v in verdicts(measured, {}, limits) if v.condition == "latency_objective")
    assert (verdict.outcome, verdict.value) == ("breached", "1 objective")
    assert verdict.subjects is not None
    subject = verdict.subjects["gold"]
    assert subject.began_at == NOW - timedelta(hours=1)
    assert subject.line == (
        "81.1 % of 1,900 records of 60 min took longer than 20 min (5 % may); burn rate 16.2 over 60 min, "
        "16.2 over 6 h, 16.2 over 3 d; 0% of the 3 d error budget left; alarms above 14.4; last build p95 25 min, "
        "maximum 25 min"
    )


def test_before_any_measurement_nothing_is_known() -> None:
    measured = replace(EVERYTHING, layers=replace(LAYERS, latency=latency.LatencyMeasurement()))
    limits, _ = in_force(None)
    verdict = next(v for v in verdicts(measured, {}, limits) if v.condition == "latency_objective")
    assert verdict.outcome == "unknown"
    names = {datum.metric for datum in numbers(measured, {})}
    assert not any(name.startswith("LatencyTo") or name == "BurningObjectives" for name in names)


@pytest.mark.servers
def test_a_build_is_published_once(bucket: str) -> None:
    s3, storage, settings = boto3.client("s3"), StorageSettings(bucket=bucket), ObjectiveSettings()

    def taken(stages: dict[Stage, StageLatency], now: datetime = NOW) -> dict[Stage, list[datetime]]:
        measured = latency.measure(s3, storage, settings, stages, now)
        return {stage: [build.at for build in builds] for stage, builds in measured.builds.items()}

    first = BuildLatency(NOW - timedelta(minutes=2), ((30, 5),))
    second = BuildLatency(NOW, ((20, 5),))
    assert taken({"gold": StageLatency(builds=(first,))}) == {"gold": [first.at]}
    assert taken({"gold": StageLatency(builds=(first,))}) == {}
    both = StageLatency(builds=(first, second))
    assert taken({"gold": both, "landed": StageLatency(builds=(first,))}) == {"gold": [NOW], "landed": [first.at]}
    assert taken({}) == {}
    s3.put_object(Bucket=bucket, Key="state/latency_published.json", Body=b"{")
    assert taken({"gold": both}) == {}
    third = replace(both, builds=(*both.builds, BuildLatency(NOW + timedelta(minutes=5), ((1, 1),))))
    assert taken({"gold": third}, NOW + timedelta(minutes=5)) == {"gold": [NOW + timedelta(minutes=5)]}
