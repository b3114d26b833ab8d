"""The page, rendered from state objects in S3. The page in a running Airflow is in tests/scheduler/test_alerts.py."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from threading import Thread
from typing import Any, NoReturn

import boto3
import pytest
from airflow.api_fastapi.core_api import security
from airflow.api_fastapi.core_api.security import get_user
from airflow.sdk.exceptions import AirflowException
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient
from msgspec.structs import replace

from include.catalogue import CONDITIONS, MONITOR_SILENT_AFTER
from include.monitoring.alerts.mail import PLACES
from include.monitoring.alerts.model import AlertState, Notice, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.checks import lag_window
from include.monitoring.checks.lag import Sample
from include.monitoring.checks.lag_window import LagWindow
from include.monitoring.checks.measurements import Measurements
from include.monitoring.checks.thresholds import in_force
from include.monitoring.checks.verdicts import SOURCE_NAMES, SOURCE_OF, verdicts
from include.monitoring.page import render, view
from include.monitoring.page.health import collect
from include.monitoring.page.read_model import ReadModel, State, TrendState
from include.monitoring.page.render import Links
from include.on_airflow import connections
from include.settings import StorageSettings, load
from include.state import json_object, judged, layer_state, partial_build, rebuild, task_tests
from include.state.dbt_tests import DbtTests, FailingTest
from include.state.judged import Judged, JudgedConditions
from include.state.layer_state import DagRunRef, LayerState
from include.state.partial_build import PartialBuild
from include.state.rebuild import Rebuild
from include.state.task_tests import TaskTests
from plugins.pipeline_health import PipelineHealthPlugin
from plugins.pipeline_health.page import Page, create_app

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALERT = OpenAlert(
    key="kafka_lag",
    condition="kafka_lag",
    severity="error",
    title="Kafka lag is <high>",
    since=NOW - timedelta(hours=3),
    notified_at=NOW,
    value="1,234",
    threshold="> 1,000, catalogue",
    run_url="javascript:alert(1)",
)


@pytest.fixture
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("S3_BUCKET", bucket)
    return StorageSettings(bucket=bucket)


def page(variable: str | None = None, at: datetime = NOW, **client: object) -> str:
    def connect() -> Any:
        return boto3.client("s3", **client)  # type: ignore[call-overload]

    return page_by(connect, lambda: variable, at)


def page_by(connect: Callable[[], Any], variable: Callable[[], str | None] = lambda: None, at: datetime = NOW) -> str:
    settings = load()
    model = ReadModel(at, State(collect(connect, settings, variable, at)), TrendState())
    return render.page(view.of(model, "24h"), Links.of(settings.alert))


def measure_kafka(storage: StorageSettings, at: datetime, oldest_age: timedelta = MINUTE, lag: int = 7) -> None:
    lag_window.write(boto3.client("s3"), storage, LagWindow({0: [Sample(at, 500, lag)]}, [(at, at - oldest_age)]))


def keep(storage: StorageSettings, *alerts: OpenAlert) -> None:
    S3AlertStore(boto3.client("s3"), storage).save(AlertState({alert.key: alert for alert in alerts}, ()), None)


def judge(storage: StorageSettings, at: datetime, **different: Judged) -> None:
    """The verdicts of a run of the monitor: all is well but for `different`."""
    well = {name: Judged("ok", "0") for name, condition in CONDITIONS.items() if condition.checked}
    judged.write(boto3.client("s3"), storage, JudgedConditions(at, well | different))


def states(html: str) -> dict[str, str]:
    """The table of conditions: state by name."""
    rows = re.findall(r'<tr class="(open|ok|unknown)">\s*<th scope="row">([^<]+)</th>', html)
    names = {condition.title: name for name, condition in CONDITIONS.items()}
    assert len(rows) == len(CONDITIONS)
    return {names[title]: state for state, title in rows}


def shows_no_open_alert(html: str) -> bool:
    """Whether the page says in green that all is well."""
    return "No alert is open." in html


ROUTES = ("/", "/?range=7d", "/status.json", "/page.css", "/page.js")


@pytest.mark.parametrize("route", ROUTES)
def test_a_user_who_is_not_logged_in_sees_nothing(route: str) -> None:
    response = TestClient(create_app()).get(route)
    assert response.status_code == 401
    assert "Pipeline" not in response.text


def test_every_route_has_the_check_of_the_user() -> None:
    """A route that is added later, too: the check belongs to the app."""
    routes: list[Any] = list(create_app().routes)
    assert {route.path for route in routes} >= {"/", "/status.json"}
    assert [route.path for route in routes if not route.dependant.dependencies] == []


@pytest.mark.parametrize("route", ROUTES)
def test_a_user_who_may_not_see_the_ui_is_refused(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Manager:
        def is_authorized_view(self, **_: object) -> bool:
            return False

    app = create_app()
    app.dependency_overrides[get_user] = lambda: "somebody"
    monkeypatch.setattr(security, "get_auth_manager", Manager)
    response = TestClient(app).get(route)
    assert response.status_code == 403
    assert "Pipeline" not in response.text


def opened_by_a_user() -> TestClient:
    """A client of the page whose every request is that of a user who may see the UI."""
    app = create_app()
    for route in app.routes:
        for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
            app.dependency_overrides[dependency.call] = lambda: None
    return TestClient(app)


def test_a_head_request_has_the_headers_of_the_page(storage: StorageSettings) -> None:
    keep(storage)
    client = opened_by_a_user()
    head, get = client.head("/"), client.get("/")
    assert (head.status_code, get.status_code) == (200, 200)
    assert head.content == b""
    assert head.headers.keys() == get.headers.keys()


def test_only_the_page_s_own_script_and_style_are_allowed(storage: StorageSettings) -> None:
    keep(storage)
    client = opened_by_a_user()
    for route in ROUTES:
        headers = client.get(route).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["style-src"] == policy["script-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'self'"
    html = client.get("/").text
    loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', html)
    assert sorted(loaded) == ["page.css", "page.js"]
    assert all(client.get(f"/{name}").status_code == 200 for name in loaded)
    assert "<style" not in html
    assert not re.search(r"<[^>]+ (style|on\w+)=", html), "the policy forbids these attributes"


def test_a_browser_that_has_the_page_is_told_so(storage: StorageSettings) -> None:
    keep(storage)
    client = opened_by_a_user()
    first = client.get("/")
    again = client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert again.content == b""
    assert client.get("/", headers={"If-None-Match": '"another"'}).status_code == 200


def test_scripts_get_the_same_as_json(storage: StorageSettings) -> None:
    measure_kafka(storage, datetime.now(UTC))
    judge(storage, datetime.now(UTC))
    keep(storage, replace(ALERT, title="Kafka lag is high"))
    status = opened_by_a_user().get("/status.json").json()
    assert status["state"] == "fault"
    assert status["sentence"].startswith("Kafka lag is high, since ")
    assert [alert["key"] for alert in status["alerts"]] == ["kafka_lag"]
    assert status["conditions"]["kafka_lag"]["state"] == "open"
    assert {stage["name"]: stage["state"] for stage in status["stages"]}["Kafka"] == "fault"


def test_mails_link_to_where_airflow_shows_the_page() -> None:
    assert PLACES["Pipeline Health"] == f"/plugin/{PipelineHealthPlugin.external_views[0]['url_route']}"


def test_the_page_is_found_below_the_base_path_of_airflow() -> None:
    """The UI puts the href into a frame's src. Only a relative address is resolved against the UI's <base>."""
    view, (app,) = PipelineHealthPlugin.external_views[0], PipelineHealthPlugin().fastapi_apps
    assert f"/{view['href']}" == f"{app['url_prefix']}/"


def test_links_work_in_the_frame_of_airflow(storage: StorageSettings) -> None:
    """The frame's sandbox forbids links to open a window or leave the frame. The page's script makes the UI do that."""
    keep(storage, replace(ALERT, run_url="http://airflow.test/r"))
    measure_kafka(storage, NOW - timedelta(hours=1))
    html = page()
    links = re.findall(r"<a [^>]*>", html)
    assert len(links) > len(CONDITIONS)
    assert all(re.search(r'target="_(top|blank)"|target="_self" data-range', link) for link in links)
    assert "outer.document.body.append(copy)" in (render.STATIC / render.SCRIPT).read_text()


def test_before_the_first_run_everything_is_unknown_with_the_remedy(storage: StorageSettings) -> None:
    html = page()
    assert html.count("never built, or its state is missing") == 3
    assert f"there is no s3://{storage.bucket}/state/layers/gold.json" in html
    assert re.search(rf'role="alert">The monitor has never measured.* s3://{storage.bucket}/state/ ', html)
    assert "Nothing is known yet: the monitor has never measured." in html
    assert "On a fresh installation unpause or trigger" in html
    assert re.search(r'Alerts</h2>\s*<p class="empty">.*Unknown', html)
    assert set(states(html).values()) == {"unknown"}
    assert "The monitor has not measured Kafka yet." in html
    assert "not landed" not in html
    assert not shows_no_open_alert(html)


def test_all_is_well_is_not_shown_without_a_measurement(storage: StorageSettings) -> None:
    keep(storage)
    html = page()
    assert not shows_no_open_alert(html)
    assert "No alert is stored, but the time of the last measurement is not known." in html
    assert f"there is no\ns3://{storage.bucket}/state/lag_window.json" in html
    assert "has never measured" not in html


def test_all_is_well_only_after_a_recent_measurement(storage: StorageSettings) -> None:
    measure_kafka(storage, NOW)
    judge(storage, NOW)
    keep(storage)
    fresh, old = page(at=NOW + MONITOR_SILENT_AFTER), page(at=NOW + timedelta(hours=3))
    assert shows_no_open_alert(fresh)
    assert "alerts.json" not in fresh
    assert not shows_no_open_alert(old)
    assert "None when the monitor last measured, 3 h ago." in old
    assert set(states(fresh).values()) == {"ok"}
    assert set(states(old).values()) == {"unknown"}


def test_an_alert_state_that_is_absent_differs_from_one_without_alerts(storage: StorageSettings) -> None:
    """The monitor writes no alert state before the first alert."""
    measure_kafka(storage, NOW)
    html = page()
    assert shows_no_open_alert(html)
    assert (
        f"There is no s3://{storage.bucket}/state/alerts.json: no alert was ever open, or the object was deleted."
        in html
    )


def test_conditions_whose_source_is_blind_are_unknown(storage: StorageSettings) -> None:
    measure_kafka(storage, NOW)
    blind = replace(ALERT, key="monitor_blind:layer states in S3", condition="monitor_blind")
    keep(storage, ALERT, blind)
    unknown = Judged("unknown", "unknown, layer states in S3 could not be read")
    judge(storage, NOW, stale_gold=unknown, dbt_tests=unknown)
    state_of = states(page())
    assert state_of["kafka_lag"] == state_of["monitor_blind"] == "open"
    assert state_of["stale_gold"] == state_of["dbt_tests"] == "unknown"
    assert state_of["consumer_stalled"] == state_of["slow_uploads"] == "ok"


def test_nothing_is_known_when_the_monitor_judged_nothing(storage: StorageSettings) -> None:
    measure_kafka(storage, NOW)
    judge(storage, NOW)
    keep(storage, replace(ALERT, key="monitor_blind:the monitor itself", condition="monitor_blind"))
    state_of = states(page())
    assert state_of.pop("monitor_blind") == "open"
    assert set(state_of.values()) == {"unknown"}


def test_a_check_that_was_skipped_so_far_is_unknown_with_its_reason(storage: StorageSettings) -> None:
    """The grid of the monitor shows it pink."""
    measure_kafka(storage, NOW)
    keep(storage)
    judge(storage, NOW, low_throughput=Judged("unknown", "the monitor has watched for 1 of 3 periods"))
    html = page()
    state_of = states(html)
    assert state_of.pop("low_throughput") == "unknown"
    assert set(state_of.values()) == {"ok"}
    assert re.search(r"unknown</td>\n<td [^>]+>the monitor has watched for 1 of 3 periods</td>", html)
    assert re.search(
        r'verdicts of the monitor\'s run <time datetime="2026-11-25T12:00:00Z" title="[^"]+">now</time>', html
    )


def test_without_verdicts_no_condition_is_called_well(storage: StorageSettings) -> None:
    """As after an upgrade, until the monitor of the new version has run."""
    measure_kafka(storage, NOW)
    keep(storage, ALERT)
    state_of = states(page())
    assert state_of.pop("kafka_lag") == "open"
    assert set(state_of.values()) == {"unknown"}


def test_a_condition_without_a_verdict_is_unknown(storage: StorageSettings) -> None:
    """As a condition that is new in this version, or a run in which the monitor judged nothing."""
    keep(storage)
    judged.write(boto3.client("s3"), storage, JudgedConditions(NOW, {"kafka_lag": Judged("ok", "3")}))
    state_of = states(page())
    assert state_of["kafka_lag"] == state_of["task_failed"] == "ok"
    assert {state_of[name] for name, condition in CONDITIONS.items() if condition.checked} == {"ok", "unknown"}


def test_a_breach_that_raises_no_alert_is_open(storage: StorageSettings) -> None:
    keep(storage)
    judge(storage, NOW, notices_undelivered=Judged("breached", "2"))
    assert states(page())["notices_undelivered"] == "open"


def test_conditions_are_unknown_when_the_alerts_cannot_be_read(storage: StorageSettings) -> None:
    measure_kafka(storage, NOW)
    judge(storage, NOW)
    json_object.write(boto3.client("s3"), storage.bucket, f"{storage.state_prefix}alerts.json", {"open": 7})
    html = page()
    assert "Cannot be read: alerts.</strong> s3://" in html
    assert set(states(html).values()) == {"unknown"}


def test_the_sources_are_those_that_the_monitor_judges_by() -> None:
    blind = verdicts(Measurements(), {}, in_force(None)[0])
    values = {verdict.condition: verdict.value for verdict in blind if verdict.condition != "monitor_blind"}
    named = {name: source for name, source in SOURCE_OF.items() if name != "monitor_silent"}
    assert values == {name: f"unknown, {SOURCE_NAMES[source]} could not be read" for name, source in named.items()}


def test_an_unknown_age_of_the_oldest_record_is_shown_as_unknown(storage: StorageSettings) -> None:
    measure_kafka(storage, NOW, oldest_age=timedelta())  # the monitor writes an unknown age as zero
    assert "7 messages not landed, age unknown;" in page()
    measure_kafka(storage, NOW, oldest_age=timedelta(), lag=0)
    assert "0 messages not landed;" in page()


def test_layers_lag_and_alerts_are_shown_and_texts_are_escaped(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    run = DagRunRef("crypto_transform", "r", "http://airflow.test/r")
    gold = LayerState(
        "gold", "crypto_curated", 1234, NOW - timedelta(hours=3), NOW - MINUTE, DbtTests(20, 1, 2, ()), run
    )
    layer_state.write(s3, storage, gold)
    older = DbtTests(70, 0, 1, (FailingTest("assert_old_rows_add_up", "error", 3, "Got 3 results"),))
    task_tests.write(s3, storage, TaskTests("lakehouse_maintenance.test_all_rows", NOW - MINUTE, older, run))
    samples = {0: [Sample(NOW - MINUTE, 500, 7)], 1: [Sample(NOW - MINUTE, 600, 3)]}
    lag_window.write(s3, storage, LagWindow(samples, [(NOW - MINUTE, NOW - 11 * MINUTE)]))
    waiting = Notice("n", "start", ALERT, NOW, attempts=1, last_error="refused")
    S3AlertStore(s3, storage).save(AlertState({ALERT.key: ALERT}, (waiting,)), None)
    html = page('{"stale_gold": 14400}')
    assert "1,234" in html
    assert "3 h old (at most 4 h)" in html
    assert "20 passed, 1 warned, 2 failed" in html
    assert re.search(r"test_all_rows</th>.*70 passed, 1 failed.*assert_old_rows_add_up, since", html, re.DOTALL)
    assert "10 messages not landed, the oldest 10 min old" in html
    assert "Kafka lag is &lt;high&gt;" in html
    assert "javascript:" not in html
    assert "no mail server has accepted yet: 1." in html
    assert "Variable monitor_thresholds" in html
    assert html.count('<time datetime="2026-11-25T11:59:00Z" title="2026-11-25T11:59:00Z">60 s ago</time>') >= 3
    assert len(re.findall("<table", html)) == len(re.findall('tabindex="0"><table', html)) == 3
    assert states(html)["notices_undelivered"] == "open"
    assert "The monitor has not read Kafka for" not in html
    assert "The monitor has not read Kafka for 24 h" in page(at=NOW + timedelta(hours=24))


def gold_state(at: datetime, run: DagRunRef) -> LayerState:
    return LayerState("gold", "crypto_curated", 10, at, at, DbtTests(1, 0, 0, ()), run)


WHOLE = DagRunRef("crypto_transform", "whole", "http://airflow.test/whole")
PART = DagRunRef("crypto_transform", "part", "http://airflow.test/part")


@pytest.mark.parametrize(
    ("state_run", "state_at", "shown"),
    [
        (
            WHOLE,
            NOW - 9 * MINUTE,
            r'a part of the layer <time datetime="2026-11-25T11:55:00Z" [^>]*>5 min ago</time>: 1 of 2 nodes',
        ),
        (PART, NOW - 5 * MINUTE, r"only a part of the layer: 1 of 2 nodes \(kpi_daily\)"),
        (WHOLE, NOW - MINUTE, ""),  # the whole layer was built since
    ],
)
def test_a_build_of_a_part_is_told(
    storage: StorageSettings, state_run: DagRunRef, state_at: datetime, shown: str
) -> None:
    s3 = boto3.client("s3")
    layer_state.write(s3, storage, gold_state(state_at, state_run))
    part = PartialBuild("gold", NOW - 5 * MINUTE, ["kpi_daily"], ["crypto_curated"], PART)
    partial_build.write(s3, storage, part)
    html = page()
    assert re.search(shown, html) if shown else "a part" not in html


@pytest.mark.parametrize(("done", "is_shown"), [(12, True), (400, False)])
def test_a_full_refresh_of_bronze_is_told_until_it_ends(storage: StorageSettings, done: int, is_shown: bool) -> None:
    s3 = boto3.client("s3")
    layer_state.write(s3, storage, replace(gold_state(NOW, WHOLE), layer="bronze", model="crypto_raw"))
    rebuild.write(s3, storage, Rebuild("crypto_raw", NOW - 3 * MINUTE, done, 400, NOW - timedelta(days=300), PART))
    html = page()
    assert bool(re.search(r"full refresh, last progress <time .*?>3 min ago</time>: 12 of 400 ", html)) == is_shown
    assert ("http://airflow.test/part" in html) == is_shown


def test_a_broken_state_of_one_layer_hides_no_other_layer(storage: StorageSettings) -> None:
    run = DagRunRef("crypto_transform", "scheduled__1", "http://airflow.test/run")
    layer_state.write(boto3.client("s3"), storage, gold_state(NOW, run))
    boto3.client("s3").put_object(Bucket=storage.bucket, Key=layer_state.key(storage, "silver"), Body=b"{}")
    html = page()
    assert "Cannot be read: layers.</strong> s3://" in html
    assert len(re.findall("unknown: s3://.*/silver.json", html)) == 1
    assert "bronze.json" in html.split("Layers</h2>")[1]
    assert "http://airflow.test/run" in html


def test_times_ahead_of_the_clock_of_the_page_are_no_negative_ages(storage: StorageSettings) -> None:
    """The objects were written while the page was made, and a quote is five minutes ahead."""
    soon = NOW + timedelta(microseconds=5670)
    keep(storage, replace(ALERT, since=soon))
    judge(storage, soon)
    measure_kafka(storage, soon, oldest_age=timedelta(seconds=-1))
    layer_state.write(boto3.client("s3"), storage, replace(gold_state(soon, WHOLE), newest_quote_at=NOW + 5 * MINUTE))
    html = page()
    assert not re.search(r"-\d[\d.]* (s|min|h)", html)
    assert ">now</time>" in html
    assert "5 min ahead of this machine" in html


def test_a_part_that_cannot_be_read_is_unknown_with_its_reason(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    json_object.write(s3, storage.bucket, lag_window.key(storage), {"samples": 7})
    html = page("{")
    assert "Cannot be read: lag.</strong> s3://" in html
    assert "Cannot be read: thresholds.</strong> Variable monitor_thresholds is not JSON" in html
    assert "not landed" not in html
    away = page(endpoint_url="http://127.0.0.1:1", config=Config(retries={"total_max_attempts": 1}))
    assert (
        "Cannot be read: layers, tests outside the layers, lag, alerts, conditions.</strong> EndpointConnectionError"
        in away
    )
    assert away.count("Unknown") >= 3


class Outline(HTMLParser):
    """The accessible parts of a page, by the rules of axe-core that such a page can break."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})
    """Elements of SVG that end themselves (`<path/>`) come to `handle_startendtag`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.path: list[str] = []
        self.mains = 0
        self.outside_main: list[str] = []
        self.headers: list[str] = []
        self.regions: list[dict[str, str | None]] = []
        self.refreshes = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.mains += tag == "main"
        self.refreshes += values.get("http-equiv") == "refresh"
        if tag == "th":
            self.headers.append("")
        if values.get("role") == "region":
            self.regions.append(values)
        if tag not in self.VOID:
            self.path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not data.strip():
            return
        if self.path[-1] == "th":
            self.headers[-1] += data
        if "body" in self.path and "main" not in self.path and "script" not in self.path:
            self.outside_main.append(data.strip())


def full_page(storage: StorageSettings) -> str:
    """The page with each of its tables."""
    s3 = boto3.client("s3")
    keep(storage, ALERT, replace(ALERT, key="stale_silver", condition="stale_silver", severity="warning"))
    judge(storage, NOW, low_throughput=Judged("unknown", "the monitor has watched for 1 of 3 periods"))
    measure_kafka(storage, NOW)
    layer_state.write(s3, storage, gold_state(NOW, WHOLE))
    task_tests.write(s3, storage, TaskTests("lakehouse_maintenance.test_all_rows", NOW, DbtTests(1, 1, 1, ()), WHOLE))
    return page()


def test_a_screen_reader_finds_the_content_and_its_parts(storage: StorageSettings) -> None:
    """axe-core's rules landmark-one-main, region, empty-table-header, landmark-unique, scrollable-region-focusable."""
    outline = Outline(full_page(storage))
    assert outline.mains == 1
    assert outline.outside_main == []
    assert len(outline.headers) > 20
    assert all(header.strip() for header in outline.headers)
    labels = [region["aria-label"] for region in outline.regions]
    assert len(labels) == len(set(labels)) == 3
    assert all(region["tabindex"] == "0" for region in outline.regions)


