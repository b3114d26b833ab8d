"""Every condition of the catalogue is really produced, and the DAGs watch it through a real scheduler.

The module has one stack: Apache Kafka, the emulated S3 and CloudWatch behind proxies that can fail, an SMTP server, the
consumer, and Airflow's API server, scheduler and DAG processor. The tests depend on each other and run in this order.
Some faults need minutes (an empty group, the windows of CloudWatch); the next tests run meanwhile. The monitor's own
schedule may begin further runs. The last test counts the mails: one at the start of each condition, one at its end,
and no other.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import boto3
import httpx
import pytest

from include.catalogue import CONDITIONS
from include.landing.layout import object_key
from include.local import faults
from include.local.status import MONITOR, TRANSFORM
from include.monitoring.checks.measure import PERIOD, SETTLE, SHORTEST_GRACE, WINDOW
from include.on_airflow import dbt_docs
from include.settings import StorageSettings
from tests.chaos.proxy import CALM
from tests.laptop_stack import eventually, local_settings
from tests.scheduler.watched_stack import (
    REFUSED,
    UPLOADS_FAIL,
    MailEntry,
    WatchedStack,
    ago,
    red,
    skipped,
    started,
    wait_until,
)

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1500)]

MINUTE = timedelta(minutes=1)
MAINTENANCE = "lakehouse_maintenance"
REPLAY = "dead_letter_replay"
OLD, LONG = timedelta(days=8), timedelta(days=30)
DEADLINE = timedelta(seconds=30)
PUBLISHED = timedelta(seconds=30)
"""After this time the consumer's numbers are in CloudWatch: it publishes every five seconds."""

moments: dict[str, datetime] = {}
"""Times of events that later tests need."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedStack]:
    """The stack before the first message and before the monitor's first run."""
    programs = {"CONSUMER_BATCH_AGE_SECONDS": "2", "CONSUMER_CLOUDWATCH_SECONDS": "5"}
    airflow = {
        "WAREHOUSE_TRANSFORM_DEADLINE_MINUTES": str(DEADLINE / MINUTE),
        "MONITOR_QUOTE_INTERVAL_SECONDS": "86400",  # nobody sends quotes between the tests
        # The outages make most records late, and the error budget's windows are hours long.
        "OBJECTIVE_GOLD_MINUTES": "10000",
        "OBJECTIVE_LANDED_MINUTES": "10000",
    }
    with started(local_settings(tmp_path_factory.mktemp("stack")), programs, airflow) as stack:
        yield stack


MILDER = (CONDITIONS["dbt_tests"].title, CONDITIONS["dag_unhealthy"].title)
"""A test that warns, and a paused DAG, are warnings."""


def assert_complete(entry: MailEntry) -> None:
    """The mail has everything that its reader needs, as plain text and as HTML."""
    condition = next(condition for condition in CONDITIONS.values() if entry.title.startswith(condition.title))
    assert entry.severity in ({"error", "warning"} if entry.title.startswith(MILDER) else {condition.severity})
    assert entry.facts["What it means"] == [condition.meaning]
    assert {"Value", "Alarms when", "Since"} <= entry.facts.keys()
    (runbook,) = entry.facts["Runbook"]
    assert runbook.endswith(f"/docs/runbooks/{condition.runbook}")
    assert entry.facts["Detected"]
    assert httpx.get(runbook, timeout=60, trust_env=False).status_code == 200, "the demo shows its own pages"
    (run,) = entry.facts["Run in Airflow"]
    assert run.startswith("http://127.0.0.1:")
    assert "/runs/" in run
    assert entry.mail["To"] == "oncall@example.com"
    # A subject of a certain length is folded before its first word; the space of the fold does not count.
    assert str(entry.mail["Subject"]).lstrip().startswith("[crypto-lakehouse demo] ")
    html = entry.mail.get_body(("html",))
    assert html is not None
    assert f'href="{runbook}"' in html.get_content()
    assert entry.title in html.get_content()


