"""Every condition of the catalogue really produced, and watched by the DAGs through a real scheduler.

One stack for the module: Apache Kafka, the emulated S3 and CloudWatch behind proxies that can
fail, an SMTP server, the consumer, and Airflow's API server, scheduler and DAG processor. The
tests are one story and stand in its order; where something needs minutes to be a fault (an
empty group, the windows of CloudWatch) the story goes on meanwhile. Runs that the monitor's own
schedule begins in between are part of it. At the end the mails are counted: one when something
started, one when it was over, nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import httpx
import pytest
from rich.console import Console

from include.catalogue import CONDITIONS
from include.local import broker, environment, faults
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.servers import check_ports, start_servers
from include.local.stack import Demo
from include.local.start import prepare, provision, start_airflow
from include.local.status import MONITOR, TRANSFORM
from include.monitoring.checks.measure import PERIOD, SETTLE, SHORTEST_GRACE, WINDOW
from include.on_airflow import dbt_docs
from include.settings import StorageSettings
from tests.chaos.proxy import CALM, FaultProxy
from tests.dags.conftest import aws_connection
from tests.laptop_stack import Stack, eventually, local_settings
from tests.scheduler.watched_stack import REFUSED, UPLOADS_FAIL, Told, WatchedStack, ago, red, skipped, wait_until
from tests.servers import free_port

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1500)]

MINUTE = timedelta(minutes=1)
MAINTENANCE = "lakehouse_maintenance"
OLD, LONG = timedelta(days=8), timedelta(days=30)
DEADLINE = timedelta(seconds=30)
PUBLISHED = timedelta(seconds=30)
"""The consumer's numbers are in CloudWatch by then: it publishes every five seconds."""

