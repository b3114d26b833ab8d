"""Each fault of `make demo-break` does what it says, and `make demo-fix` removes it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest
from rich.console import Console

from include.local import environment, faults
from include.local.process_control import FROZEN, ProcessControl
from include.local.programs import Program
from include.local.stack import Demo, DemoError
from include.settings import LocalSettings
from tests.laptop_stack import eventually

GOLD = '"lake_gold".crypto_curated'


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo whose programs only sleep; its variables are complete."""
    demo = Demo(LocalSettings(state=tmp_path), ProcessControl(tmp_path), Console(file=io.StringIO()))
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "WAREHOUSE_DUCKDB_PATH": str(tmp_path / "warehouse.duckdb"),
        "WAREHOUSE_DATABASE": "lake",
        "PRODUCER_SOURCE": "coingecko",
    }
    environment.write(demo.environment_file, variables)
    programs = [Program(name, ("sleep", "600")) for name in ("producer", "consumer", "emulator")]
    demo.control.start_supervisor(programs, demo.environment_file)
    for program in programs:
        demo.control.start(program.name, wait=False)
    yield demo
    demo.control.shutdown()


def rows(demo: Demo) -> list[tuple[str, str]]:
    with duckdb.connect(demo.values["WAREHOUSE_DUCKDB_PATH"]) as warehouse:
        return warehouse.execute(f"select quote_hour_id, symbol from {GOLD} order by all").fetchall()


def test_a_frozen_producer_has_its_process_and_is_shown_as_frozen(demo: Demo) -> None:
    process = psutil.Process(demo.control.process_id("producer"))
    said = faults.cause(demo, "producer")
    assert "frozen" in said
    eventually(lambda: process.status() == psutil.STATUS_STOPPED, 60)
    assert demo.control.status()["producer"] == FROZEN
    faults.fix(demo)
    eventually(lambda: demo.control.status()["producer"] == "RUNNING", 60)
    assert demo.control.process_id("producer") == process.pid, "it was restarted instead of going on"


def test_a_frozen_program_ends_with_the_demo(demo: Demo) -> None:
    process = psutil.Process(demo.control.process_id("producer"))
    faults.cause(demo, "producer")
    eventually(lambda: process.status() == psutil.STATUS_STOPPED, 60)
    demo.control.shutdown(seconds=60)
    assert not process.is_running()


def test_a_wrong_row_is_added_for_a_data_test_and_removed_again(demo: Demo) -> None:
    with duckdb.connect(demo.values["WAREHOUSE_DUCKDB_PATH"]) as warehouse:
        warehouse.execute("create schema lake_gold")
        warehouse.execute(
            f"create table {GOLD} as select 'a' as quote_hour_id, 1::bigint as id, 'BTC' as symbol,"
            " timestamp '2026-11-01' as hour_start, timestamp '2026-11-01' as loaded_at"
        )
    for _ in range(2):  # a second call adds no second row
        faults.cause(demo, "tests")
    assert rows(demo) == [("a", "BTC"), (faults.WRONG_ROW, "BROKEN")]
    with duckdb.connect(demo.values["WAREHOUSE_DUCKDB_PATH"]) as warehouse:
        (loads,) = warehouse.execute(f"select count(distinct loaded_at) from {GOLD}").fetchall()
        (keys,) = warehouse.execute(f"select count(distinct (id, hour_start)) from {GOLD}").fetchall()
    assert loads == (1,), "gold's watermark moved, so the next run would leave out quotes"
    assert keys == (2,), "the next run's MERGE would write the coin's hour over the wrong row, and nothing removes it"
    faults.fix(demo)
    assert rows(demo) == [("a", "BTC")]


def test_a_row_cannot_be_added_before_gold_has_one(demo: Demo) -> None:
    with pytest.raises(DemoError, match="gold has no rows yet"):
        faults.cause(demo, "tests")


def test_bad_data_end_and_the_chosen_source_comes_back(demo: Demo) -> None:
    before = demo.values
    for _ in range(2):
        faults.cause(demo, "data")
    assert demo.values == before | {"SIMULATOR_BAD_SHARE": "0.3", "PRODUCER_SOURCE": "simulator"}
    faults.fix(demo)
    assert demo.values == before


def test_a_fix_says_how_long_alerts_stay_by_the_monitors_own_time(demo: Demo) -> None:
    """Dead letters count for an hour."""
    said = faults.fix(demo)
    assert "'Dead letters arrive' for 60 min after the last one" in said
    assert "'Uploads to S3 fail' for about 10 min" in said