def test_the_page_is_never_loaded_again_under_its_reader(storage: StorageSettings) -> None:
    """axe-core's rule meta-refresh: it takes the focus and the place in the text from the reader."""
    html = full_page(storage)
    assert Outline(html).refreshes == 0
    assert "location.reload" not in (render.STATIC / render.SCRIPT).read_text()


@contextmanager
def silent_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts connections and never responds; yields its address and the connections."""
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                accepted.append(server.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        server.shutdown(socket.SHUT_RDWR)
    for connection in accepted:
        connection.close()


def test_the_page_waits_only_once_for_an_s3_that_hangs(storage: StorageSettings) -> None:
    with silent_server() as (address, accepted):
        html = page(endpoint_url=address, config=Config(read_timeout=0.3, retries={"total_max_attempts": 1}))
        assert len(accepted) == 1
    assert (
        "Cannot be read: layers, tests outside the layers, lag, alerts, conditions.</strong> ReadTimeoutError" in html
    )


def test_the_client_of_the_page_gives_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    config = connections.page_s3_client().meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)  # type: ignore[attr-defined]
    assert config.retries["total_max_attempts"] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"),
            "AccessDenied: no. S3 refuses",
        ),
        (AirflowException("the connection `aws_default` isn't defined"), "AirflowException: the connection"),
        (NotImplementedError("assume_role_method=x not expected"), "NotImplementedError: assume_role_method"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_cannot_be_used_is_a_fault(storage: StorageSettings, error: Exception, told: str) -> None:
    calls = []

    def connect() -> NoReturn:
        calls.append(1)
        raise error

    html = page_by(connect)
    assert f"Cannot be read: layers, tests outside the layers, lag, alerts, conditions.</strong> {told}" in html
    assert len(calls) == 1


def test_a_variable_that_cannot_be_read_is_a_fault(storage: StorageSettings) -> None:
    def variable() -> NoReturn:
        raise AirflowException("no database")

    html = page_by(lambda: boto3.client("s3"), variable)
    assert "Cannot be read: thresholds.</strong> AirflowException: no database" in html
    assert "&gt; 1,000" in html  # the catalogue's threshold


def test_an_invalid_setting_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_STATE_PREFIX", "/state")
    html = Page().html("24h").body.decode()
    assert "Cannot be read: layers, tests outside the layers, lag, alerts, conditions.</strong> S3_STATE_PREFIX" in html
    assert "Nothing is known" in html
    assert set(states(html).values()) == {"unknown"}


@pytest.mark.parametrize("limit", ["1e14", "1e300", "1" + "0" * 400])
def test_a_threshold_may_be_any_number(storage: StorageSettings, limit: str) -> None:
    run = DagRunRef("crypto_transform", "r", "http://airflow.test/r")
    gold = LayerState("gold", "crypto_curated", 1, NOW - timedelta(hours=3), NOW, DbtTests(1, 0, 0, ()), run)
    layer_state.write(boto3.client("s3"), storage, gold)
    assert "3 h old (at most " in page(f'{{"stale_gold": {limit}}}')


def test_secrets_in_an_alert_are_not_shown(storage: StorageSettings) -> None:
    alert = replace(ALERT, value="postgresql://airflow:hunter2@db refused")
    S3AlertStore(boto3.client("s3"), storage).save(AlertState({alert.key: alert}, ()), None)
    assert "hunter2" not in page()