moments: dict[str, datetime] = {}
"""When things happened that a later test waits for."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedStack]:
    """The stack; nothing has been sent yet, and the monitor has not run."""
    local = local_settings(tmp_path_factory.mktemp("stack"))
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "LOCAL_SMTP_PORT": str(local.smtp_port),
            "CONSUMER_HTTP_PORT": str(free_port()),
            "PRODUCER_HTTP_PORT": "0",
            "CONSUMER_BATCH_AGE_SECONDS": "2",
            "CONSUMER_CLOUDWATCH_SECONDS": "5",
        }.items():
            patch.setenv(name, value)
        kind, reason = broker.available_kind()
        assert kind == "kafka", f"needs Apache Kafka, whose topic can be changed: {reason}"
        check_ports(local)
        proxies: list[FaultProxy] = []
        try:
            values = start_servers(demo)
            endpoint = values["AWS_ENDPOINT_URL"]
            preparations = prepare(demo)
            provision(demo)
            proxies += [FaultProxy(("127.0.0.1", local.aws_port), seed=1) for _ in range(3)]
            uploads, s3, metrics = proxies
            services = {"s3": {"endpoint_url": s3.endpoint}, "cloudwatch": {"endpoint_url": metrics.endpoint}}
            values |= {
                "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(endpoint, **services),
                "ALERT_EMAILS": '["oncall@example.com"]',
                "WAREHOUSE_TRANSFORM_DEADLINE_MINUTES": str(DEADLINE / MINUTE),
            }
            environment.write(demo.environment_file, values)
            with environment.applied(values):
                api = start_airflow(demo, preparations)
                yield WatchedStack(Stack(demo, api, values), uploads, s3, metrics)
        finally:
            if demo.control.running():
                demo.control.shutdown(last=SERVERS)
            for proxy in proxies:
                proxy.close()


def complete(entry: Told) -> None:
    """A mail that somebody woken by it can work with, in both its forms."""
    condition = next(one for one in CONDITIONS.values() if entry.title.startswith(one.title))
    assert entry.severity == condition.severity
    assert entry.facts["What it means"] == [condition.meaning]
    assert {"Value", "Alarms when", "Since"} <= entry.facts.keys()
    (runbook,) = entry.facts["What to do"]
    assert runbook.startswith("https://")
    assert runbook.endswith(f"/docs/runbooks/{condition.runbook}")
    (run,) = entry.facts["Run"]
    assert run.startswith("http://127.0.0.1:")
    assert "/runs/" in run
    assert entry.mail["To"] == "oncall@example.com"
    # A subject of a certain length is folded before its first word; the space of the fold is no part of it.
    assert str(entry.mail["Subject"]).lstrip().startswith("[crypto-lakehouse demo] ")
    html = entry.mail.get_body(("html",))
    assert html is not None
    assert f'href="{runbook}"' in html.get_content()
    assert entry.title in html.get_content()


def tells(watched: WatchedStack, says: dict[str, str]) -> None:
    """Each of these conditions has begun: one whole mail entry each, with these words in it."""
    for name, words in says.items():
        entry = watched.one("start", name)
        complete(entry)
        assert words in entry.text


def test_nothing_flows(watched: WatchedStack) -> None:
    """Throughput below its baseline: no message for a quarter of an hour. What was never built is unknown, not old."""
    api = watched.stack.api
    watched.start_consumer()
    watched.wait_until_landed()  # it has agreed on the contract with S3, and begun
    watched.uploads.weather = UPLOADS_FAIL  # from here on no upload succeeds
    watched.set_retention(LONG)
    watched.send_long_ago(watched.quotes(ago(OLD), 300), ago(OLD))
    moments["uploads fail"] = datetime.now(UTC)
    watched.set_thresholds({"stale_silver": 4 * 86400})
    watched.set_pool("duckdb", 0)
    api.unpause(TRANSFORM)
    hangs = api.trigger(TRANSFORM, {"full_refresh": True})  # goes on without new files; its dbt tasks get no slot
    eventually(lambda: api.task_states(TRANSFORM, hangs)["new_data"] == "success", 120)
    for minutes in range(15):  # as if the monitor had been at work for so long: before that it judges no throughput
        watched.publish("MonitorHeartbeat", 1, ago(minutes * MINUTE))
    api.unpause(MONITOR)
    eventually(lambda: api.runs(MONITOR, 50)[-1:] != [], 120)
    first = api.runs(MONITOR, 50)[-1].run_id  # begun by the schedule
    _, states = watched.stack.wait_for_run(MONITOR, first, 300)
    assert red(states) >= {"check_low_throughput", "notify"}
    assert skipped(states) >= {"check_stale_gold", "check_dbt_tests"}
    tells(watched, {"low_throughput": "for 3 periods"})
    assert watched.one("start", "low_throughput").facts["Alarms when"] == ["< 3 in 5 min, catalogue"]


def test_a_run_hangs_and_uploads_fail_and_take_long(watched: WatchedStack) -> None:
    """The run misses its deadline. The consumer's PUTs are refused for half a minute; then all lands. Told later."""
    eventually(lambda: f"run_late:{TRANSFORM}" in watched.alert_state()["open"], 120)
    watched.tick()
    late = watched.alert_state()["open"][f"run_late:{TRANSFORM}"]
    assert f"late run {late['run']} is running" in watched.log_of("notify")
    assert late["successes"] == 0  # its own task has succeeded, and does not count
    wait_until(moments["uploads fail"] + timedelta(seconds=36))
    assert watched.landed() == 0
    watched.uploads.weather = CALM
    moments["uploads work"] = datetime.now(UTC)
    watched.send([b"no JSON", b'{"id": 1}'])  # for later
    eventually(lambda: watched.landed() > 0 and bool(watched.keys(StorageSettings().dead_letter_prefix)), 120)
    assert watched.uploads.counts["503"] > 5


