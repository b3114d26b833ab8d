"""What the page knows of its sources, and how often it asks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn

import boto3
import pytest
from botocore.config import Config

from include.monitoring.page import read_model, report
from include.monitoring.page.read_model import PRICES, RUNS_OF_TESTS, Reader, Sources
from include.monitoring.page.render import Links
from include.settings import StorageSettings, load
from include.state import judged, kpis, test_runs
from include.state.judged import JudgedConditions
from include.state.kpis import Kpis
from tests.unit.monitoring.page.states import MINUTE, NOW, RUN, WELL, coin, runs_of

pytestmark = pytest.mark.servers


def connect() -> Any:
    return boto3.client("s3")


def no_server() -> Any:
    return boto3.client("s3", endpoint_url="http://127.0.0.1:1", config=Config(retries={"total_max_attempts": 1}))


@dataclass
class Watched:
    """The sources of a test: S3 can go away, and the calls of both are counted."""

    s3: Callable[[], Any] = connect
    at: datetime = NOW
    asked: list[str] = field(default_factory=list)

    def client(self) -> Any:
        self.asked.append("s3")
        return self.s3()

    def cloudwatch(self) -> NoReturn:
        self.asked.append("cloudwatch")
        raise ValueError("CloudWatch is away")

    def sources(self) -> Sources:
        return Sources(load(), self.client, self.cloudwatch, lambda: None, lambda: self.at)


@pytest.fixture
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("S3_BUCKET", bucket)
    stored = StorageSettings(bucket=bucket)
    s3 = connect()
    kpis.write(s3, stored, Kpis(NOW - MINUTE, (coin(),), RUN))
    test_runs.add(s3, stored, "dag.gold", {"id": runs_of("a", "pf")}, NOW)
    judged.write(s3, stored, JudgedConditions(NOW - MINUTE, WELL))
    return stored


def test_the_parts_are_those_that_are_stored(storage: StorageSettings) -> None:
    state = Watched().sources().state()
    assert state.kpis is not None
    assert [one.symbol for one in state.kpis.coins] == ["BTC"]
    assert state.tests is not None
    assert [test.name for test in state.tests] == ["a"]
    assert (list(state.past or ()), state.silences, state.away_since) == ([], {}, None)
    assert state.health.faults == {}


def test_a_broken_part_is_a_fault_and_hides_no_other(storage: StorageSettings) -> None:
    connect().put_object(Bucket=storage.bucket, Key=kpis.key(storage), Body=b"{")
    connect().put_object(Bucket=storage.bucket, Key=test_runs.key(storage, "dag.silver"), Body=b"{")
    state = Watched().sources().state()
    assert set(state.health.faults) == {PRICES, RUNS_OF_TESTS}
    assert "kpis.json is not readable" in state.health.faults[PRICES]
    assert state.tests is not None
    assert [test.name for test in state.tests] == ["a"]


def test_while_s3_is_away_the_page_keeps_what_it_knew(storage: StorageSettings) -> None:
    watched = Watched()
    before = watched.sources().state()
    watched.s3, watched.at = no_server, NOW + 3 * MINUTE
    away = watched.sources().state(before)
    assert away.away_since == NOW + 3 * MINUTE
    assert away.kpis == before.kpis
    assert away.health.judged == before.health.judged
    assert "EndpointConnectionError" in away.health.faults["layers"]
    watched.at = NOW + 9 * MINUTE
    assert watched.sources().state(away).away_since == NOW + 3 * MINUTE, "the first failed read counts"
    watched.s3 = connect
    assert watched.sources().state(away).away_since is None


def test_s3_that_was_never_read_is_away_since_now(storage: StorageSettings) -> None:
    assert Watched(s3=no_server).sources().state().away_since == NOW


def test_many_pages_ask_each_source_once(storage: StorageSettings) -> None:
    watched = Watched()
    reader = Reader(watched.sources())
    models = [reader.read("24h") for _ in range(10)]
    once = Watched()
    once.sources().state()
    assert watched.asked.count("s3") == once.asked.count("s3")
    assert watched.asked.count("cloudwatch") == 1
    assert {model.trends.fault for model in models} == {"ValueError: CloudWatch is away"}


def test_a_client_is_opened_once_and_again_after_a_fault(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_model, "STATE_SECONDS", 0)
    watched = Watched()
    reader = Reader(watched.sources())
    for _ in range(3):
        reader.read("24h")
    assert watched.asked.count("s3") == 1
    connect().put_object(Bucket=storage.bucket, Key=kpis.key(storage), Body=b"{")
    for _ in range(3):
        reader.read("24h")
    assert watched.asked.count("s3") == 3


def test_the_ages_are_those_of_the_reader(storage: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_model, "STATE_SECONDS", 1e9)
    watched = Watched()
    reader = Reader(watched.sources())
    reader.read("24h")
    watched.at = NOW + timedelta(seconds=7)
    assert reader.read("24h").state.health.at == NOW + timedelta(seconds=7)


def test_a_report_is_written_with_what_is_known(storage: StorageSettings) -> None:
    links = Links("http://runbooks.test/", "http://airflow.test")
    html = report.make(Watched().sources(), links)
    address = report.write(connect(), storage, html, NOW)
    assert address == f"s3://{storage.bucket}/state/report/2026-11-30.html"
    stored = connect().get_object(Bucket=storage.bucket, Key="state/report/2026-11-30.html")
    assert stored["ContentType"] == "text/html; charset=utf-8"
    assert stored["Body"].read().decode() == html
    assert "$64,123.12" in html
    assert "CloudWatch is away" in html
