from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from include.monitoring.page import quality
from include.state.dbt_tests import FailingTest
from tests.unit.monitoring.page.states import MINUTE, NOW, health, layer, runs_of


def test_tests_are_grouped_by_layer_and_failing_ones_come_first() -> None:
    runs = [runs_of("a_passes", "pp"), runs_of("b_fails", "pf"), runs_of("c_seed", "p", layer="")]
    gold, seeds = quality.groups(runs, health())
    assert (gold.title, seeds.title) == ("Gold", "Seeds and test history")
    assert [test.name for test in gold.tests] == ["b_fails", "a_passes"]
    assert [test.name for test in gold.failing] == ["b_fails"]


def test_a_failing_test_has_its_rows_and_its_beginning() -> None:
    failing = FailingTest("b_fails", "error", 4, "Got 4 results", NOW - timedelta(hours=3), "id=7 price=-1")
    seen = health()
    seen = replace(seen, layers=(*seen.layers[:2], layer("gold", failing=(failing,))))
    ((test,),) = [group.tests for group in quality.groups([runs_of("b_fails", "pf", owner="Analytics")], seen)]
    assert (test.status, test.failures, test.owner) == ("fail", 4, "Analytics")
    assert (test.since, test.rows) == (NOW - timedelta(hours=3), "id=7 price=-1")


def test_without_a_state_the_kept_runs_say_since_when_it_fails() -> None:
    ((test,),) = [group.tests for group in quality.groups([runs_of("b", "pff")], health())]
    assert test.since == NOW - 30 * MINUTE


def test_a_test_that_changes_often_is_flaky() -> None:
    (group,) = quality.groups([runs_of("b", "pfpfp"), runs_of("c", "ppppf")], health())
    assert {test.name: test.flaky for test in group.tests} == {"b": True, "c": False}
    assert group.flaky == 1


def test_a_test_links_to_its_task() -> None:
    runs = runs_of("b", "p", task="crypto_transform.gold.crypto_x_model_build", url="http://airflow.test/dags/d/runs/r")
    ((test,),) = [group.tests for group in quality.groups([runs], health())]
    assert test.url == "http://airflow.test/dags/d/runs/r/tasks/gold.crypto_x_model_build"


def test_the_daily_tests_are_a_group_of_their_own() -> None:
    (group,) = quality.groups([runs_of("b", "p", task="lakehouse_maintenance.test_all_rows")], health())
    assert group.title == quality.EVERY_ROW


def test_a_strip_has_one_path_for_each_kind_of_result() -> None:
    kinds = dict(quality.strip(runs_of("b", "pfpws").runs))
    assert set(kinds) == {"pass", "fail", "warn", "skip"}
    assert kinds["pass"].count("M") == 2
    assert kinds["fail"].startswith("M11 ")
    assert len(set(quality._SHAPES.values())) == 4


def test_a_strip_is_told_in_words() -> None:
    assert quality.history(runs_of("b", "ppfw").runs) == "Last runs, the newest first: 1 warn, 1 fail, 2 pass"