def test_old_data_is_built(watched: WatchedStack) -> None:
    """The newest quote is eight days old, so every layer is stale, and their recency tests fail."""
    api = watched.stack.api
    watched.set_pool("duckdb", 1)
    hung = api.runs(TRANSFORM)[0].run_id
    eventually(
        lambda: api.task_states(TRANSFORM, hung)["record_silver"] == "success",
        600,
        instead=lambda: api.task_states(TRANSFORM, hung),
    )
    # Gold's task waits a minute for its second attempt now; the story goes on.
    faults.FAULTS["consumer"].apply(watched.stack.demo.control, watched.stack.demo.environment_file)
    watched.send(watched.quotes(datetime.now(UTC), 1_100))
    watched.set_retention(timedelta(hours=2))
    moments["consumer stopped"] = datetime.now(UTC)
    states = watched.tick()
    expected = {"kafka_lag", "retention_headroom", "dead_letters", "stale_bronze", "stale_silver", "dbt_tests"}
    assert red(states) >= {f"check_{name}" for name in expected}
    tells(
        watched,
        {
            "kafka_lag": "Value: 1,10",
            "retention_headroom": "Value: 11",
            "dead_letters": "Alarms when: > 0, catalogue",
            "stale_bronze": "Value: 8 d",
            "stale_silver": "Alarms when: > 4 d, Variable monitor_thresholds",
        },
    )
    for test, layer in (("crypto_raw_recency_check", "bronze"), ("crypto_stage_recency_check", "silver")):
        entry = watched.one("start", "dbt_tests", test)
        complete(entry)
        assert f"{layer} (warn), 1 failing rows" in entry.text
        assert "problem=the newest" in entry.text  # one of the failing rows
    assert re.search(r" \d+ new[:,]", str(watched.one("start", "kafka_lag").mail["Subject"]))
    late = watched.one("start", "run_late", TRANSFORM)
    complete(late)
    assert late.facts["Alarms when"] == ["not ended 30 s after it was queued"]
    assert hung in late.text


def test_kafka_is_down(watched: WatchedStack) -> None:
    watched.stop("broker")
    states = watched.tick()
    assert {"measure_kafka", "check_monitor_blind"} <= red(states)
    assert "notify" in watched.lately
    assert skipped(states) >= {"check_kafka_lag", "check_consumer_stalled", "check_retention_headroom"}
    entry = watched.one("start", "monitor_blind", "Kafka")
    complete(entry)
    published = watched.log_of("publish")
    assert "metric=BlindSources value=1 " in published
    assert "metric=SumOffsetLag" not in published  # neither as zero nor as what it was
    assert "metric=ObjectsLastHour" in published


def test_a_task_fails(watched: WatchedStack) -> None:
    """Told by its callback, without a tick of the monitor. From here on a run may take an hour again."""
    api = watched.stack.api
    eventually(lambda: api.runs(TRANSFORM)[0].state == "failed", 300)  # the one that hung: gold's test
    watched.set_environment(WAREHOUSE_TRANSFORM_DEADLINE_MINUTES="60")
    failed = api.trigger(TRANSFORM, {"select": "no_such_model"})
    watched.start("broker")
    watched.wait_for_kafka()
    assert watched.stack.wait_for_run(TRANSFORM, failed, 300)[0] == "failed"
    entry = watched.one("start", "task_failed", f"{TRANSFORM} / new_data")
    complete(entry)
    assert "no_such_model" in entry.text


def test_failed_and_slow_uploads_are_told_once_cloudwatch_has_them(watched: WatchedStack) -> None:
    """By this tick or, on a slow machine, by one of the schedule."""
    wait_until(moments["uploads work"] + PUBLISHED + SETTLE + PERIOD)
    watched.tick()
    tells(watched, {"upload_errors": " in 5 min", "slow_uploads": "Alarms when: > 30 s, catalogue"})


CLOUDWATCH = ("publishing to CloudWatch", "consumer metrics in CloudWatch")


def test_cloudwatch_is_down(watched: WatchedStack) -> None:
    watched.cloudwatch.weather = REFUSED
    states = watched.tick()
    assert {"measure_consumer", "publish", "check_monitor_blind", "check_kafka_lag"} <= red(states)
    assert "notify" in watched.lately
    assert skipped(states) >= {"check_upload_errors", "check_slow_uploads", "check_low_throughput"}
    for subject in CLOUDWATCH:
        complete(watched.one("start", "monitor_blind", subject))
    watched.one("recovery", "monitor_blind", "Kafka")
    published = watched.log_of("publish")
    assert "metric=BlindSources value=1 " in published  # that the numbers are refused is not known before
    assert "metric=SumOffsetLag" in published
    watched.cloudwatch.weather = CALM