def assert_started(watched: WatchedStack, texts: dict[str, str]) -> None:
    """Each of these conditions has one complete mail entry about its start, with this text in it.

    A condition that another one explains now is listed under it, and is not mailed by itself.
    """
    for name, text in texts.items():
        explained = watched.explained(name)
        if explained:
            assert text.removeprefix("Value: ").removeprefix("Alarms when: ") in json.dumps(explained)
        else:
            entry = watched.entry("start", name)
            assert_complete(entry)
            assert text in entry.text, entry.text


def stop_a_partition_for_a_moment(watched: WatchedStack) -> None:
    """Start the consumer while an object is in the way of a partition. It goes on by itself when the object is gone."""
    s3 = boto3.client("s3", endpoint_url=watched.stack.values["AWS_ENDPOINT_URL"])
    bucket = watched.stack.values["S3_BUCKET"]
    key = object_key(StorageSettings().dead_letter_prefix, "dead_letter", 0, 5, 0)
    s3.put_object(Bucket=bucket, Key=key, Body=b"[]")
    watched.start_consumer()
    url = f"http://127.0.0.1:{os.environ['CONSUMER_HTTP_PORT']}/healthz"

    def stopped() -> bool:
        try:
            return bool(httpx.get(url, trust_env=False).json().get("partitions_stopped") == [0])
        except httpx.TransportError:
            return False

    eventually(stopped, 120)
    s3.delete_object(Bucket=bucket, Key=key)


def test_no_message_lands(watched: WatchedStack) -> None:
    """Throughput is below its baseline for a quarter of an hour. A layer that was never built is unknown, not old."""
    api = watched.stack.api
    stop_a_partition_for_a_moment(watched)
    watched.wait_until_landed()  # the contract is in S3, and the consumer works
    watched.uploads.weather = UPLOADS_FAIL  # from here on no upload succeeds
    watched.set_retention(LONG)
    refused = watched.quotes(ago(OLD - timedelta(days=1)), 6)  # from the future, by their time in Kafka
    watched.send_long_ago([*watched.quotes(ago(OLD), 300), *refused], ago(OLD))
    moments["uploads fail"] = datetime.now(UTC)
    watched.set_thresholds({"stale_silver": 4 * 86400})
    watched.set_pool("duckdb", 0)
    api.unpause(TRANSFORM)
    hangs = api.trigger(TRANSFORM, {"full_refresh": True})  # needs no new files; its dbt tasks wait for a slot
    eventually(lambda: api.task_states(TRANSFORM, hangs)["new_data"] == "success", 120)
    for minutes in range(15):  # the monitor judges throughput only when it has run for this time
        watched.publish("MonitorHeartbeat", 1, ago(minutes * MINUTE))
    api.unpause(MONITOR)
    eventually(lambda: api.runs(MONITOR, 50)[-1:] != [], 120)
    first = api.runs(MONITOR, 50)[-1].run_id  # of the schedule
    _, states = watched.stack.wait_for_run(MONITOR, first, 300)
    assert red(states) >= {"check_low_throughput", "notify"}
    assert skipped(states) >= {"check_stale_gold", "check_dbt_tests"}
    assert_started(watched, {"low_throughput": "for 3 periods"})
    assert watched.entry("start", "low_throughput").facts["Alarms when"] == ["< 3 in 5 min"]


def test_a_run_hangs_and_uploads_fail_and_take_long(watched: WatchedStack) -> None:
    """The run misses its deadline. S3 refuses PUTs for half a minute, then takes them. The mails come later.

    Meanwhile another DAG waits until its time limit, which no callback can report.
    """
    api = watched.stack.api
    eventually(lambda: f"run_late:{TRANSFORM}" in watched.alert_state()["open"], 120)
    api.unpause(MAINTENANCE)  # this starts the run of last night
    eventually(lambda: [run.state for run in api.runs(MAINTENANCE)] == ["running"], 60)
    waits = api.runs(MAINTENANCE)[0].run_id
    watched.let_time_pass(MAINTENANCE, waits, timedelta(hours=7))
    assert watched.stack.wait_for_run(MAINTENANCE, waits, 120)[0] == "failed"
    watched.run_monitor()
    entry = watched.entry("start", "dag_unhealthy", MAINTENANCE)
    assert_complete(entry)
    assert f"run {waits} failed at" in entry.text
    assert "no task failed: Airflow ended it after 7 h, its limit is 6 h" in entry.text
    assert waits in unquote(entry.facts["Run in Airflow"][0])
    late = watched.alert_state()["open"][f"run_late:{TRANSFORM}"]
    assert f"late run {late['run']} is running" in watched.log_of("notify")
    assert late["successes"] == 0  # the run's own task has succeeded and does not count
    wait_until(moments["uploads fail"] + timedelta(seconds=36))
    assert watched.landed() == 0
    watched.uploads.weather = CALM
    moments["uploads work"] = datetime.now(UTC)
    watched.send([b"no JSON", b'{"id": 1}'])  # for later
    watched.wait_until_landed()  # bronze loads all of it, or the numbers of the next test differ
    assert watched.landed() > 0
    assert watched.keys(StorageSettings().dead_letter_prefix)
    assert watched.uploads.counts["503"] > 5


