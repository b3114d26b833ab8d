from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec

from include.monitoring.page import status, view
from include.monitoring.page.health import PARTS
from include.monitoring.page.view import View
from include.state.judged import Judged
from include.state.past_alerts import PastAlert
from include.state.silences import Silence
from tests.unit.monitoring.page.states import MINUTE, NOW, alert, health, model


def shown() -> View:
    return view.of(model(), "1h")


def trend(seen: View, title: str) -> view.TrendView:
    return next(one for one in seen.trends if one.title == title)


def test_a_consequence_stands_after_its_cause_although_it_is_older() -> None:
    lag, stalled = alert("kafka_lag", 20, cause="consumer_stalled"), alert("consumer_stalled", 10)
    rows = view.of(model(health(lag, stalled, alert("schema_drift", 90))), "1h").alerts
    assert rows is not None
    assert [row.alert.key for row in rows] == ["consumer_stalled", "kafka_lag", "schema_drift"]
    assert [row.cause and row.cause.key for row in rows] == [None, "consumer_stalled", None]


def test_an_alert_has_its_silence_and_one_that_ended_is_gone() -> None:
    known = {
        "kafka_lag": Silence(NOW + timedelta(hours=1), "known", "jane"),
        "stale_gold": Silence(NOW - MINUTE, "over"),
    }
    seen = view.of(model(health(alert("kafka_lag")), silences=known), "1h")
    assert seen.alerts is not None
    assert seen.alerts[0].silence == known["kafka_lag"]
    assert [name for name, _ in seen.silences] == ["kafka_lag"]


def test_open_conditions_come_first_and_ok_ones_last() -> None:
    rows = view.of(model(health(alert("stale_gold"))), "1h").conditions
    assert (rows[0].condition.name, rows[0].state, rows[-1].state) == ("stale_gold", "open", "ok")


def test_while_s3_is_away_no_condition_is_called_well() -> None:
    away = replace(health(), faults=dict.fromkeys(PARTS, "no answer"))
    seen = view.of(model(away, away_since=NOW - MINUTE), "1h")
    assert {row.state for row in seen.conditions} == {"unknown"}
    assert {row.value for row in seen.conditions} <= {"was ok: 0", "was ok"}
    assert {stage.state for stage in seen.stages} == {"unknown"}


def test_a_trend_has_the_threshold_of_its_condition() -> None:
    lag = trend(shown(), "Messages waiting")
    assert lag.threshold == "alarms > 1,000"
    assert lag.chart.threshold_y is None, "a hundred messages are far below it"
    assert trend(shown(), "Dead-letter files in an hour").chart.threshold_y is not None


def test_a_latency_has_the_line_of_its_objective() -> None:
    assert trend(shown(), "Latency to gold").threshold == "objective 95 % within 20 min"
    assert trend(shown(), "Latency to S3").chart.threshold_y is not None, "100 s are near the objective of 2 min"


def test_the_times_at_which_an_alert_was_open_are_shaded() -> None:
    past = [PastAlert("kafka_lag", "kafka_lag", "error", "lag", NOW - 40 * MINUTE, NOW - 30 * MINUTE)]
    seen = view.of(model(health(alert("kafka_lag", 10)), past=past), "1h")
    lag = trend(seen, "Messages waiting")
    assert (len(lag.chart.bands), lag.open) == (2, True)
    assert trend(seen, "Data age").chart.bands == ()


def test_scripts_get_what_the_page_shows() -> None:
    known = {"kafka_lag": Silence(NOW + timedelta(hours=1), "known")}
    seen = view.of(model(health(alert("kafka_lag")), silences=known), "1h")
    told = msgspec.json.decode(status.as_json(seen), type=status.PageStatus)
    assert told.sentence == seen.sentence.text
    assert told.state == "fault"
    assert [stage.name for stage in told.stages] == [stage.name for stage in seen.stages]
    assert told.alerts is not None
    assert (told.alerts[0].key, told.alerts[0].silenced_until) == ("kafka_lag", NOW + timedelta(hours=1))
    assert told.conditions["kafka_lag"].alarms_when == "> 1,000"
    assert told.layers["gold"].age_seconds == 60
    assert told.prices is not None
    assert told.prices["BTC"].price == 64_123.12


def test_what_is_not_known_is_null_for_scripts() -> None:
    told = status.of(view.of(model(replace(health(), alerts=None, faults={"alerts": "broken"}), kpis=None), "1h"))
    assert (told.alerts, told.prices, told.faults) == (None, None, {"alerts": "broken"})
    assert told.state == "unknown"


def test_dead_letters_are_told_by_their_parts() -> None:
    details = ("rows by class: not_json 2", "list them: python -m include.ingest replay", "no label")
    seen = view.of(model(health(dead_letters=Judged("breached", "2", details))), "1h")
    assert seen.dead_letters == (
        ("Rows by class", "not_json 2"),
        ("List them", "python -m include.ingest replay"),
        ("", "no label"),
    )
