"""The whole pipeline as `make demo` runs it: real broker, S3, consumer, scheduler and mailbox.

The module starts one stack (about a minute). The tests use it in the order of this file, and each leaves it intact.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from include.landing.layout import parse_key
from include.local import environment, faults
from include.local.process_control import ProcessControl, alive
from include.local.programs import SERVERS
from include.local.stack import Demo
from include.local.start import make_observer, start
from include.local.status import TRANSFORM, Observer
from include.settings import PROJECT_ROOT, KafkaSettings, StorageSettings, load_group
from include.state import kpis, layer_state, task_tests
from tests.laptop_stack import Stack, eventually, local_settings
from tests.servers import free_port

SESSION_SECONDS = 10
"""The group's session time-out. It is shorter than the broker's outage below."""

SCHEMA = "crypto_lakehouse"
GOLD = f"{SCHEMA}_gold.crypto_curated"

HISTORY_HOURS = 30
"""More than 24 hours, so that there are quotes of yesterday at any time of the day."""

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1500)]


@dataclass(frozen=True, slots=True)
class WholeStack(Stack):
    """The running demo with its producer and the observer of its status screen."""

    observer: Observer


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStack]:
    local = local_settings(tmp_path_factory.mktemp("stack"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "PRODUCER_SOURCE": "simulator",
            "SIMULATOR_HISTORY_HOURS": str(HISTORY_HOURS),
            "SIMULATOR_BAD_SHARE": "0",
            "CONSUMER_HTTP_PORT": str(free_port()),
            "PRODUCER_HTTP_PORT": str(free_port()),
            "CONSUMER_BATCH_AGE_SECONDS": "2",
            "KAFKA_OPTIONS": f'{{"session.timeout.ms": {SESSION_SECONDS * 1000}}}',
            "LOCAL_SMTP_PORT": str(local.smtp_port),
        }.items():
            patch.setenv(name, value)
        demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
        try:
            api = start(demo)
            values = environment.read(demo.environment_file)
            with environment.applied(values):
                yield WholeStack(demo, api, values, make_observer(values, demo, api))
        finally:
            if demo.control.running():
                demo.control.shutdown(last=SERVERS)


def every_message(kafka: KafkaSettings) -> list[tuple[int, int, bytes]]:
    """(partition, offset, payload) of every message on the topic, read from Kafka."""
    reader = Consumer(kafka.client_config() | {"group.id": "test-reader", "enable.auto.commit": False})
    try:
        messages = []
        for partition in reader.list_topics(kafka.topic, timeout=10).topics[kafka.topic].partitions:
            low, high = reader.get_watermark_offsets(TopicPartition(kafka.topic, partition), timeout=10)
            reader.assign([TopicPartition(kafka.topic, partition, low)])
            while low < high:
                message = reader.poll(10)
                assert message is not None
                assert message.error() is None
                offset, payload = message.offset(), message.value()
                assert offset is not None
                assert payload is not None
                low = offset + 1
                messages.append((partition, offset, payload))
        return messages
    finally:
        reader.close()


def landed_records(storage: StorageSettings) -> list[dict[str, Any]]:
    """Every record of every landed file. Each file must be a JSON array."""
    s3 = boto3.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix=storage.data_prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    bodies = [
        json.loads(s3.get_object(Bucket=storage.bucket, Key=key)["Body"].read()) for key in keys if parse_key(key)
    ]
    assert all(isinstance(body, list) for body in bodies)
    return [record for body in bodies for record in body]


def hourly_candles(
    messages: list[tuple[int, int, bytes]],
) -> dict[tuple[str, str], tuple[float, float, float, float, int]]:
    """(symbol, hour) -> (open, high, low, close, count), computed without dbt."""
    quotes = defaultdict(list)
    for _, _, payload in messages:
        quote = json.loads(payload)
        moment = datetime.fromisoformat(quote["last_updated"])
        quotes[quote["symbol"], f"{moment:%Y-%m-%d %H}"].append((moment, float(quote["price"])))
    candles = {}
    for group, members in quotes.items():
        prices = [price for _, price in sorted(members)]
        candles[group] = (prices[0], max(prices), min(prices), prices[-1], len(prices))
    return candles


def test_every_message_arrives_once_in_every_layer(stack: WholeStack) -> None:
    stack.demo.control.stop("producer")
    eventually(lambda: (status := stack.observer.read_status({})).lag == 0 and status.landed == status.produced, 120)
    state, tasks = stack.run_dag(TRANSFORM)
    assert state == "success", tasks

    messages = every_message(load_group(KafkaSettings))
    records = landed_records(load_group(StorageSettings))
    assert len(messages) >= 3 * HISTORY_HOURS * 60
    assert sorted((r["_partition"], r["_offset"]) for r in records) == sorted((p, o) for p, o, _ in messages)
    own = [{name: value for name, value in record.items() if not name.startswith("_")} for record in records]
    assert sorted(map(json.dumps, own)) == sorted(json.dumps(json.loads(payload)) for _, _, payload in messages)

    raw = f"{SCHEMA}_bronze.crypto_raw"
    rows = stack.warehouse
    assert rows(f"select count(*), count(distinct record_id) from {raw}") == [(len(messages), len(messages))]
    [(silver,)] = rows(f"select count(*) from {SCHEMA}_silver.crypto_stage")
    [(refused,)] = rows(f"select count(*) from {SCHEMA}_silver.crypto_quarantine")
    assert (silver, refused) == (len(messages), 0)
    gold = {
        (symbol, hour): (float(o), float(h), float(low), float(c), int(n))
        for symbol, hour, o, h, low, c, n in rows(
            "select symbol, strftime(hour_start, '%Y-%m-%d %H'), open_price, high_price, low_price, close_price,"
            f" quote_count from {GOLD}"
        )
    }
    expected = hourly_candles(messages)
    assert gold.keys() == expected.keys()
    for group, candle in expected.items():
        assert gold[group][4] == candle[4], group
        assert all(math.isclose(a, b, abs_tol=1e-8) for a, b in zip(gold[group][:4], candle[:4], strict=True)), group
    status = stack.observer.read_status({})
    assert status.rows == {"bronze": len(messages), "silver": len(messages), "gold": len(expected)}
    assert (status.tests["passed"] or 0) >= 33
    assert status.tests["failed"] == 0
    left = kpis.read(boto3.client("s3"), load_group(StorageSettings))
    assert left is not None
    newest = {symbol: candle[3] for (symbol, _), candle in sorted(expected.items())}
    assert {coin.symbol: coin.price for coin in left.coins} == pytest.approx(newest)
    assert {symbol: changes["24 h"] is None for symbol, changes in status.changes.items()} == dict.fromkeys(
        newest, False
    )


def test_a_run_without_new_files_is_skipped(stack: WholeStack) -> None:
    state, tasks = stack.run_dag(TRANSFORM)
    assert state == "success"
    assert tasks.pop("new_data") == "success"
    assert set(tasks.values()) == {"skipped"}


def test_a_selection_and_a_target_date_limit_what_is_built(stack: WholeStack) -> None:
    s3, storage = boto3.client("s3"), load_group(StorageSettings)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    layers = layer_state.read_all(s3, storage)
    tested = {result.task: result for result in task_tests.read_all(s3, storage)}
    assert "crypto_transform.cross_layer_tests" in tested
    assert all(result.tests.passed > 0 and not result.tests.failing for result in tested.values())
    correct = stack.warehouse(f"select * from {GOLD} order by all")
    stack.warehouse(f"update {GOLD} set longest_silence_seconds = 12345")
    _, tasks = stack.run_dag(TRANSFORM, select="crypto_curated", target_date=str(yesterday))
    assert {task_id for task_id, state in tasks.items() if state == "success"} == {
        "new_data",
        "gold.crypto_curated_model_build",
        "cross_layer_tests",  # gold against silver
    }
    assert "failed" not in tasks.values()
    wrong_and_all = (
        f"select count(*) filter (longest_silence_seconds = 12345), count(*) from {GOLD} where cast(hour_start as date)"
    )
    assert stack.warehouse(f"{wrong_and_all} = date '{yesterday}'")[0][0] == 0
    [(wrong, other_hours)] = stack.warehouse(f"{wrong_and_all} <> date '{yesterday}'")
    assert wrong == other_hours > 0
    # A full refresh builds every hour again, and removes a row that silver does not have.
    stack.warehouse(f"insert into {GOLD} select * replace ('x' as quote_hour_id, 'DOGE' as symbol) from {GOLD} limit 1")
    _, tasks = stack.run_dag(TRANSFORM, select="crypto_curated", full_refresh=True)
    assert tasks["gold.crypto_curated_model_build"] == "success"
    assert stack.warehouse(f"select * from {GOLD} order by all") == correct
    assert layer_state.read_all(s3, storage) == layers, "the recorded state belongs to the last whole build"
    assert {result.task: result for result in task_tests.read_all(s3, storage)} == tested


def test_everything_listens_on_loopback_only(stack: WholeStack) -> None:
    listening = {ip for process in process_tree(stack.demo.local.state) for ip in listening_addresses(process)}
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def listening_addresses(process: psutil.Process) -> set[str]:
    """Addresses on which a process listens; the set is empty when the process has ended."""
    try:
        sockets = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {each.laddr.ip for each in sockets if each.status in {psutil.CONN_LISTEN, psutil.CONN_NONE} and each.laddr}


def built_in_broker(stack: WholeStack) -> bool:
    return "CONSUMER_ALLOW_MISSING_TOPIC_ID" in stack.values


def process_tree(state: Path) -> list[psutil.Process]:
    """Supervisord and all its descendants."""
    supervisor = psutil.Process(int((state / "supervisord.pid").read_text()))
    return [supervisor, *supervisor.children(recursive=True)]


def test_after_a_broker_outage_the_lag_grows_and_falls_again(stack: WholeStack) -> None:
    consumer = stack.demo.control.process_id("consumer")
    if not built_in_broker(stack):  # the built-in broker would lose its messages, which are in memory
        stack.demo.control.stop("broker")
        assert stack.observer.read_status({}).lag is None, "an unreadable lag must not be a number"
        time.sleep(SESSION_SECONDS + 5)  # the consumer loses its membership and joins again
        eventually(lambda: '"message": "lost"' in stack.demo.control.log_tail("consumer", 1_000_000), 60)
        stack.demo.control.start("broker")
    before = stack.observer.read_status({}).landed or 0
    stack.demo.control.start("producer")
    eventually(lambda: (stack.observer.read_status({}).lag or 0) > 0, 180)

    def caught_up() -> bool:
        status = stack.observer.read_status({})
        return (status.landed or 0) > before and status.lag is not None and status.lag < 30  # ten seconds of quotes

    eventually(caught_up, 180)
    assert stack.demo.control.process_id("consumer") == consumer, "the consumer was restarted instead of recovering"


def test_bad_messages_become_dead_letters_and_block_no_other(stack: WholeStack) -> None:
    storage = load_group(StorageSettings)
    faults.cause(stack.demo, "data")
    s3 = boto3.client("s3")

    def dead_letters() -> int:
        return s3.list_objects_v2(Bucket=storage.bucket, Prefix=storage.dead_letter_prefix)["KeyCount"]

    eventually(lambda: dead_letters() > 0, 120)
    faults.fix(stack.demo)
    landed = stack.observer.read_status({}).landed or 0
    eventually(lambda: (stack.observer.read_status({}).landed or 0) > landed, 120)


def test_an_s3_outage_is_not_shown_as_zero_and_the_backlog_lands(stack: WholeStack) -> None:
    consumer = stack.demo.control.process_id("consumer")
    before = stack.observer.read_status({}).landed or 0
    faults.cause(stack.demo, "s3")
    assert stack.observer.read_status({}).landed is None, "an unreadable bucket must not look empty"
    eventually(lambda: "PUT failed" in stack.demo.control.log_tail("consumer", 20_000), 120)
    faults.fix(stack.demo)
    eventually(lambda: (stack.observer.read_status({}).landed or 0) > before, 180)
    assert stack.demo.control.process_id("consumer") == consumer, "the consumer was restarted instead of waiting"


def test_a_stop_ends_every_process_and_a_second_start_continues(stack: WholeStack) -> None:
    processes = process_tree(stack.demo.local.state)
    stack.demo.control.shutdown(last=SERVERS)
    eventually(lambda: not any(alive(process) for process in processes), 60)
    if built_in_broker(stack):
        return  # the built-in broker starts without the earlier messages
    # The second start uses the command line, and Ctrl-C ends it.
    settings = stack.demo.local.model_dump(exclude_none=True)
    variables = {f"LOCAL_{name.upper()}": str(value) for name, value in settings.items()}
    before = len(landed_in_bronze(stack))
    child = subprocess.Popen(
        [sys.executable, "-m", "include.local.demo", "run"],
        # Without the environment of the first demo, which the fixture applied: it names a Kafka, which would be used.
        env={k: v for k, v in environment.inherited().items() if k == "PATH" or k not in stack.values} | variables,
        cwd=PROJECT_ROOT,
        start_new_session=True,
    )
    try:
        control = stack.demo.control
        eventually(lambda: control.running() and control.status().get("airflow-scheduler") == "RUNNING", 300)
        stack.api.wait_until_ready(seconds=300)

        def caught_up() -> bool:
            lag = stack.observer.read_status({}).lag
            return lag is not None and lag < 100

        eventually(caught_up, 180)
        started = [psutil.Process(child.pid), *process_tree(stack.demo.local.state)]
        _, tasks = stack.run_dag(TRANSFORM, select="path:models/bronze")
        assert tasks["bronze.crypto_dead_letter_model_build"] == "success", tasks
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(90)
    eventually(lambda: not any(alive(process) for process in started), 60)
    after = landed_in_bronze(stack)
    assert len(after) > before
    assert len(after) == len(set(after)), "a record is doubled"


def landed_in_bronze(stack: WholeStack) -> list[tuple[int, int]]:
    """Partition and offset of every row of bronze."""
    return stack.warehouse(f"select kafka_partition, kafka_offset from {SCHEMA}_bronze.crypto_raw")