def test_old_data_is_built(watched: WatchedStack) -> None:
    """The newest quote is eight days old, so every layer is stale, and their recency tests fail."""
    api = watched.stack.api
    watched.set_pool("duckdb", 1)
    hung = api.runs(TRANSFORM)[0].run_id
    eventually(
        lambda: api.task_states(TRANSFORM, hung)["silver.crypto_quarantine_model_build"] == "success",
        600,
        state=lambda: api.task_states(TRANSFORM, hung),
    )
    # Gold's task now waits a minute for its second attempt; the next tests run meanwhile.
    faults.cause(watched.stack.demo, "consumer")
    watched.send(watched.quotes(datetime.now(UTC), 1_100))
    watched.set_retention(timedelta(hours=2))
    moments["consumer stopped"] = datetime.now(UTC)
    states = watched.run_monitor()
    expected = {"kafka_lag", "retention_headroom", "dead_letters", "stale_bronze", "stale_silver", "dbt_tests"}
    assert red(states) >= {f"check_{name}" for name in expected}
    assert_started(
        watched,
        {
            "kafka_lag": "Value: 1,10",
            "retention_headroom": "Value: 11",
            "dead_letters": "rows by class: ",
            "stale_bronze": "Value: 8 d",
            "stale_silver": "Alarms when: > 4 d, Variable monitor_thresholds",
            "quarantine_share": "6 of 306 new rows",
        },
    )
    for test, layer in (("crypto_raw_recency_check", "bronze"), ("crypto_stage_recency_check", "silver")):
        entry = watched.entry("start", "dbt_tests", test)
        assert_complete(entry)
        assert entry.severity == "warning"
        assert f"{layer} (warn), 1 failing row" in entry.text
        assert "problem=the newest" in entry.text  # one of the failing rows
    assert re.search(r" \d+ new[:,]", str(watched.entry("start", "dead_letters").mail["Subject"]))
    late = watched.entry("start", "run_late", TRANSFORM)
    assert_complete(late)
    assert late.facts["Alarms when"] == ["not ended 30 s after it was queued"]
    assert hung in late.text


def test_kafka_is_down(watched: WatchedStack) -> None:
    watched.stop("broker")
    states = watched.run_monitor()
    assert {"measure_kafka", "check_monitor_blind"} <= red(states)
    assert "notify" in watched.failed_lately
    assert skipped(states) >= {"check_kafka_lag", "check_consumer_stalled", "check_retention_headroom"}
    entry = watched.entry("start", "monitor_blind", "Kafka")
    assert_complete(entry)
    published = watched.log_of("publish")
    assert "metric=BlindSources value=1 " in published
    assert "metric=SumOffsetLag" not in published  # neither zero nor the last value
    assert "metric=ObjectsLastHour" in published


