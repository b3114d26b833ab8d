"""Plans grow with the load, keep S3's and the container's limits, and agree with what was measured."""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf, nan
from statistics import median

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from include.aws.document import TEMPLATE
from include.aws.sizing import plan as sizing
from include.aws.sizing.plan import Demand, Plan, SizingError, landing_rate, memory, pace, plan
from include.settings import PROJECT_ROOT, ConsumerSettings

BENCHMARKS = (PROJECT_ROOT / "docs" / "performance.md").read_text()
INGEST = (PROJECT_ROOT / "docs" / "ingest.md").read_text()
PAYLOAD_BYTES = 100
"""The benchmark's messages: its rows are of about 170 bytes instead of 100."""
LOCAL_S3 = 0.0
"""Seconds of a PUT that the benchmark's S3 server, on the same machine, adds to those of the process."""

RATES = st.floats(0.01, 1e6)
SIZES = st.integers(1, 256 * 1024)
FRESHNESS = st.floats(270, 86_400)


def number(cell: str) -> float:
    return float(cell.replace(",", "").removesuffix(" MB"))


def measured_speed(records: int) -> float:
    """Messages a second of our consumer in files of this size."""
    (row,) = re.findall(rf"^\| ours \| {records:,} \| ([\d,]+) \|", BENCHMARKS, re.MULTILINE)
    return number(row)


def measured_memory() -> list[tuple[int, float]]:
    """Partitions and peak RSS in bytes of consumers with default limits."""
    rows = re.findall(r"^\| (\d+) \| [\d,]+ \| \d+ MB \| (\d+) MB \|$", BENCHMARKS, re.MULTILINE)
    rows += [
        (partitions, cell)
        for partitions, cells in re.findall(r"^\| [\d,]+ \| (\d) \| ((?:\d+ MB(?: \| )?){4}) \|$", INGEST, re.MULTILINE)
        for cell in re.findall(r"\d+", cells)
    ]
    return [(int(partitions), float(cell) * 1e6) for partitions, cell in rows]


def limit_in_the_manifest() -> int:
    manifest = (PROJECT_ROOT / "deploy" / "kubernetes" / "consumer.yaml").read_text()
    (deployment,) = [part for part in yaml.safe_load_all(manifest) if part["kind"] == "Deployment"]
    limit = str(deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])
    return int(limit.removesuffix("Mi")) * sizing.MIB


@pytest.mark.parametrize("records", [100, 10_000])
def test_the_landing_speed_is_within_a_quarter_of_the_measured(records: int) -> None:
    assert landing_rate(records, PAYLOAD_BYTES, LOCAL_S3) == pytest.approx(measured_speed(records), rel=0.25)


def test_so_is_the_speed_on_several_partitions() -> None:
    rows = re.findall(r"^\| 1 of ours on 4 partitions \| ([\d,]+) \|", BENCHMARKS, re.MULTILINE)
    assert len(rows) >= 3
    assert landing_rate(100, PAYLOAD_BYTES, LOCAL_S3) == pytest.approx(median(map(number, rows)), rel=0.25)


def test_the_memory_is_within_a_quarter_of_the_measured() -> None:
    measured = measured_memory()
    assert len(measured) == 4 + 6 * 4
    for partitions, peak in measured:
        assert peak <= 1.25 * memory(sizing.BUFFER_BYTES, partitions)
        assert peak <= plan(Demand(1)).memory_limit_bytes
    for partitions in (1, 6):
        largest = max(peak for number_of, peak in measured if number_of == partitions)
        assert memory(sizing.BUFFER_BYTES, partitions) == pytest.approx(largest, rel=0.25)


def test_the_default_load_fits_into_the_manifests_memory() -> None:
    assert plan(Demand(0.05)).memory_limit_bytes == limit_in_the_manifest()


@given(RATES, SIZES, FRESHNESS)
def test_twice_the_load_needs_no_less(rate: float, size: int, freshness: float) -> None:
    one, two = plan(Demand(rate, size, freshness)), plan(Demand(2 * rate, size, freshness))
    for name in ("topics", "partitions", "consumers", "scanned_bytes_per_run", "largest_query_bytes", "cutoff_bytes"):
        assert getattr(two, name) >= getattr(one, name), name
    assert two.test_window_days <= one.test_window_days
    assert two.dollars_a_month >= one.dollars_a_month


