"""Bronze on Athena without a gate, after faults, and at the limits of its SQL.

The tests run in order, after those of test_conformance.py on the same warehouse, or alone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import obstore
import pytest
from obstore.store import S3Store

from include.on_airflow import query_cancel
from tests.athena.gateway import Query
from tests.athena.rig import AthenaWarehouse
from tests.warehouse.landed_topic import LandedTopic, open_bucket, quote
from tests.warehouse.warehouse import DbtError, environment

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(2400)]

TODAY = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SILENT, BUSY, LATE = 10, 11, 12
"""Partitions that no other test uses."""
ROWS = "select count(*), count(distinct record_id) from lake_bronze.crypto_raw where kafka_partition >= 10"
BRONZE = ("run", "--select", "crypto_raw")


@pytest.fixture(scope="module")
def store(lake_bucket: str, aws_endpoint: str) -> S3Store:
    return open_bucket(lake_bucket, aws_endpoint)


@pytest.fixture(scope="module")
def topic() -> LandedTopic:
    """A topic of small files."""
    return LandedTopic(cell=2)


class Since(list[Query]):
    """The queries since it was made."""

    def __init__(self, warehouse: AthenaWarehouse) -> None:
        super().__init__()
        self._warehouse, self._first = warehouse, len(warehouse.athena_api.queries)

    def __iter__(self) -> Iterator[Query]:
        return iter(list(self._warehouse.athena_api.queries.values())[self._first :])

    def opened(self) -> list[int]:
        """Landed files that each query opened."""
        reads = [query for query in self if '"crypto_raw_data"' in query.sql]
        return [query.outcome.answer.splits for query in reads if query.outcome]


def send(topic: LandedTopic, partition: int, start: datetime, count: int, step: timedelta) -> None:
    for n in range(count):
        at = start + n * step
        topic.send(quote("ETH", 3000.0 + n, at), at, partition=partition)


def test_a_silent_partition_costs_no_old_file(
    athena_warehouse: AthenaWarehouse, topic: LandedTopic, store: S3Store
) -> None:
    """The names of the known files are too long for one query."""
    send(topic, SILENT, TODAY - timedelta(days=4), 4, timedelta(minutes=1))
    send(topic, BUSY, TODAY - timedelta(days=4), 96, timedelta(hours=1))
    topic.land(store)
    athena_warehouse.dbt("seed")
    athena_warehouse.dbt(*BRONZE, "--full-refresh")
    send(topic, BUSY, TODAY, 4, timedelta(seconds=1))
    topic.land(store)
    since = Since(athena_warehouse)
    athena_warehouse.dbt(*BRONZE, "--vars", "landing_most_bytes: 3000")
    *listings, load = since.opened()
    assert len(listings) > 1
    assert (sum(listings), load) == (2, 2)
    assert max(len(query.sql.encode()) for query in since) < 10_000
    assert athena_warehouse.query(ROWS) == [(104, 104)]


def test_a_late_partition_is_complete_after_two_runs(
    athena_warehouse: AthenaWarehouse, topic: LandedTopic, store: S3Store
) -> None:
    send(topic, LATE, TODAY - timedelta(days=6), 40, timedelta(hours=3))
    send(topic, LATE, TODAY, 2, timedelta(seconds=1))
    topic.land(store)
    athena_warehouse.dbt(*BRONZE)
    athena_warehouse.dbt(*BRONZE)
    assert athena_warehouse.query(ROWS) == [(146, 146)]


def test_only_the_offered_hours_are_read(athena_warehouse: AthenaWarehouse, topic: LandedTopic, store: S3Store) -> None:
    send(topic, BUSY, TODAY + timedelta(minutes=1), 4, timedelta(seconds=1))
    files = list(topic.files())
    for key, body in files:
        obstore.put(store, key, body)
    since = Since(athena_warehouse)
    with environment({"WAREHOUSE_LANDED_HOURS": f"{TODAY:%Y/%m/%d/%H}..{TODAY:%Y/%m/%d/%H}"}):
        athena_warehouse.dbt(*BRONZE)
    assert since.opened() == [len(files)]
    assert athena_warehouse.query(ROWS) == [(150, 150)]


def test_a_killed_attempt_that_still_merges_doubles_nothing(athena_warehouse: AthenaWarehouse) -> None:
    """The killed attempt's temporary table is there, and its MERGE runs after the one of the retry has committed."""
    queries = athena_warehouse.athena_api.queries.values()
    [*_, merge] = [query.sql for query in queries if re.search(r"merge into \S+crypto_raw\W", query.sql)]
    before = athena_warehouse.query(ROWS)
    athena_warehouse.query("create table lake_bronze.crypto_raw__dbt_tmp as select * from lake_bronze.crypto_raw")
    athena_warehouse.athena_api.athena.run(merge, "lake_bronze")
    athena_warehouse.query("drop table lake_bronze.crypto_raw__dbt_tmp")
    assert athena_warehouse.query(ROWS) == before


