from __future__ import annotations

from dataclasses import replace

import pytest

from include.catalogue import CONDITIONS
from include.monitoring.page import flow
from include.monitoring.page.flow import Stage
from include.monitoring.page.health import PipelineHealth
from include.state.dbt_tests import FailingTest
from include.state.judged import Judged
from tests.unit.monitoring.page.states import MINUTE, NOW, alert, health, layer, trends


def stages(seen: PipelineHealth, known: bool = True) -> dict[str, Stage]:
    return {stage.name: stage for stage in flow.stages(seen, trends(), known)}


def states(seen: PipelineHealth, known: bool = True) -> list[str]:
    return [stage.state for stage in stages(seen, known).values()]


def test_each_stage_of_a_healthy_pipeline_has_its_number() -> None:
    shown = stages(health())
    assert set(states(health())) == {"ok"}
    assert shown["Producer"].value == shown["Consumer"].value == "3.0 /s"
    assert shown["Kafka"].value == "3 waiting"
    assert shown["S3"].value == "100 files/h"
    assert shown["Gold"].value == "60 s old"
    assert shown["Gold"].facts == ("1,000 rows", "24 of 24 tests pass")


def test_a_dead_consumer_is_at_fault_and_the_others_suffer() -> None:
    seen = health(alert("consumer_stalled"), alert("kafka_lag", 5, cause="consumer_stalled"))
    assert states(seen) == ["ok", "suffers", "fault", "suffers", "suffers", "suffers", "suffers"]
    shown = stages(seen)
    assert shown["Kafka"].reason == "Kafka lag is high, because: The consumer group is gone or stalled"
    assert shown["Gold"].reason == "waits for Consumer"


def test_a_failed_test_is_the_fault_of_its_layer() -> None:
    failing = FailingTest("price_in_range", "error", 4, "Got 4 results")
    seen = health(alert("dbt_tests:price_in_range"))
    broken = replace(seen, layers=(seen.layers[0], layer("silver", failing=(failing,)), seen.layers[2]))
    assert states(broken)[4:] == ["ok", "fault", "suffers"]


def test_dead_letters_hold_nothing_back() -> None:
    assert states(health(alert("dead_letters"))) == ["ok", "ok", "fault", "ok", "ok", "ok", "ok"]


def test_a_warning_is_no_fault() -> None:
    assert states(health(alert("kafka_lag", severity="warning")))[1] == "warning"


def test_nothing_is_called_well_without_recent_verdicts() -> None:
    seen = health(alert("consumer_stalled"))
    assert set(states(seen, known=False)) == {"unknown"}
    assert stages(seen, known=False)["Consumer"].reason == "last known: The consumer group is gone or stalled"


def test_a_stage_whose_conditions_are_all_unknown_is_unknown() -> None:
    reason = Judged("unknown", "unknown, objects in S3 could not be read")
    seen = health(upload_errors=reason, slow_uploads=reason)
    assert stages(seen)["S3"].state == "unknown"
    assert stages(seen)["S3"].reason == reason.value


def test_a_number_that_is_not_known_is_not_zero() -> None:
    shown = {stage.name: stage for stage in flow.stages(replace(health(), lag=None, layers=()), None, True)}
    assert {shown[name].value for name in ("Producer", "Kafka", "Consumer", "S3", "Gold")} == {"unknown"}
    assert {stage.state for stage in shown.values()} == {"unknown"}


def test_a_layer_that_was_never_built_is_unknown() -> None:
    seen = health()
    bronze = replace(seen.layers[0], state=None, age=None)
    assert stages(replace(seen, layers=(bronze, *seen.layers[1:])))["Bronze"].value == "never built"


def test_every_condition_of_the_flow_is_one_of_the_catalogue() -> None:
    patterns = {pattern for patterns in flow.ALERTS.values() for pattern in patterns}
    named = {pattern.partition(":")[0].rstrip("*") for pattern in patterns} | flow.HOLD_BACK
    assert named <= CONDITIONS.keys()


@pytest.mark.parametrize(("value", "text"), [(None, "unknown"), (0.0, "0.0 /s"), (3.04, "3.0 /s"), (0.5, "30.0 /min")])
def test_a_slow_rate_is_by_the_minute(value: float | None, text: str) -> None:
    assert flow.rate(value) == text


def test_an_old_number_of_cloudwatch_is_not_the_present_one() -> None:
    known = trends()
    old = replace_last(known.values["ObjectsLastHour.Average"], 5)
    assert flow.newest(known, "ObjectsLastHour.Average") == 100
    assert (
        flow.newest(
            type(known)("1h", NOW - 60 * MINUTE, NOW, 300, {"ObjectsLastHour.Average": old}), "ObjectsLastHour.Average"
        )
        is None
    )


def replace_last(values: object, count: int) -> list[float | None]:
    return [*list(values)[:-count], *[None] * count]  # type: ignore[call-overload]