@given(RATES, SIZES, FRESHNESS)
def test_twice_the_bytes_of_a_message_need_no_less(rate: float, size: int, freshness: float) -> None:
    one, two = plan(Demand(rate, size, freshness)), plan(Demand(rate, 2 * size, freshness))
    for name in ("topics", "partitions", "consumers", "dollars_a_month"):
        assert getattr(two, name) >= getattr(one, name), name


@given(RATES, SIZES, FRESHNESS)
def test_a_plan_keeps_every_limit(rate: float, size: int, freshness: float) -> None:
    made = plan(Demand(rate, size, freshness))
    assert made.puts_per_second / made.topics <= 3_500
    assert made.prefix_share <= 1
    assert made.consumers * made.process_messages_per_second * sizing.SPARE >= rate * (1 - 1e-9)
    assert made.partitions >= made.consumers >= made.topics
    assert made.memory_bytes <= made.memory_limit_bytes
    assert made.largest_query_bytes < made.cutoff_bytes
    assert made.batch_records * (size + sizing.ROW_BYTES) <= max(sizing.BATCH_BYTES, size + sizing.ROW_BYTES)
    assert_fresh(made)


def assert_fresh(made: Plan) -> None:
    """A quote waits for its batch, the trigger's look, the floor, and the run."""
    waits = made.batch_age_seconds + made.poll_seconds + made.floor_seconds + sizing.RUN_SECONDS
    assert waits <= made.demand.freshness_seconds + 1e-6
    assert made.floor_seconds >= sizing.RUN_SECONDS
    assert made.test_window_days * sizing.DAY_SECONDS >= min(2 * made.floor_seconds, 3 * sizing.DAY_SECONDS) - 1e-6


def test_a_fresher_gold_costs_more() -> None:
    dollars = [plan(Demand(10, freshness_seconds=freshness)).dollars_a_month for freshness in (300, 1_140, 3_600)]
    assert all(fresh > stale for fresh, stale in pairwise(dollars))


def test_the_defaults_need_no_other_setting_for_a_small_load() -> None:
    made = plan(Demand(0.05))
    assert (made.batch_age_seconds, made.poll_seconds) == (60, 60)
    assert (made.floor_seconds, made.runs_per_day) == (900, 96)
    assert made.test_window_days == sizing.WINDOW_DAYS


def test_large_messages_at_a_high_rate_need_several_prefixes() -> None:
    made = plan(Demand(1e6, 200_000))
    assert made.topics > 1
    assert made.puts_per_second > 3_500
    assert made.prefix_share <= 1


def test_gold_is_not_fresher_than_two_runs() -> None:
    with pytest.raises(SizingError, match="gold cannot be 120 s fresh") as refused:
        pace(120)
    (least,) = re.findall(r"At least (\d+) s", str(refused.value))
    assert pace(int(least))[1] >= sizing.RUN_SECONDS
    with pytest.raises(SizingError):
        pace(int(least) - 2)


@pytest.mark.parametrize("demand", [Demand(0), Demand(1, 0), Demand(1, 1, -1), Demand(nan), Demand(inf)])
def test_a_demand_without_a_sensible_number_is_refused(demand: Demand) -> None:
    with pytest.raises(SizingError, match="numbers above 0"):
        plan(demand)


def test_numbers_of_other_files_are_theirs() -> None:
    project = yaml.safe_load((PROJECT_ROOT / "include" / "dbt" / "dbt_project.yml").read_text())
    assert project["vars"]["test_window_days"] == sizing.WINDOW_DAYS
    cutoff = re.search(r"QueryCutoffBytes:\n +Type: Number\n +Default: (\d+)", TEMPLATE.read_text())
    assert cutoff is not None
    assert int(cutoff[1]) == sizing.CUTOFF_BYTES
    assert ConsumerSettings.model_fields["batch_records"].default == sizing.LEAST_RECORDS


def test_the_guides_table_of_puts_follows_the_same_limits() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| [\d.]+ \| ([\d,]+) \| ([\d,]+) \|$", INGEST, re.MULTILINE)
    assert [row[0] for row in rows] == ["100", "1,000", "10,000"]
    for cells in rows:
        records, process, prefix = map(number, cells)
        assert process == sizing.PARALLEL_PUTS * records / sizing.PUT_SECONDS
        assert prefix == sizing.PREFIX_PUTS * records
