"""State that version 0.1.0 wrote is read by this version, and written back with the same fields.

Version 0.1.0 (commit d6339dd) wrote the files under `fixtures/`. They must never be generated again: files of a newer
version would prove nothing. A change that makes one of these tests fail needs a migration, not another fixture.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import Variable

from include.monitoring.alerts import mail, transitions
from include.monitoring.alerts.model import OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.checks import judge, lag_window
from include.monitoring.checks.lag import Sample
from include.monitoring.checks.lag_window import LagWindow
from include.monitoring.page.health import collect
from include.on_airflow.fallback_store import VariableAlertStore, move_back
from include.state import layer_state, task_tests
from include.state.dbt_tests import DbtTests, FailingTest
from include.state.layer_state import DagRunRef, LayerState
from include.state.task_tests import TaskTests

# The names of this version. After a change of names only names change in this file, never a value.
from include.transform import gate, run_results, test_history
from tests.compatibility.bucket import FIXTURES, S3, Bucket, at, fields, files, objects

# --- the alert state ----------------------------------------------------------


@pytest.fixture
def alerts(s3: Any, settings: Any) -> Any:
    return S3AlertStore(s3, settings.storage).load()[0]


RUN = "scheduled__2025-11-24T07:00:00+00:00"
AIRFLOW = "http://airflow.example.com:8080/dags"
MONITOR_RUN = f"{AIRFLOW}/pipeline_monitor/runs/scheduled__2025-11-24T"
TRANSFORM = f"{AIRFLOW}/crypto_transform/runs/scheduled__2025-11-24T07%3A00%3A00%2B00%3A00"
REMINDER = timedelta(hours=6)

OPEN = {
    "kafka_lag": OpenAlert(
        key="kafka_lag",
        condition="kafka_lag",
        severity="error",
        title="Kafka lag is high",
        since=at("2025-11-24T01:00:00.5"),
        notified_at=at("2025-11-24T07:20:00.25"),
        value="120",
        threshold="> 100, Variable monitor_thresholds",
        details=("slowest partition 120 messages, the oldest is 30 min old",),
        run_url=f"{MONITOR_RUN}01:00:00%2B00%3A00",
        raised_by="pipeline_monitor",
        task="",
        successes=None,
    ),
    "stale_silver": OpenAlert(
        key="stale_silver",
        condition="stale_silver",
        severity="warning",
        title="Silver data is old",
        since=at("2025-11-24T08:35:00.125"),
        notified_at=at("2025-11-24T08:35:00.125"),
        value="4 d",
        threshold="> 3 d, catalogue",
        details=("1,234 rows, last built 2025-11-24T07:12:00Z",),
        run_url=f"{MONITOR_RUN}08:35:00%2B00%3A00",
    ),
    "monitor_blind:Kafka": OpenAlert(
        key="monitor_blind:Kafka",
        condition="monitor_blind",
        severity="error",
        title="The monitor cannot read a source: Kafka",
        since=at("2025-11-24T07:20:00.25"),
        notified_at=at("2025-11-24T07:20:00.25"),
        value="1",
        threshold="> 0, catalogue",
        details=("KafkaUnreadableError: the broker does not answer",),
        run_url=f"{MONITOR_RUN}07:20:00%2B00%3A00",
    ),
    "dbt_tests:no_duplicate_ids_crypto_stage": OpenAlert(
        key="dbt_tests:no_duplicate_ids_crypto_stage",
        condition="dbt_tests",
        severity="error",
        title="dbt tests fail: no_duplicate_ids_crypto_stage",
        since=at("2025-11-24T07:20:00.25"),
        notified_at=at("2025-11-24T07:20:00.25"),
        value="2 in all",
        threshold="> 0, catalogue",
        details=(
            "silver (error), 3 failing rows, since 2025-11-24T06:12:00Z: Got 3 results\nsample rows:\nid=1 count=2",
        ),
        run_url=f"{MONITOR_RUN}07:20:00%2B00%3A00",
    ),
    "dbt_tests:price_in_range_crypto_stage": OpenAlert(
        key="dbt_tests:price_in_range_crypto_stage",
        condition="dbt_tests",
        severity="error",
        title="dbt tests fail: price_in_range_crypto_stage",
        since=at("2025-11-24T07:20:00.25"),
        notified_at=at("2025-11-24T07:20:00.25"),
        value="2 in all",
        threshold="> 0, catalogue",
        details=(
            "silver (warn), 2 failing rows, since 2025-11-24T07:12:00Z: Got 2 results, configured to warn if != 0",
        ),
        run_url=f"{MONITOR_RUN}07:20:00%2B00%3A00",
    ),
    "dbt_tests:assert_gold_adds_up_to_silver": OpenAlert(
        key="dbt_tests:assert_gold_adds_up_to_silver",
        condition="dbt_tests",
        severity="error",
        title="dbt tests fail: assert_gold_adds_up_to_silver",
        since=at("2025-11-24T07:22:00.5"),
        notified_at=at("2025-11-24T07:22:00.5"),
        value="4 failing rows",
        threshold="any failing test",
        details=("Got 4 results, configured to fail if != 0", "sample rows:\nid=1 day=2025-11-23"),
        run_url=f"{TRANSFORM}/tasks/cross_layer_tests",
        raised_by="crypto_transform",
        task="crypto_transform/cross_layer_tests",
        successes=None,
    ),
    "task_failed:crypto_transform/bronze.crypto_raw": OpenAlert(
        key="task_failed:crypto_transform/bronze.crypto_raw",
        condition="task_failed",
        severity="error",
        title="A task failed: crypto_transform / bronze.crypto_raw",
        since=at("2025-11-24T07:21:00.75"),
        notified_at=at("2025-11-24T07:21:00.75"),
        value="failed in attempt 3",
        threshold="any failure after the retries",
        details=("RuntimeError: dbt: Runtime Error\n  no space left on device",),
        run_url=f"{TRANSFORM}/tasks/bronze.crypto_raw",
        raised_by="crypto_transform",
        task="crypto_transform/bronze.crypto_raw",
        successes=41,
    ),
    "run_late:crypto_transform": OpenAlert(
        key="run_late:crypto_transform",
        condition="run_late",
        severity="error",
        title="A run takes too long: crypto_transform",
        since=at("2025-11-24T08:30:02.25"),
        notified_at=at("2025-11-24T08:30:02.25"),
        value="running for 90 min",
        threshold="not ended 90 min after it was queued",
        details=("run scheduled__2025-11-24T07:00:00+00:00",),
        run_url=TRANSFORM,
        raised_by="crypto_transform",
        task="crypto_transform/look_for_new_data",
        successes=17,
        run="crypto_transform/scheduled__2025-11-24T07:00:00+00:00",
    ),
}

REFUSED = "SMTPRecipientsRefused: {'oncall@example.com': (550, b'no such user')}"
DISCONNECTED = "SMTPServerDisconnected: Connection unexpectedly closed"
RUN_07_20, CLAIM = at("2025-11-24T07:20:00.25"), at("2025-11-24T08:32:03")
RUN_08_35 = at("2025-11-24T08:35:00.125")
IN_CLOUDWATCH, LATE = "monitor_blind:consumer metrics in CloudWatch", "run_late:crypto_transform"
BRONZE, GOLD = "task_failed:crypto_transform/bronze.crypto_raw", "dbt_tests:assert_gold_adds_up_to_silver"
OUTBOX = [  # id, kind, key of the alert, at, attempts, claimed until, last error
    ("fe6afbdbb18ea8f1", "reminder", "kafka_lag", RUN_07_20, 2, None, REFUSED),
    ("ce7a2539b837a597", "recovery", "slow_uploads", RUN_07_20, 2, None, REFUSED),
    ("fa1566b1fc301def", "start", "dbt_tests:price_in_range_crypto_stage", RUN_07_20, 2, CLAIM, DISCONNECTED),
    ("3f3bda77af1171ef", "start", "dbt_tests:no_duplicate_ids_crypto_stage", RUN_07_20, 2, CLAIM, DISCONNECTED),
    ("665799af210c9435", "start", "monitor_blind:Kafka", RUN_07_20, 2, CLAIM, DISCONNECTED),
    ("18e6af6129c8defb", "start", IN_CLOUDWATCH, RUN_07_20, 2, CLAIM, DISCONNECTED),
    ("c865d93b361d889c", "start", BRONZE, at("2025-11-24T07:21:00.75"), 1, CLAIM, ""),
    ("59c8f556692cf259", "start", GOLD, at("2025-11-24T07:22:00.5"), 1, CLAIM, ""),
    ("fbfa124472e3dca8", "start", LATE, at("2025-11-24T08:30:02.25"), 1, CLAIM, ""),
    ("fa3f8fee8cbbe43c", "start", "stale_silver", RUN_08_35, 0, None, ""),
    ("65ec427129037dbd", "recovery", IN_CLOUDWATCH, RUN_08_35, 0, None, ""),
]


@pytest.mark.parametrize("key", OPEN)
def test_an_open_alert_is_read(alerts: Any, key: str) -> None:
    assert alerts.open[key] == OPEN[key]


def test_no_open_alert_is_added_or_left_out(alerts: Any) -> None:
    assert set(alerts.open) == set(OPEN)


def test_the_notices_of_the_outbox_are_read_in_their_order(alerts: Any) -> None:
    assert [
        (notice.id, notice.kind, notice.alert.key, notice.at, notice.attempts, notice.claimed_until, notice.last_error)
        for notice in alerts.outbox
    ] == OUTBOX


def test_a_notice_keeps_the_alert_as_it_was_when_the_notice_was_made(alerts: Any) -> None:
    notices = {notice.id: notice.alert for notice in alerts.outbox}
    assert notices["fa3f8fee8cbbe43c"] == OPEN["stale_silver"]
    assert notices["665799af210c9435"].value == "2 in all"  # the open alert has the value 1 since then
    assert notices["fbfa124472e3dca8"].successes is None
    assert notices["ce7a2539b837a597"] == OpenAlert(
        key="slow_uploads",
        condition="slow_uploads",
        severity="error",
        title="Uploads to S3 are slow",
        since=at("2025-11-24T01:00:00.5"),
        notified_at=at("2025-11-24T01:00:00.5"),
        value="47 s",
        threshold="> 30 s, catalogue",
        run_url=f"{MONITOR_RUN}01:00:00%2B00%3A00",
    )


def test_the_alert_state_is_written_back_with_the_same_fields(alerts: Any, settings: Any) -> None:
    empty = Bucket()
    S3AlertStore(S3(empty), settings.storage).save(alerts, None)  # type: ignore[arg-type]
    assert fields(objects(empty)["state/alerts.json"]) == fields(files("plain")["state/alerts.json"])


def test_only_notices_that_no_process_is_sending_are_claimed(alerts: Any) -> None:
    _, claimed = transitions.claim(alerts, at("2025-11-24T08:32:00"))
    assert [notice.id for notice in claimed] == [row[0] for row in OUTBOX if row[5] is None]


def test_a_claim_that_has_ended_is_taken_over(alerts: Any) -> None:
    _, claimed = transitions.claim(alerts, at("2025-11-24T08:32:03"))
    assert [notice.id for notice in claimed] == [row[0] for row in OUTBOX]


def test_notices_that_were_refused_count_as_undelivered(alerts: Any) -> None:
    undelivered = transitions.undelivered(alerts, at("2025-11-24T08:32:00"))
    assert [notice.id for notice in undelivered] == ["fe6afbdbb18ea8f1", "ce7a2539b837a597"]


def test_a_mail_names_each_alert_of_the_outbox(alerts: Any, settings: Any) -> None:
    message = mail.render(alerts.outbox, settings.alert, "dev")
    assert message.subject == (
        "[crypto-lakehouse dev] 8 new, 1 still open, 2 over: error: dbt tests fail: price_in_range_crypto_stage, ..."
    )
    for notice in alerts.outbox:
        assert f"{notice.alert.severity}: {notice.alert.title}\n" in message.text
        assert notice.alert.run_url in message.text
    for words in ("47 s", "> 100, Variable monitor_thresholds", "2025-11-24T01:00:00Z (6 h 20 min)", "task_failed.md"):
        assert words in message.text


def verdict(outcome: Any, condition: str) -> Any:
    return judge.Verdict(condition=condition, outcome=outcome, value="0", threshold="> 100", details=(), subjects=None)


def test_an_alert_that_goes_on_is_not_mailed_a_second_time(alerts: Any) -> None:
    now = at("2025-11-24T08:40:00")
    after, new = transitions.advance(alerts, [verdict("breached", "kafka_lag")], now, REMINDER)
    assert new == []
    assert after.open["kafka_lag"].since == at("2025-11-24T01:00:00.5")


def test_an_alert_that_is_over_makes_a_notice(alerts: Any) -> None:
    after, new = transitions.advance(alerts, [verdict("ok", "kafka_lag")], at("2025-11-24T08:40:00"), REMINDER)
    assert [(notice.kind, notice.alert.key) for notice in new] == [("recovery", "kafka_lag")]
    assert set(after.open) == set(OPEN) - {"kafka_lag"}


def test_an_alert_of_a_failed_task_ends_when_the_task_succeeds(alerts: Any) -> None:
    task = "crypto_transform/bronze.crypto_raw"
    assert transitions.count_successes(alerts, {(task, ""): 41})[1] == []
    assert transitions.count_successes(alerts, {(task, ""): 42})[1] == [f"task_failed:{task}"]


@pytest.mark.parametrize(
    ("state", "successes", "ends"),
    [("running", 18, False), ("failed", 17, False), ("failed", 18, True), ("success", 17, True)],
)
def test_an_alert_of_a_late_run_ends_after_that_run(alerts: Any, state: str, successes: int, ends: bool) -> None:
    run = f"crypto_transform/{RUN}"
    _, over = transitions.count_successes(
        alerts, {("crypto_transform/look_for_new_data", run): successes}, {run: state}
    )
    assert over == (["run_late:crypto_transform"] if ends else [])


# --- the Variable that keeps the alert state while S3 cannot --------------------


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Airflow's Variables, as version 0.1.0 left them."""
    content = {file.stem: file.read_text() for file in (FIXTURES / "airflow_variables").iterdir()}

    def set_variable(key: str, value: str, description: str | None = None) -> None:
        content[key] = value

    monkeypatch.setattr(Variable, "get", lambda key, default=None: content.get(key, default))
    monkeypatch.setattr(Variable, "set", set_variable)
    monkeypatch.setattr(Variable, "delete", content.pop)
    return content


