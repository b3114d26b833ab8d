"""A coin is one row of the seed: in a copy of the project, nothing else is edited."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep

import boto3
import duckdb
import pytest
from confluent_kafka import Producer

from include.settings import PROJECT_ROOT
from tests.quote_service import AT, GECKO, quote_service
from tests.servers import process
from tests.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.servers

ROW = "5994,SHIB,Shiba Inu,shiba-inu,0.00000001,1,2020-08-01 00:00:00,0.0000125,0.95\n"
"""A price below the bounds of every other coin."""
GECKO_PRICE = 0.00002
STATUS = """
from pathlib import Path
from rich.console import Console
from include.local import screen
from include.local.airflow_api import AirflowApi
from include.local.status import Observer
from include.settings import load

observer = Observer(load(), AirflowApi("http://127.0.0.1:1"), Path("mail"))
Console(width=120).print(screen.render(observer.read_status({}), Path("state"), None))
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A copy of the project, and the environment of its programs."""

    root: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        """Output of a Python command that succeeds."""
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout


@pytest.fixture
def project(tmp_path: Path, bucket: str, s3: str) -> Iterator[Project]:
    root = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
    shutil.copytree(PROJECT_ROOT / "include", root / "include", ignore=ignored)
    with (root / "include/dbt/seeds/assets.csv").open("a") as seed:
        seed.write(ROW)
    broker = Producer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1, "log_level": 0})
    (address,) = broker.list_topics("selected_crypto_data", timeout=10).brokers.values()  # this creates the topic
    yield Project(
        root,
        {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {
            "KAFKA_BOOTSTRAP_SERVERS": f"{address.host}:{address.port}",
            "S3_BUCKET": bucket,
            "CONSUMER_BATCH_AGE_SECONDS": "1",
            "CONSUMER_CLOUDWATCH": "false",
            "CONSUMER_HTTP_PORT": "0",
            "CONSUMER_ALLOW_CREATE_TIME": "true",
            "CONSUMER_ALLOW_MISSING_TOPIC_ID": "true",
            "PRODUCER_HTTP_PORT": "0",
            "WAREHOUSE_TARGET": "local",
            "WAREHOUSE_DUCKDB_PATH": str(tmp_path / "warehouse.duckdb"),
            "WAREHOUSE_DATABASE": "lake",
        },
    )
    del broker


def wait_until(condition: Callable[[], bool], report: Callable[[], str]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline, report()
        sleep(0.5)


def landed_prices(bucket: str, symbol: str) -> set[float]:
    """Prices of a coin in all landed objects."""
    s3 = boto3.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="crypto_data/2").get("Contents", [])]
    bodies = [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
    return {record["price"] for body in bodies for record in body if record["symbol"] == symbol}


def test_a_new_row_is_a_new_coin_everywhere(project: Project, bucket: str, tmp_path: Path) -> None:
    body = GECKO | {"shiba-inu": {"usd": GECKO_PRICE, "last_updated_at": int(AT.timestamp())}}
    log = tmp_path / "programs.log"
    ingest = [sys.executable, "-m", "include.ingest"]
    with ExitStack() as stack:
        gecko = stack.enter_context(quote_service(body))
        simulator = {"PRODUCER_SOURCE": "simulator", "SIMULATOR_HISTORY_HOURS": "1"}
        live = {"PRODUCER_SOURCE": "coingecko", "PRODUCER_COINGECKO_URL": gecko.url}
        for command, settings in (("consume", {}), ("produce", simulator), ("produce", live)):
            stack.enter_context(process([*ingest, command], log, project.environment | settings, project.root))
        wait_until(lambda: len(landed_prices(bucket, "SHIB")) > 50, log.read_text)
        wait_until(lambda: GECKO_PRICE in landed_prices(bucket, "SHIB"), log.read_text)
        assert re.search(r"newest prices .*BTC .*SHIB [12]", project.run("-c", STATUS))

    dbt = ["-m", "dbt.cli.main", "--quiet", "build", "--exclude", "resource_type:unit_test"]
    project.run(*dbt, "--project-dir", "include/dbt", "--profiles-dir", "include/dbt")
    results = json.loads((project.root / "include/dbt/target/run_results.json").read_text())["results"]
    statuses = {result["unique_id"].split(".")[2]: result["status"] for result in results}
    assert {name for name, status in statuses.items() if status not in {"pass", "success", "no-op"}} == set()
    assert {"crypto_stage_accepted_symbols", "crypto_curated_low_price_in_range", "assets_history"} <= statuses.keys()
    with duckdb.connect(project.environment["WAREHOUSE_DUCKDB_PATH"]) as warehouse:
        gold = warehouse.execute("select hour_start, close_price from lake_gold.crypto_curated where symbol = 'SHIB'")
        prices = dict(gold.fetchall())
    assert prices.pop(AT.replace(minute=0, second=0, tzinfo=None)) == Decimal("0.00002")
    assert prices, "the simulated hour has prices too"


def test_reference_tables_of_an_earlier_version_get_the_new_columns(warehouse: Warehouse) -> None:
    tables = ("build", "--select", "assets", "assets_history")
    warehouse.dbt(*tables)
    for table in ("assets", "assets_history"):
        for column in ("coingecko_id", "simulator_base_price", "simulator_volatility"):
            warehouse.execute(f"alter table lake_reference.{table} drop column {column}")
    warehouse.dbt(*tables)
    assert warehouse.query("select coingecko_id from lake_reference.assets where id = 1") == [("bitcoin",)]
    versions = "select coingecko_id, dbt_valid_to is null from lake_reference.assets_history where id = 1 order by 2"
    assert warehouse.query(versions) == [(None, False), ("bitcoin", True)]
    warehouse.dbt(*tables)
    assert len(warehouse.query(versions)) == 2, "the same rows are no new version"