def test_the_mail_server_is_down(watched: WatchedStack) -> None:
    """What the monitor has to say, here that CloudWatch is back, waits until a mail server takes it."""
    watched.stop("mailbox")
    states = watched.tick()
    assert "check_monitor_blind" not in red(states)
    waiting = {f"recovery monitor_blind:{subject}" for subject in CLOUDWATCH}

    def all_wait() -> bool:
        refused = [one for one in watched.alert_state()["outbox"] if one["last_error"]]
        return {f"{one['kind']} {one['alert']['key']}" for one in refused} >= waiting

    eventually(all_wait, 60, instead=watched.alert_state)
    watched.start("mailbox")
    states = watched.tick()
    assert "check_notices_undelivered" in watched.lately
    for subject in CLOUDWATCH:
        complete(watched.one("recovery", "monitor_blind", subject))


def test_s3_is_down(watched: WatchedStack) -> None:
    """Not even the alert state can be read; still it is told once, and the recovery too."""
    wait_until(moments["consumer stopped"] + SHORTEST_GRACE)  # so that nothing else begins between the two looks
    watched.wait_for_silence()  # a mail that is sent but not noted as sent would be sent again
    watched.publish("MessagesConsumed", 3, datetime.now(UTC))  # or throughput would be low again on a slow machine
    watched.s3.weather = REFUSED
    states = watched.tick()
    assert {"measure_objects", "measure_layers", "check_monitor_blind"} <= red(states)
    assert "notify" in watched.lately
    assert skipped(states) >= {"check_stale_gold", "check_dbt_tests", "check_dead_letters"}
    subjects = ("objects in S3", "layer states in S3", "alert state in S3")
    for subject in subjects:
        complete(watched.one("start", "monitor_blind", subject))
    assert "metric=ObjectsLastHour" not in watched.log_of("publish")
    watched.tick()
    assert "notify" not in watched.lately
    watched.s3.weather = CALM
    states = watched.tick()
    assert "check_monitor_blind" not in red(states)
    for subject in subjects:
        watched.one("recovery", "monitor_blind", subject)


def test_what_began_meanwhile_was_told(watched: WatchedStack) -> None:
    """Gold, its failed test, and the group without members."""
    tells(watched, {"stale_gold": "Value: 8 d", "consumer_stalled": "members 0"})
    entry = watched.one("start", "dbt_tests", "crypto_curated_recency_check")
    complete(entry)
    assert f"/dags/{TRANSFORM}/runs/" in entry.text  # told by the failed task itself
    assert "problem=the newest" in entry.text
    failed = watched.log_of("gold.crypto_curated_model_build", TRANSFORM, unquote(entry.facts["Run"][0].split("/")[-3]))
    assert re.search(r"fail, 1 rows in [0-9.]+ s\. Got 1 result, configured to fail if != 0", failed)
    assert watched.one("recovery", "low_throughput").facts["Over at"]


def test_the_page_in_the_airflow_ui_shows_it(watched: WatchedStack) -> None:
    """The laptop's Airflow needs no login; who is refused elsewhere is in tests/dags/test_pipeline_health.py."""
    api = watched.stack.api
    answer = httpx.get(f"{api.base_url}/pipeline-health/", timeout=60, trust_env=False)
    assert answer.status_code == 200
    page = answer.text
    for name in ("consumer_stalled", "stale_gold", "kafka_lag"):
        assert f"error: {CONDITIONS[name].title}" in page
        assert f"/{CONDITIONS[name].runbook}" in page
    assert re.search(r"1,10\d messages not landed, the oldest \d", page)
    assert "8 d old (at most 2 h)" in page
    assert "crypto_curated_recency_check, since " in page
    assert "Cannot be read" not in page
    (view,) = [one for one in api.call("GET", "/plugins").json()["plugins"] if one["name"] == "pipeline_health"]
    assert view["external_views"][0]["href"] == "pipeline-health/"


