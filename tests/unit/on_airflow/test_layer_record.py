"""The task that ends a layer records it: what it writes, and when its asset is updated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import msgspec
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.catalogue import LAYERS
from include.on_airflow import connections, layer_record, run_parameters
from include.on_airflow.callbacks import TEST_RESULTS
from include.settings import StorageSettings
from include.state import layer_state, partial_build
from include.state.dbt_tests import DbtTests
from include.transform import gate, kpi_query, layer_query
from include.transform.inline_query import InlineQueryError
from include.transform.layer_query import Arrivals, LayerCount

pytestmark = pytest.mark.servers

NEWEST = datetime(2026, 11, 25, 12, tzinfo=UTC)
RAW, LETTERS = "bronze.crypto_raw_model_build", "bronze.crypto_dead_letter_model_build"
STAGE, QUARANTINE = "silver.crypto_stage_model_build", "silver.crypto_quarantine_model_build"
ORDER = [RAW, LETTERS, STAGE, QUARANTINE, "gold.crypto_curated_model_build"]
NONE = Arrivals(None, rebuilt=False, times={})
PASSED, FAILED = DbtTests(2, 0, 0, ()), DbtTests(1, 0, 1, ())


@pytest.fixture
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(layer_query, "count", lambda *_, **__: LayerCount(7, NEWEST, None, None, NONE))
    monkeypatch.setattr(kpi_query, "record", lambda *_: None)
    return StorageSettings(bucket=bucket)


def context(task_id: str, results: Mapping[str, DbtTests], *, attempt: int = 2, **params: Any) -> dict[str, Any]:
    """The context of a task at its `attempt` of two; `results` are the tests of the tasks that ran."""
    pushed = {(task, TEST_RESULTS): msgspec.to_builtins(tests) for task, tests in results.items()}
    pushed |= {("new_data", "seen"): {"0": "key"}, ("new_data", "offered"): {"counts": {"hour": 3}}}
    pushed |= {("new_data", run_parameters.CHOSEN): [f"model.lake.{name}" for name in (params["select"] or "").split()]}

    def pull(task_ids: Any, key: str) -> Any:
        return [pushed.get((task, key)) for task in task_ids] if isinstance(task_ids, list) else pushed[task_ids, key]

    later = ORDER[ORDER.index(task_id) + 1 :][:1]
    task = SimpleNamespace(downstream_task_ids=set(later), outlets=["asset"])
    ti = SimpleNamespace(task_id=task_id, task=task, try_number=attempt, max_tries=1, xcom_pull=pull)
    events = {layer_record.asset(layer): SimpleNamespace(extra={}) for layer in LAYERS}
    run = SimpleNamespace(dag_id="crypto_transform", run_id="r")
    return {
        "ti": ti,
        "dag_run": run,
        "params": params,
        "dag": SimpleNamespace(task_ids=ORDER),
        "outlet_events": events,
    }


def state_of(storage: StorageSettings, layer: Any) -> layer_state.LayerState | None:
    return layer_state.read(boto3.client("s3"), storage, layer)


def part_of(storage: StorageSettings, layer: Any) -> tuple[list[str], list[str]] | None:
    part = partial_build.read_all(boto3.client("s3"), storage)[layer]
    return (list(part.built), list(part.not_built)) if part else None


def test_the_last_task_records_a_complete_layer(storage: StorageSettings) -> None:
    last = context(LETTERS, {RAW: PASSED, LETTERS: PASSED}, select=None)
    layer_record.after(last, succeeded=True)
    state = state_of(storage, "bronze")
    assert state is not None
    assert (state.rows, state.tests.passed, part_of(storage, "bronze")) == (7, 4, None)
    assert gate.read_seen(boto3.client("s3"), storage) == {0: "key"}
    assert gate.read_offered(boto3.client("s3"), storage) == gate.Offered({"hour": 3})
    assert last["ti"].task.outlets == ["asset"]
    extra = last["outlet_events"][layer_record.asset("bronze")].extra
    assert extra == {
        "rows": 7,
        "newest_quote_at": "2026-11-25T12:00:00+00:00",
        "tests": {"passed": 4, "warned": 0, "failed": 0},
        "latency_p95_seconds": {},  # the first build begins the measurement
    }


def test_an_earlier_task_leaves_the_record_to_the_last(storage: StorageSettings) -> None:
    layer_record.after(context(RAW, {RAW: PASSED}, select=None), succeeded=True)
    assert state_of(storage, "bronze") is None


@pytest.mark.parametrize(("attempt", "recorded"), [(1, False), (2, True)])
def test_a_task_that_failed_for_good_records_its_layer(storage: StorageSettings, attempt: int, recorded: bool) -> None:
    layer_record.after(context(RAW, {RAW: FAILED}, attempt=attempt, select=None), succeeded=False)
    state = state_of(storage, "bronze")
    assert (state is not None) == recorded
    assert part_of(storage, "bronze") == ((["crypto_raw"], ["crypto_dead_letter"]) if recorded else None)
    assert gate.read_seen(boto3.client("s3"), storage) == {}
    if state:
        assert state.tests.failed == 1


def test_a_failed_test_of_the_last_task_stores_no_offer(storage: StorageSettings) -> None:
    layer_record.after(context(LETTERS, {RAW: PASSED, LETTERS: FAILED}, select=None), succeeded=False)
    state = state_of(storage, "bronze")
    assert state is not None
    assert (state.tests.passed, state.tests.failed) == (3, 1)
    assert gate.read_seen(boto3.client("s3"), storage) == {}


def test_a_selection_of_a_part_updates_no_asset(storage: StorageSettings) -> None:
    last = context(QUARANTINE, {QUARANTINE: PASSED}, select="crypto_quarantine")
    layer_record.after(last, succeeded=True)
    assert part_of(storage, "silver") == (["crypto_quarantine"], ["crypto_checked", "crypto_stage"])
    assert (state_of(storage, "silver"), last["ti"].task.outlets) == (None, [])


def test_a_selection_of_views_is_a_part_without_their_table(storage: StorageSettings) -> None:
    gold = "gold.crypto_curated_model_build"
    layer_record.after(context(gold, {gold: PASSED}, select="kpi_daily"), succeeded=True)
    others = ["crypto_curated", "kpi_correlation", "kpi_data_quality", "kpi_latest_price"]
    assert part_of(storage, "gold") == (["kpi_daily"], others)


def test_a_last_task_outside_the_selection_records_the_part(storage: StorageSettings) -> None:
    operator = SimpleNamespace(select="fqn:q", extra_context={"dbt_node_config": {"unique_id": "model.lake.q"}})
    with pytest.raises(AirflowSkipException):
        layer_record.apply_parameters(context(QUARANTINE, {STAGE: PASSED}, select="crypto_stage"), operator)
    assert part_of(storage, "silver") == (["crypto_stage"], ["crypto_checked", "crypto_quarantine"])


def test_a_selected_whole_layer_is_recorded_without_the_offer(storage: StorageSettings) -> None:
    both = {RAW: PASSED, LETTERS: PASSED}
    layer_record.after(context(LETTERS, both, select="crypto_raw crypto_dead_letter"), succeeded=True)
    assert state_of(storage, "bronze") is not None
    assert gate.read_seen(boto3.client("s3"), storage) == {}


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_layer_that_cannot_be_counted_fails_only_a_success(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch, succeeded: bool
) -> None:
    """After a failure of dbt the task ends with dbt's error."""

    def broken(*_: object, **__: object) -> LayerCount:
        raise InlineQueryError("no such table")

    monkeypatch.setattr(layer_query, "count", broken)
    last = context(LETTERS, {RAW: PASSED, LETTERS: PASSED}, select=None)
    if succeeded:
        with pytest.raises(InlineQueryError):
            layer_record.after(last, succeeded=True)
    else:
        layer_record.after(last, succeeded=False)
    assert state_of(storage, "bronze") is None
