"""The alert state under concurrent writers, on a real S3 endpoint with conditional writes."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import NO_ALERTS, AlertState, Notice, OpenAlert
from include.monitoring.alerts.store import S3AlertStore, update
from include.settings import StorageSettings
from include.state import json_object

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)

pytestmark = pytest.mark.servers


@pytest.fixture
def store(bucket: str) -> S3AlertStore:
    return S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket))


def raise_alert(store: S3AlertStore, key: str) -> list[Notice]:
    alert = OpenAlert(key, "task_failed", "error", key, NOW, NOW)
    return update(store, lambda state: transitions.raise_alerts(state, [alert], NOW, timedelta(hours=6)))


def test_an_unchanged_state_is_not_written(store: S3AlertStore) -> None:
    assert update(store, lambda state: (state, 7)) == 7
    assert store.load() == (NO_ALERTS, None)


def test_concurrent_writers_make_one_notice_and_lose_no_alert(store: S3AlertStore) -> None:
    keys = ["task_failed:d/a", "task_failed:d/b", "task_failed:d/a", "task_failed:d/a"]
    with ThreadPoolExecutor(4) as pool:
        notices = list(pool.map(lambda key: raise_alert(store, key), keys))
    state, _ = store.load()
    assert sorted(state.open) == ["task_failed:d/a", "task_failed:d/b"]
    assert sum(len(new) for new in notices) == len(state.outbox) == 2


def test_only_one_of_two_senders_gets_a_notice(store: S3AlertStore) -> None:
    raise_alert(store, "task_failed:d/a")
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: update(store, lambda state: transitions.claim(state, NOW)), range(4)))
    assert sum(len(claimed) for claimed in claims) == 1


def test_a_writer_that_never_succeeds_is_an_error(store: S3AlertStore) -> None:
    writes = itertools.count()  # each write needs other content: the same content would have the same ETag

    def interfere(state: AlertState) -> tuple[AlertState, None]:
        json_object.write(store.s3, store.storage.bucket, store.key, {"open": {}, "outbox": [], "n": next(writes)})
        return AlertState({"x": OpenAlert("x", "task_failed", "error", "x", NOW, NOW)}, ()), None

    with pytest.raises(json_object.StateChangedError, match=r"alerts\.json was changed by another writer"):
        update(store, interfere)


@pytest.mark.parametrize("body", [b"nonsense", b'{"open": 1, "outbox": []}', b"{}"])
def test_a_broken_state_is_named(store: S3AlertStore, body: bytes) -> None:
    store.s3.put_object(Bucket=store.storage.bucket, Key=store.key, Body=body)
    with pytest.raises(json_object.StateUnreadableError, match=r"state/alerts\.json"):
        store.load()


def test_attempts_are_enough_for_the_monitor_and_a_dozen_callbacks(store: S3AlertStore) -> None:
    with ThreadPoolExecutor(13) as pool:
        list(pool.map(lambda index: raise_alert(store, f"task_failed:d/t{index}"), range(39)))
    assert len(store.load()[0].open) == 39