def test_a_task_fails(watched: WatchedStack) -> None:
    """The callback of the task reports it, without a run of the monitor. A run may take an hour again.

    A run that is refused for its parameters is nobody's alert.
    """
    api = watched.stack.api
    eventually(lambda: api.runs(TRANSFORM)[0].state == "failed", 300)  # the run that hung: gold's test
    watched.set_environment(WAREHOUSE_TRANSFORM_DEADLINE_MINUTES="60")
    refused = [api.trigger(TRANSFORM, {"select": "no_such_model"})]
    watched.start("broker")
    watched.wait_for_kafka()
    api.unpause(REPLAY)
    assert watched.stack.wait_for_run(TRANSFORM, refused[0], 300)[0] == "failed"
    refused.append(api.trigger(TRANSFORM, {"selekt": "crypto_stage"}))
    assert watched.stack.wait_for_run(TRANSFORM, refused[1], 300)[0] == "failed"
    assert "did you mean select" in watched.log_of("new_data", TRANSFORM, refused[1])
    watched.set_topic(**{"max.message.bytes": "10"})
    failed = api.trigger(REPLAY, {"dry_run": False})
    assert watched.stack.wait_for_run(REPLAY, failed, 300)[0] == "failed"
    watched.set_topic(**{"max.message.bytes": str(2**20)})
    entry = watched.entry("start", "task_failed", f"{REPLAY} / replay")
    assert_complete(entry)
    assert "refused" in entry.text


def test_failed_and_slow_uploads_are_mailed_when_cloudwatch_has_them(watched: WatchedStack) -> None:
    """The run of this test reports them or, on a slow machine, a run of the schedule."""
    wait_until(moments["uploads work"] + PUBLISHED + SETTLE + PERIOD)
    watched.run_monitor()
    started = {"upload_errors": " in 5 min", "slow_uploads": "Alarms when: > 30 s"}
    assert_started(watched, started | {"partitions_stopped": "Alarms when: > 0"})


CLOUDWATCH, PUBLISHING = "consumer metrics in CloudWatch", "publishing to CloudWatch"
"""Two sources of one service: the second is listed under the first."""


def test_cloudwatch_is_down(watched: WatchedStack) -> None:
    watched.cloudwatch.weather = REFUSED
    states = watched.run_monitor()
    assert {"measure_consumer", "publish", "check_monitor_blind", "check_kafka_lag"} <= red(states)
    assert "notify" in watched.failed_lately
    assert skipped(states) >= {"check_upload_errors", "check_slow_uploads", "check_low_throughput"}
    entry = watched.entry("start", "monitor_blind", CLOUDWATCH)
    assert_complete(entry)
    assert any(PUBLISHING in line for line in entry.facts["Also"])
    watched.entry("recovery", "monitor_blind", "Kafka")
    published = watched.log_of("publish")
    assert "metric=BlindSources value=1 " in published  # the refusal is only known after publishing
    assert "metric=SumOffsetLag" in published
    watched.cloudwatch.weather = CALM


def test_the_mail_server_is_down(watched: WatchedStack) -> None:
    """A notice, here that CloudWatch is back, waits until a mail server takes it."""
    watched.stop("mailbox")
    states = watched.run_monitor()
    assert "check_monitor_blind" not in red(states)
    waiting = {f"recovery monitor_blind:{CLOUDWATCH}"}

    def all_wait() -> bool:
        refused = [notice for notice in watched.alert_state()["outbox"] if notice["last_error"]]
        return {f"{notice['kind']} {notice['alert']['key']}" for notice in refused} >= waiting

    eventually(all_wait, 60, state=watched.alert_state)
    watched.start("mailbox")
    states = watched.run_monitor()
    assert "check_notices_undelivered" in watched.failed_lately
    entry = watched.entry("recovery", "monitor_blind", CLOUDWATCH)
    assert_complete(entry)
    assert any(PUBLISHING in line and "over at" in line for line in entry.facts["Also"])


def test_s3_is_down(watched: WatchedStack) -> None:
    """Even the alert state cannot be read. The fault is mailed once, and so is its recovery."""
    wait_until(moments["consumer stopped"] + SHORTEST_GRACE)  # so that no other condition begins between the two runs
    watched.wait_for_silence()  # a mail whose sending is not recorded would be sent again
    watched.publish("MessagesConsumed", 3, datetime.now(UTC))  # otherwise throughput is low again on a slow machine
    watched.s3.weather = REFUSED
    states = watched.run_monitor()
    assert {"measure_objects", "measure_layers", "check_monitor_blind"} <= red(states)
    assert "notify" in watched.failed_lately
    assert skipped(states) >= {"check_stale_gold", "check_dbt_tests", "check_dead_letters"}
    first, *others = ("objects in S3", "layer states in S3", "alert state in S3")
    entry = watched.entry("start", "monitor_blind", first)
    assert_complete(entry)
    for subject in others:
        assert any(subject in line for line in entry.facts["Also"])
    assert "metric=ObjectsLastHour" not in watched.log_of("publish")
    watched.run_monitor()
    assert "notify" not in watched.failed_lately
    watched.s3.weather = CALM
    states = watched.run_monitor()
    assert "check_monitor_blind" not in red(states)
    over = watched.entry("recovery", "monitor_blind", first).facts["Also"]
    for subject in others:
        assert any(subject in line and "over at" in line for line in over)


