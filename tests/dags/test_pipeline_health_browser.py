"""Pipeline Health in a Chromium, in a frame like that of the Airflow UI: what a reader sees, hears and types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import axe_playwright_python
import boto3
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

from include.catalogue import CONDITIONS, LAYERS, Layer
from include.local import browser as browsers
from include.monitoring.alerts.model import AlertState, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.checks import lag_window
from include.monitoring.checks.lag import Sample
from include.monitoring.checks.lag_window import LagWindow
from include.monitoring.page import read_model
from include.settings import MonitorSettings, StorageSettings
from include.state import judged, kpis, layer_state, test_runs
from include.state.dbt_tests import DbtTests, FailingTest
from include.state.judged import Judged, JudgedConditions
from include.state.kpis import CoinKpis, Kpis
from include.state.layer_state import DagRunRef, LayerState
from include.state.test_runs import Run, TestRuns
from plugins.pipeline_health import page as plugin_page
from tests.airflow_connections import aws_connection
from tests.servers import free_port

pytestmark = pytest.mark.servers

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
PATIENCE = 120_000.0
"""Milliseconds after which a browser that does nothing is given up."""
RUN = DagRunRef("crypto_transform", "run", "http://airflow.test/run")
UI = """<!doctype html><html lang="en" class="{theme}"><head><title>Airflow</title></head>
<body style="margin: 0"><iframe title="Pipeline Health" src="/pipeline-health/" style="width: 100%; height: 900px"
sandbox="allow-scripts allow-same-origin allow-forms"></iframe></body></html>"""
"""The UI puts the page into such a frame; its theme is a class of the outer document."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Without one this fails with the commands that install one."""
    program = browsers.get()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], env={"PATH": browsers.search_path()}, timeout=PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def storage(bucket: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """A bucket with the state of a healthy pipeline."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3))
    stored = StorageSettings(bucket=bucket)
    keep_healthy(stored)
    return stored


@pytest.fixture
def address(storage: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page's app below a document like that of the UI. It reads its sources at each request."""
    monkeypatch.setattr(read_model, "STATE_SECONDS", 0)
    monkeypatch.setattr(read_model, "TREND_SECONDS", 0)
    monkeypatch.setattr(read_model, "CLIENT_SECONDS", 0)
    monkeypatch.setattr(plugin_page, "RENDERED_SECONDS", 0)
    page_app, site = plugin_page.create_app(), FastAPI()
    for route in page_app.routes:
        for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
            page_app.dependency_overrides[dependency.call] = lambda: None

    @site.get("/")
    def ui(theme: str = "light") -> HTMLResponse:
        return HTMLResponse(UI.format(theme=theme))

    @site.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    site.mount("/pipeline-health", page_app)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(site, host="127.0.0.1", port=port, log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended"
        sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """A tab of a wide screen. Afterwards: its console has no error, and no request left the host."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000}, color_scheme="light")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert told == []
    assert {url for url in asked if not url.startswith("http://127.0.0.1:")} == set()


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


PASSED = DbtTests(24, 0, 0, ())


def layer(name: Layer, tests: DbtTests = PASSED) -> LayerState:
    return LayerState(name, "crypto_x", 1_234, now() - timedelta(minutes=2), now(), tests, RUN)


def coin(symbol: str, price: float) -> CoinKpis:
    return CoinKpis(
        id=len(symbol), symbol=symbol, name=f"{symbol} coin", price=price, change_percent_1h=0.1,
        change_percent_24h=-2.5, change_percent_7d=None, change_percent_30d=None, high_price_24h=price,
        low_price_24h=price, quote_count_24h=10, volatility_percent_7d=1.0, drawdown_percent_30d=-3.0,
        last_quote_at=now(), closes_48h=(price, price * 1.01, price),
    )  # fmt: skip


def keep_healthy(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    for name in LAYERS:
        layer_state.write(s3, storage, layer(name))
    kpis.write(s3, storage, Kpis(now(), (coin("BTC", 64_123.12), coin("DOGE", 0.1234)), RUN))
    early = now() - timedelta(minutes=5)
    lag_window.write(s3, storage, LagWindow({0: [Sample(early, 1_000, 0), Sample(now(), 1_600, 7)]}, [(now(), early)]))
    judge(storage)
    passed = {"id": TestRuns("not_null_price", "gold", "crypto_x", "error", [Run(now(), "pass", 0)], "Analytics")}
    test_runs.add(s3, storage, "crypto_transform.gold.crypto_x", passed, now())
    numbers = {"SumOffsetLag": 42.0, "ObjectsLastHour": 184.0}
    settings = MonitorSettings()
    dimensions = [{"Name": "Environment", "Value": settings.environment}]
    data: Any = [
        {"MetricName": name, "Timestamp": early, "Value": value, "Dimensions": dimensions}
        for name, value in numbers.items()
    ]
    boto3.client("cloudwatch").put_metric_data(Namespace=settings.namespace, MetricData=data)


def judge(storage: StorageSettings, **different: Judged) -> None:
    well = {name: Judged("ok", "0") for name, condition in CONDITIONS.items() if condition.checked}
    judged.write(boto3.client("s3"), storage, JudgedConditions(now(), well | different))


def stop_consumer(storage: StorageSettings) -> None:
    """What the monitor leaves after the consumer was killed."""
    began = now() - timedelta(minutes=14)
    alert = OpenAlert(
        key="consumer_stalled", condition="consumer_stalled", severity="error",
        title="The consumer group is gone or stalled", since=began, notified_at=began, value="1 partition",
        threshold="> 0, catalogue", details=("partition 0: STOP",),
    )  # fmt: skip
    S3AlertStore(boto3.client("s3"), storage).save(AlertState({alert.key: alert}, ()), None)
    judge(storage, consumer_stalled=Judged("breached", "1 partition"))


def open_ui(tab: Page, address: str, theme: str = "light") -> FrameLocator:
    tab.goto(f"{address}/?theme={theme}")
    frame = tab.frame_locator("iframe")
    expect(frame.locator("h1")).to_be_visible(timeout=PATIENCE)
    return frame


def renew(tab: Page) -> None:
    """What happens each half minute, and when a reader comes back to the tab."""
    tab.frames[1].evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_the_page_shows_what_is_stored(tab: Page, address: str) -> None:
    frame = open_ui(tab, address)
    expect(frame.locator("h1")).to_contain_text(re.compile(r"All is well: gold is \d+ min old\."), timeout=PATIENCE)
    stages = frame.locator(".stage")
    waiting, age = (stages.nth(place).locator(".value").inner_text() for place in (1, 4))
    assert waiting == "7 waiting"
    assert re.fullmatch(r"\d+ min old", age)
    coins = {one.locator("h3").inner_text().split()[0]: one for one in frame.locator(".coin").all()}
    assert {symbol: one.locator(".price").inner_text() for symbol, one in coins.items()} == {
        "BTC": "$64,123.12",
        "DOGE": "$0.1234",
    }
    assert "-2.50 %" in coins["BTC"].inner_text()
    assert frame.locator("#quality summary").first.inner_text().split("\n")[-1] == "all 1 pass"
    assert frame.locator("#conditions tbody tr.ok").count() == frame.locator("#conditions tbody tr").count()


def test_the_page_follows_the_theme_of_the_ui(tab: Page, address: str) -> None:
    """The system's theme is light all the time."""
    ground = "getComputedStyle(document.body).backgroundColor"
    open_ui(tab, address, "dark")
    assert tab.frames[1].evaluate(ground) == "rgb(17, 19, 22)"
    tab.evaluate("document.documentElement.className = 'light'")
    tab.frames[1].wait_for_function(f"{ground} === 'rgb(251, 251, 250)'")


def test_a_stopped_consumer_shows_at_the_next_refresh(tab: Page, address: str, storage: StorageSettings) -> None:
    frame = open_ui(tab, address)
    stop_consumer(storage)
    renew(tab)
    expect(frame.locator("h1")).to_contain_text("The consumer group is gone or stalled, since", timeout=PATIENCE)
    states = [stage.get_attribute("class") for stage in frame.locator(".stage").all()]
    assert states == ["stage ok", "stage ok", "stage fault", *["stage suffers"] * 4]
    assert "docker exec consumer" in frame.locator(".say").inner_text()


def test_a_refresh_keeps_the_place_and_what_is_open(tab: Page, address: str, storage: StorageSettings) -> None:
    frame = open_ui(tab, address)
    frame.locator("#partitions > summary").click()
    frame.locator("#conditions").scroll_into_view_if_needed()
    before = tab.frames[1].evaluate("scrollY")
    assert before > 0
    judge(storage, kafka_lag=Judged("ok", "4,321 messages"))
    renew(tab)
    expect(frame.locator("#conditions")).to_contain_text("4,321 messages", timeout=PATIENCE)
    assert abs(tab.frames[1].evaluate("scrollY") - before) < 60, "the parts above may change their height a little"
    assert frame.locator("#partitions").get_attribute("open") is not None


def test_a_failed_test_shows_its_rows(tab: Page, address: str, storage: StorageSettings) -> None:
    s3, failing = boto3.client("s3"), FailingTest("not_null_price", "error", 4, "Got 4 results", None, "id=7 price=")
    layer_state.write(s3, storage, layer("gold", DbtTests(23, 0, 1, (failing,))))
    failed = {"id": TestRuns("not_null_price", "gold", "crypto_x", "error", [Run(now(), "fail", 4)], "Analytics")}
    test_runs.add(s3, storage, "crypto_transform.gold.crypto_x", failed, now() + timedelta(seconds=1))
    test = open_ui(tab, address).locator("li.test.fail")
    assert "fails, 4 rows" in test.inner_text()
    assert "id=7 price=" in test.locator("pre").inner_text()


def test_s3_away_is_told_with_what_was_known(tab: Page, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = open_ui(tab, address)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection("http://127.0.0.1:1"))
    renew(tab)
    expect(frame.locator("h1")).to_contain_text("the state cannot be read, since", timeout=PATIENCE)
    assert "Below is what was known at" in frame.locator(".say").inner_text()
    assert frame.locator(".stage.unknown").count() == 7
    assert frame.locator(".stage").nth(4).locator(".value").inner_text().endswith(" old")
    assert frame.locator(".price").count() == 2
    expect(frame.locator("#trends")).to_contain_text("Unknown: CloudWatch could not be read.", timeout=PATIENCE)


def test_a_broken_object_hides_no_other_part(tab: Page, address: str, storage: StorageSettings) -> None:
    boto3.client("s3").put_object(Bucket=storage.bucket, Key=kpis.key(storage), Body=b"{")
    frame = open_ui(tab, address)
    assert "Cannot be read: prices." in frame.locator("#faults").inner_text()
    assert "Unknown: the prices cannot be read." in frame.locator("#prices").inner_text()
    expect(frame.locator("h1")).to_contain_text("gold is", timeout=PATIENCE)


def test_a_chart_is_read_by_keyboard(tab: Page, address: str) -> None:
    frame = open_ui(tab, address)
    chart = frame.locator("svg.chart").first
    chart.focus()
    reading = frame.locator("figure", has=chart).locator(".reading").first
    seen = set()
    for _ in range(6):
        chart.press("ArrowLeft")
        seen.add(reading.inner_text())
    assert len(seen) == 6
    assert any(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\dZ: 42", text) for text in seen), seen
    chart.press("Home")
    assert reading.inner_text().endswith("no data")


def test_the_range_is_chosen_by_keyboard(tab: Page, address: str) -> None:
    frame = open_ui(tab, address)
    frame.get_by_role("link", name="7 d", exact=True).press("Enter")
    expect(frame.locator("[aria-current=true]")).to_have_text("7 d", timeout=PATIENCE)
    expect(frame.locator("#trends")).to_contain_text("7 d ago", timeout=PATIENCE)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(tab: Page, address: str, storage: StorageSettings, theme: str, width: int) -> None:
    stop_consumer(storage)
    tab.set_viewport_size({"width": width, "height": 1000})
    frame = open_ui(tab, address, theme)
    for summary in frame.locator("summary").all():
        summary.click()
    tab.frames[1].evaluate(AXE)
    found = tab.frames[1].evaluate("axe.run(document).then(result => result.violations)")
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
    assert tab.frames[1].evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