S3_AWAY = OpenAlert(
    key="monitor_blind:alert state in S3",
    condition="monitor_blind",
    severity="error",
    title="The monitor cannot read a source: alert state in S3",
    since=at("2025-11-24T09:00:00.5"),
    notified_at=at("2025-11-24T09:00:00.5"),
    value="1",
    threshold="> 0, catalogue",
    details=("An error occurred (AccessDenied) when calling the PutObject operation",),
    run_url=f"{MONITOR_RUN}09:00:00%2B00%3A00",
)


@pytest.mark.usefixtures("variables")
def test_the_alert_state_in_the_variable_is_read() -> None:
    state, _ = VariableAlertStore().load()
    assert state.open == {"monitor_blind:alert state in S3": S3_AWAY}
    (notice,) = state.outbox
    assert (notice.id, notice.kind, notice.alert) == ("53cc2aca926aac28", "start", S3_AWAY)
    assert (notice.attempts, notice.claimed_until) == (1, at("2025-11-24T09:02:01"))


def test_the_variable_is_written_back_with_the_same_fields(variables: dict[str, str]) -> None:
    before = dict(variables)
    VariableAlertStore().save(*VariableAlertStore().load())
    assert {name: fields(text.encode()) for name, text in variables.items()} == {
        name: fields(text.encode()) for name, text in before.items()
    }