def test_everything_recovers(watched: WatchedStack) -> None:
    """The consumer is back, fresh data is built; dead letters stay for an hour and are silenced as the runbook says."""
    watched.set_retention(LONG)
    watched.start_consumer()
    watched.send(watched.quotes(datetime.now(UTC), 30))
    watched.wait_until_landed()
    moments["consumer back"] = datetime.now(UTC)
    watched.set_thresholds({"dead_letters": 1000, "kafka_lagg": 1})
    state, tasks = watched.stack.run_dag(TRANSFORM)
    assert state == "success", tasks
    watched.stack.api.unpause(MAINTENANCE)  # the scheduler begins the run of last night at once
    states = watched.tick()
    for name in ("kafka_lag", "consumer_stalled", "retention_headroom", "stale_gold", "stale_silver", "stale_bronze"):
        assert states[f"check_{name}"] == "success"
        complete(watched.one("recovery", name))
    assert re.search(r" \d+ over[:,]", str(watched.one("recovery", "kafka_lag").mail["Subject"]))
    for test in ("crypto_raw_recency_check", "crypto_stage_recency_check", "crypto_curated_recency_check"):
        watched.one("recovery", "dbt_tests", test)
    silenced = watched.one("recovery", "dead_letters")
    # The part of the Variable that can be used is in force, and the other part is told.
    assert "its CloudWatch alarm is set to 0, the monitor to 1000" in watched.log_of("check_dead_letters")
    assert silenced.facts["Over at"]
    assert "'kafka_lagg' is not a condition" in watched.one("start", "monitor_blind", "thresholds").text
    watched.set_thresholds({"dead_letters": 1000})
    watched.one("recovery", "run_late", TRANSFORM)
    watched.one("recovery", "task_failed", f"{TRANSFORM} / new_data")


def test_the_daily_maintenance_passes_and_knows_what_failed_today(watched: WatchedStack) -> None:
    api = watched.stack.api
    eventually(lambda: api.runs(MAINTENANCE) != [], 60)
    state, tasks = watched.stack.wait_for_run(MAINTENANCE, api.runs(MAINTENANCE)[0].run_id, 600)
    assert state == "success", tasks
    warehouse = watched.stack.warehouse
    [(schema,)] = warehouse("select table_schema from information_schema.tables where table_name = 'test_health'")
    health = f"select last_status, pass_rate < 1 from {schema}.test_health where name = ? and dag_id = ?"
    assert warehouse(health, "crypto_curated_recency_check", TRANSFORM) == [("pass", True)]
    assert warehouse(f"select count(*) > 60 from {schema}.test_run") == [(True,)]
    page = httpx.get(f"{api.base_url}/cosmos/{dbt_docs.PROJECT}/dbt_docs_index.html", timeout=60, trust_env=False)
    assert (page.status_code, "quote_hour_id" in page.text) == (200, True)


def test_in_the_end_all_is_quiet_and_everything_was_told_once(watched: WatchedStack) -> None:
    # The monitor's window holds nothing of the failed uploads then, and something that the new consumer published.
    wait_until(max(moments["uploads work"] + WINDOW, moments["consumer back"]) + PUBLISHED + SETTLE + PERIOD)
    states = watched.tick()
    assert red(states) == set()
    for name in ("upload_errors", "slow_uploads"):
        assert states[f"check_{name}"] == "success"
        complete(watched.one("recovery", name))
    watched.one("recovery", "monitor_blind", "thresholds")

    told = Counter((one.kind, one.title) for one in watched.told())
    assert [what for what, times in told.items() if times > 1] == []
    assert not any(kind == "reminder" for kind, _ in told)
    assert {title for kind, title in told if kind == "start"} == {title for kind, title in told if kind == "recovery"}
    started = {one.name for one in CONDITIONS.values() for _, title in told if title.startswith(one.title)}
    assert started == set(CONDITIONS) - {"monitor_silent", "notices_undelivered"}  # CloudWatch's own; not mailed
    # A run in which something began is red in `notify`; no other is.
    began = {unquote(one.facts["Run"][0].rpartition("/")[2]) for one in watched.told() if one.kind == "start"}
    assert {run_id for run_id, states in watched.seen.items() if "notify" in red(states)} == began & set(watched.seen)