def test_conditions_that_began_meanwhile_were_mailed(watched: WatchedStack) -> None:
    """These conditions are stale gold, its failed test, and the group without members."""
    assert_started(watched, {"stale_gold": "Value: 8 d", "consumer_stalled": "members 0"})
    entry = watched.entry("start", "dbt_tests", "crypto_curated_recency_check")
    assert_complete(entry)
    assert f"/dags/{TRANSFORM}/runs/" in entry.text  # the failed task reported it
    assert "problem=the newest" in entry.text
    failed = watched.log_of(
        "gold.crypto_curated_model_build", TRANSFORM, unquote(entry.facts["Run in Airflow"][0].split("/")[-3])
    )
    assert re.search(r"fail, 1 rows in [0-9.]+ s\. Got 1 result, configured to fail if != 0", failed)
    assert watched.entry("recovery", "low_throughput").facts["Over at"]


def test_the_page_in_the_airflow_ui_shows_the_alerts(watched: WatchedStack) -> None:
    """The laptop's Airflow needs no login. tests/dags/test_pipeline_health.py tests the page's permissions."""
    api = watched.stack.api
    response = httpx.get(f"{api.base_url}/pipeline-health/", timeout=60, trust_env=False)
    assert response.status_code == 200
    page = response.text
    for name in ("consumer_stalled", "stale_gold", "kafka_lag"):
        assert f"error: {CONDITIONS[name].title}" in page
        assert f"/{CONDITIONS[name].runbook}" in page
    assert re.search(r"1,10\d messages not landed, the oldest \d", page)
    assert "8 d old (at most 2 h)" in page
    assert "crypto_curated_recency_check, since " in page
    assert "Cannot be read" not in page
    plugins = {plugin["name"]: plugin for plugin in api.call("GET", "/plugins").json()["plugins"]}
    assert plugins["pipeline_health"]["external_views"][0]["href"] == "pipeline-health/"


def test_everything_recovers(watched: WatchedStack) -> None:
    """The consumer runs again and new data is built. Dead letters count for an hour; a threshold silences them."""
    watched.set_retention(LONG)
    watched.start_consumer()
    watched.send(watched.quotes(datetime.now(UTC), 30))
    watched.wait_until_landed()
    moments["consumer back"] = datetime.now(UTC)
    watched.set_thresholds({"dead_letters": 1000, "kafka_lagg": 1})
    state, tasks = watched.stack.run_dag(TRANSFORM)
    assert state == "success", tasks
    assert watched.stack.run_dag(REPLAY)[0] == "success"  # it lists the dead letters
    states = watched.run_monitor()
    recovered = ("kafka_lag", "consumer_stalled", "retention_headroom", "stale_gold", "stale_silver", "stale_bronze")
    for name in (*recovered, "quarantine_share"):
        assert states[f"check_{name}"] == "success"
        if any((entry.kind, entry.title) == ("start", CONDITIONS[name].title) for entry in watched.mail_entries()):
            assert_complete(watched.entry("recovery", name))
    # Which of them has a mail of its own depends on which alert explains which: they end together in any case.
    ends = [str(entry.mail["Subject"]) for entry in watched.mail_entries() if entry.kind == "recovery"]
    assert any(re.search(r" \d+ over[:,]", subject) for subject in ends)
    for test in ("crypto_raw_recency_check", "crypto_stage_recency_check", "crypto_curated_recency_check"):
        watched.entry("recovery", "dbt_tests", test)
    silenced = watched.entry("recovery", "dead_letters")
    # The valid part of the Variable is in force, and a mail reports the other part.
    assert "its CloudWatch alarm is set to 0, the monitor to 1000" in watched.log_of("check_dead_letters")
    assert silenced.facts["Over at"]
    assert "'kafka_lagg' is not a condition" in watched.entry("start", "monitor_blind", "thresholds").text
    watched.set_thresholds({"dead_letters": 1000})
    watched.entry("recovery", "run_late", TRANSFORM)
    watched.entry("recovery", "task_failed", f"{REPLAY} / replay")
    watched.pause(TRANSFORM)  # only now: until here its failed run may be listed under the failing tests
    watched.run_monitor()
    paused = watched.entry("start", "dag_unhealthy", TRANSFORM)
    assert (paused.severity, "the DAG is paused" in paused.text) == ("warning", True)
    watched.stack.api.unpause(TRANSFORM)