def test_an_ended_task_cancels_its_query(athena_warehouse: AthenaWarehouse) -> None:
    api = athena_warehouse.athena_api
    api.held_text = "merge into"
    failures: list[DbtError] = []

    def run() -> None:
        try:
            athena_warehouse.dbt(*BRONZE)
        except DbtError as error:
            failures.append(error)

    task = threading.Thread(target=run)
    task.start()
    try:
        while not any("merge into" in query.sql and query.state == "RUNNING" for query in list(api.queries.values())):
            task.join(0.2)
            assert task.is_alive(), failures
        query_cancel.cancel_open_queries()
    finally:
        api.held_text = None
    task.join(120)
    assert [query.state for query in api.stopped] == ["CANCELLED"]
    assert len(failures) == 1


def test_ctrl_c_at_a_terminal_cancels_the_query(athena_warehouse: AthenaWarehouse) -> None:
    """SIGINT in the main thread, as a terminal sends it, while a thread of dbt waits for Athena."""
    api = athena_warehouse.athena_api
    api.held_text = "merge into"
    ended, before = threading.Event(), len(api.stopped)

    def interrupt() -> None:
        while not any("merge into" in query.sql and query.state == "RUNNING" for query in list(api.queries.values())):
            if ended.wait(0.2):
                return
        os.kill(os.getpid(), signal.SIGINT)
        if not ended.wait(120):  # a dbt that cancels nothing would never end
            for query in list(api.queries.values()):
                query.state = "FAILED" if query.state == "RUNNING" else query.state
                query.ended.set()

    thread = threading.Thread(target=interrupt)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    thread.start()
    try:
        with pytest.raises((KeyboardInterrupt, DbtError)):
            athena_warehouse.dbt(*BRONZE)
    finally:
        ended.set()
        thread.join()
        api.held_text = None
        signal.signal(signal.SIGINT, handler)
    assert "CANCELLED" in [query.state for query in api.stopped[before:]]


def test_bronze_can_be_loaded_in_parts(athena_warehouse: AthenaWarehouse) -> None:
    before = athena_warehouse.query(ROWS)
    athena_warehouse.query("drop table lake_bronze.crypto_raw")
    parts = [TODAY - timedelta(days=39), TODAY - timedelta(days=3), TODAY + timedelta(days=2)]
    for since, until in pairwise(parts):
        bounds = {"landing_since": f"{since:%Y-%m-%d}", "landing_until": f"{until:%Y-%m-%d}"}
        athena_warehouse.dbt(*BRONZE, "--vars", json.dumps(bounds))
        assert athena_warehouse.query(ROWS) <= before
    assert athena_warehouse.query(ROWS) == before


def test_the_seed_is_made_again_only_when_it_changed(athena_warehouse: AthenaWarehouse) -> None:
    athena_warehouse.dbt("seed")
    since = Since(athena_warehouse)
    athena_warehouse.dbt("seed")
    assert not [query.sql for query in since if "drop" in query.sql.lower() or "create" in query.sql.lower()]
    assert athena_warehouse.query("select count(*) from lake_reference.assets") == [(3,)]