def test_the_alert_state_moves_from_the_variable_to_s3(variables: dict[str, str], s3: Any, settings: Any) -> None:
    store = S3AlertStore(s3, settings.storage)
    move_back(store, at("2025-11-24T09:05:00"))
    state, _ = store.load()
    assert state.open == {**OPEN, "monitor_blind:alert state in S3": S3_AWAY}
    assert [notice.id for notice in state.outbox] == [*(row[0] for row in OUTBOX), "53cc2aca926aac28"]
    assert variables == {}


# --- layers, tests, lag window, gate ------------------------------------------


def dag_run(dag_id: str) -> DagRunRef:
    return DagRunRef(dag_id=dag_id, run_id=RUN, url=f"{AIRFLOW}/{dag_id}/runs/{RUN}")


NO_DUPLICATES = FailingTest(
    name="no_duplicate_ids_crypto_stage",
    severity="error",
    failures=3,
    message="Got 3 results, configured to fail if != 0",
    since=at("2025-11-24T06:12:00.001317"),
    rows="id=1 last_updated=2025-11-23 20:15:07 count=2\nid=52 last_updated=null count=3",
)
LAYERS = {
    "bronze": LayerState(
        layer="bronze",
        model="crypto_raw",
        rows=1301,
        newest_quote_at=at("2025-11-24T07:09:58"),
        finished_at=at("2025-11-24T07:12:00.251317"),
        tests=DbtTests(passed=2, warned=0, failed=0, failing=()),
        run=dag_run("crypto_transform"),
        scanned={"crypto_raw": 69632, "crypto_dead_letter": 0},
    ),
    "silver": LayerState(
        layer="silver",
        model="crypto_stage",
        rows=1234,
        newest_quote_at=at("2025-11-24T07:09:58.5"),
        finished_at=at("2025-11-24T07:12:00.252634"),
        tests=DbtTests(
            passed=1,
            warned=1,
            failed=1,
            failing=(
                FailingTest(
                    name="price_in_range_crypto_stage",
                    severity="warn",
                    failures=2,
                    message="Got 2 results, configured to warn if != 0",
                    since=at("2025-11-24T07:12:00.252634"),
                    rows="",
                ),
                NO_DUPLICATES,
            ),
        ),
        run=dag_run("crypto_transform"),
        scanned={"crypto_stage": 50313},
    ),
    "gold": LayerState(
        layer="gold",
        model="crypto_curated",
        rows=0,
        newest_quote_at=None,
        finished_at=at("2025-11-24T07:12:00.253951"),
        tests=DbtTests(passed=0, warned=0, failed=0, failing=()),
        run=dag_run("crypto_transform"),
        scanned={},
    ),
}
TASK_TESTS = {
    "crypto_transform.cross_layer_tests": TaskTests(
        task="crypto_transform.cross_layer_tests",
        finished_at=at("2025-11-24T07:14:02.75"),
        tests=DbtTests(
            passed=1,
            warned=0,
            failed=1,
            failing=(
                FailingTest(
                    name="assert_offsets_have_no_hole",
                    severity="error",
                    failures=0,
                    message="Runtime Error in test assert_offsets_have_no_hole\n  out of memory",
                    since=at("2025-11-24T07:14:02.75"),
                    rows="",
                ),
            ),
        ),
        run=dag_run("crypto_transform"),
    ),
    "crypto_transform.reference.assets_seed": TaskTests(
        task="crypto_transform.reference.assets_seed",
        finished_at=at("2025-11-24T07:01:00"),
        tests=DbtTests(passed=1, warned=0, failed=0, failing=()),
        run=dag_run("crypto_transform"),
    ),
    "lakehouse_maintenance.test_all_rows": TaskTests(
        task="lakehouse_maintenance.test_all_rows",
        finished_at=at("2025-11-24T03:31:00.000001"),
        tests=DbtTests(
            passed=1,
            warned=1,
            failed=0,
            failing=(
                FailingTest(
                    name="price_in_range_crypto_stage",
                    severity="warn",
                    failures=2,
                    message="Got 2 results, configured to warn if != 0",
                    since=at("2025-11-24T03:31:00.000001"),
                    rows="",
                ),
            ),
        ),
        run=dag_run("lakehouse_maintenance"),
    ),
}
TIMES = [at("2025-11-24T07:00:04.112"), at("2025-11-24T07:05:04.112"), at("2025-11-24T07:10:04.112")]
WINDOW = LagWindow(
    samples={
        0: [Sample(TIMES[0], 4215, 0), Sample(TIMES[1], 4215, 5), Sample(TIMES[2], 4220, 0)],
        1: [Sample(TIMES[0], 99_999_997, 6), Sample(TIMES[1], 100_000_003, 0), Sample(TIMES[2], 100_000_003, 1)],
        2: [Sample(TIMES[0], 500, 120), Sample(TIMES[1], 500, 120), Sample(TIMES[2], 500, 120)],
    },
    unread=[
        (TIMES[0], TIMES[0]),
        (TIMES[1], at("2025-11-24T06:30:00.042")),
        (TIMES[2], at("2025-11-24T06:30:00.042")),
    ],
)
SEEN = {
    0: "crypto_data/2025/11/23/crypto_data_20-17-07_p00000_o00000000000000004214.json",
    1: "crypto_data/2025/11/24/crypto_data_00-01-00_p00001_o00000000000100000000.json",
    2: "crypto_data/2025/11/23/crypto_data_20-15-07_p00002_o00000000000000000000.json",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_state_is_read(s3: Any, settings: Any, layer: Any) -> None:
    assert layer_state.read(s3, settings.storage, layer) == LAYERS[layer]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_state_is_written_back_with_the_same_fields(s3: Any, settings: Any, layer: Any) -> None:
    empty, state = Bucket(), layer_state.read(s3, settings.storage, layer)
    assert state is not None
    layer_state.write(S3(empty), settings.storage, state)  # type: ignore[arg-type]
    key = f"state/layers/{layer}.json"
    assert fields(objects(empty)[key]) == fields(files("plain")[key])


def test_a_test_that_still_fails_keeps_its_start(s3: Any, settings: Any) -> None:
    state = LAYERS["silver"]
    failing = FailingTest(name=NO_DUPLICATES.name, severity="error", failures=9, message="Got 9 results")
    new = LayerState(
        layer="silver",
        model=state.model,
        rows=state.rows,
        newest_quote_at=state.newest_quote_at,
        finished_at=at("2025-11-24T08:12:00"),
        tests=DbtTests(passed=2, warned=0, failed=1, failing=(failing,)),
        run=state.run,
        scanned={},
    )
    written = layer_state.write(s3, settings.storage, new)
    assert written.tests.failing[0].since == NO_DUPLICATES.since


def test_the_tests_of_tasks_outside_the_layers_are_read(s3: Any, settings: Any) -> None:
    assert task_tests.read_all(s3, settings.storage) == list(TASK_TESTS.values())


@pytest.mark.parametrize("task", TASK_TESTS)
def test_the_tests_of_a_task_are_written_back_with_the_same_fields(s3: Any, settings: Any, task: str) -> None:
    (state,) = (state for state in task_tests.read_all(s3, settings.storage) if state.task == task)
    empty = Bucket()
    task_tests.write(S3(empty), settings.storage, state)  # type: ignore[arg-type]
    key = f"state/tests/{task}.json"
    assert fields(objects(empty)[key]) == fields(files("plain")[key])


def test_the_lag_window_is_read(s3: Any, settings: Any) -> None:
    assert lag_window.read(s3, settings.storage) == WINDOW


def test_the_lag_window_is_written_back_with_the_same_fields(s3: Any, settings: Any) -> None:
    empty = Bucket()
    lag_window.write(S3(empty), settings.storage, lag_window.read(s3, settings.storage))  # type: ignore[arg-type]
    assert fields(objects(empty)["state/lag_window.json"]) == fields(files("plain")["state/lag_window.json"])


def test_the_newest_keys_of_the_gate_are_read(s3: Any, settings: Any) -> None:
    assert gate.read_seen(s3, settings.storage) == SEEN


def test_the_newest_keys_of_the_gate_are_written_back_with_the_same_fields(s3: Any, settings: Any) -> None:
    empty = Bucket()
    gate.write_seen(S3(empty), settings.storage, gate.read_seen(s3, settings.storage))  # type: ignore[arg-type]
    assert fields(objects(empty)["state/transform.json"]) == fields(files("plain")["state/transform.json"])


def test_the_gate_finds_nothing_new_among_the_same_objects(s3: Any, settings: Any) -> None:
    look = gate.look(s3, settings.storage, datetime.now(UTC))
    assert (look.is_new, look.seen) == (False, SEEN)


def test_the_status_page_shows_the_state(s3: Any, settings: Any) -> None:
    page = collect(lambda: s3, settings, lambda: '{"kafka_lag": 100}', at("2025-11-24T07:12:04.112"))
    assert page.faults == {}
    assert {health.layer: health.state for health in page.layers} == LAYERS
    assert list(page.other_tests) == list(TASK_TESTS.values())
    assert page.lag is not None
    assert (page.lag.total, page.lag.oldest_age) == (121, timedelta(minutes=40, seconds=4, milliseconds=70))
    assert page.alerts is not None
    assert {alert.key: alert for alert in page.alerts} == OPEN


# --- the test history ---------------------------------------------------------

HISTORY = "test_history/2025/11/24/0d0c9b1e-5b7f-4d0e-9f4c-6a1f2b3c4d5e.json"


def test_the_same_dbt_results_make_the_same_file_of_the_test_history(settings: Any) -> None:
    empty = Bucket()
    rows = test_history.rows(run_results.read(FIXTURES / "dbt"), "crypto_transform", RUN)
    assert test_history.write(S3(empty), settings.storage, rows) == HISTORY  # type: ignore[arg-type]
    assert objects(empty) == {HISTORY: files("plain")[HISTORY]}


def test_a_line_of_the_test_history_has_these_fields() -> None:
    lines = files("plain")[HISTORY].decode().splitlines()
    assert len(lines) == 4
    assert json.loads(lines[2]) == {
        "invocation_id": "0d0c9b1e-5b7f-4d0e-9f4c-6a1f2b3c4d5e",
        "run_id": RUN,
        "dag_id": "crypto_transform",
        "executed_at": "2025-11-24T07:10:31Z",
        "layer": "silver",
        "node_id": "test.crypto_lakehouse.no_duplicate_ids_crypto_stage.1e2d3c4b5a",
        "name": "no_duplicate_ids_crypto_stage",
        "model": "crypto_stage",
        "severity": "error",
        "status": "fail",
        "failures": 3,
        "execution_seconds": 1.0,
        "message": "Got 3 results, configured to fail if != 0",
    }