def test_the_daily_maintenance_passes_and_knows_todays_failures(watched: WatchedStack) -> None:
    api = watched.stack.api
    state, tasks = watched.stack.run_dag(MAINTENANCE)
    assert state == "success", tasks
    warehouse = watched.stack.warehouse
    [(schema,)] = warehouse("select table_schema from information_schema.tables where table_name = 'test_health'")
    health = f"select last_status, pass_rate < 1 from {schema}.test_health where name = ? and dag_id = ?"
    assert warehouse(health, "crypto_curated_recency_check", TRANSFORM) == [("pass", True)]
    assert warehouse(f"select count(*) > 60 from {schema}.test_run") == [(True,)]
    page = httpx.get(f"{api.base_url}/cosmos/{dbt_docs.PROJECT}/dbt_docs_index.html", timeout=60, trust_env=False)
    assert (page.status_code, "quote_hour_id" in page.text) == (200, True)


def test_at_the_end_all_is_quiet_and_each_notice_was_mailed_once(watched: WatchedStack) -> None:
    # At this time the monitor's window has no failed upload, but a number that the new consumer published.
    wait_until(max(moments["uploads work"] + WINDOW, moments["consumer back"]) + PUBLISHED + SETTLE + PERIOD)
    states = watched.run_monitor()
    assert red(states) == set()
    uploads = watched.entry("recovery", "upload_errors")
    assert_complete(uploads)
    assert any(CONDITIONS["slow_uploads"].title in line for line in uploads.facts["Consequence"])
    assert states["check_partitions_stopped"] == "success"
    assert_complete(watched.entry("recovery", "partitions_stopped"))
    watched.entry("recovery", "monitor_blind", "thresholds")
    for dag_id in (MAINTENANCE, TRANSFORM):
        watched.entry("recovery", "dag_unhealthy", dag_id)

    entries = watched.mail_entries()
    counts = Counter((entry.kind, entry.title) for entry in entries)
    assert [title for title, times in counts.items() if times > 1] == []
    assert not any(kind == "reminder" for kind, _ in counts)
    starts, ends = ({title for kind, title in counts if kind == which} for which in ("start", "recovery"))
    assert starts == ends
    lines = {
        line.partition(": ")[2]
        for entry in entries
        for line in [*entry.facts.get("Consequence", []), *entry.facts.get("Also", [])]
    }
    mailed = {
        condition.name
        for condition in CONDITIONS.values()
        if any(title.startswith(condition.title) for title in starts | ends | lines)
    }
    # CloudWatch's own; not mailed; tests/dags and tests/unit produce the others.
    assert mailed == set(CONDITIONS) - {
        "monitor_silent", "notices_undelivered", "quotes_missing", "audit_failed", "schema_drift", "latency_objective",
    }  # fmt: skip
    # `notify` is red in the runs in which a condition began, and in no other run.
    began = {unquote(entry.facts["Run in Airflow"][0].rpartition("/")[2]) for entry in entries if entry.kind == "start"}
    # The link of an unhealthy DAG is that of its failed run.
    unhealthy = f"started: .*{CONDITIONS['dag_unhealthy'].title}"
    began |= {run for run in watched.seen if re.search(unhealthy, watched.log_of("notify", run_id=run))}
    assert {run_id for run_id, states in watched.seen.items() if "notify" in red(states)} == began & set(watched.seen)
