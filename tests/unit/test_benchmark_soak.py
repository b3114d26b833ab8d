"""The soak turns samples into slopes, verdicts, tables and a plot. No time passes and no program runs here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from benchmarks.results import judged
from benchmarks.soak import judgement, plot, rig
from benchmarks.soak.figures import after_warm_up, flow, growth, line, of_program
from benchmarks.soak.samples import Process, Run, Sample, read, write_line

RUN = Run("2026-01-02T03:04:05Z", "2 x Some Processor <fast>, Python 3.11.2", "apache-airflow 3.0.0", {})
HOUR = 3600.0
PROGRAMS = (*judgement.OURS, *judgement.AIRFLOW, "broker", "emulator", "mailbox")


def process(rss: float = 100e6, handles: int = 30, threads: int = 10, pid: int = 1) -> Process:
    return Process(pid, 0.0, round(rss), round(rss), round(rss), handles, threads)


def sample(number: int, programs: dict[str, list[Process]] | None = None, **values: object) -> Sample:
    """The sample of a minute: 30 records a second, of which each hundred is a file."""
    usual: dict[str, object] = {
        "produced": 1800 * number, "landed": 1800 * number, "lag": 300, "mails": [],
        "objects": {"crypto_data": 18 * number, "state": 25}, "warehouse_bytes": 1800 * 400 * number,
        "transform_runs": number, "alerts": [],
    }  # fmt: skip
    return Sample(60.0 * number, 1.5, programs or {name: [process()] for name in PROGRAMS}, **(usual | values))  # type: ignore[arg-type]


def hour(program: str = "consumer", **grown: Sequence[float]) -> list[Sample]:
    """61 samples in which only this program's values differ; each list has a value a minute."""
    return [
        sample(number, {name: [process()] for name in PROGRAMS} | {
            program: [process(**{name: values[number] for name, values in grown.items()})]  # type: ignore[arg-type]
        })
        for number in range(61)
    ]  # fmt: skip


def verdicts(samples: list[Sample]) -> dict[str, str]:
    """The verdicts that are not `met`."""
    bounds = judged("soak", judgement.values(samples))
    return {bound.figure: bound.verdict for bound in bounds if bound.verdict != "met"}


def test_the_slope_is_that_of_least_squares() -> None:
    fit = line([(number / 60, 5 + 2 * number / 60 + (-1) ** number) for number in range(61)])
    assert fit is not None
    assert fit.an_hour == pytest.approx(2.0, abs=0.01)
    assert (fit.first, fit.last, fit.rise) == pytest.approx((5.0, 7.0, 2.0), abs=0.05)


def test_few_samples_have_no_slope() -> None:
    assert line([(float(number), 1.0) for number in range(9)]) is None


def test_a_flat_run_keeps_all_bounds() -> None:
    assert verdicts(hour()) == {}


def test_the_first_quarter_is_not_judged() -> None:
    samples = hour(rss=[100e6 + min(number, 15) * 1e6 for number in range(61)])
    assert [each.seconds for each in after_warm_up(samples)][:2] == [900.0, 960.0]
    assert verdicts(samples) == {}


@pytest.mark.parametrize(("mb_an_hour", "verdict"), [(0.9, {}), (1.1, {"consumer.memory_mb_an_hour": "MISSED"})])
def test_memory_may_grow_by_less_than_a_megabyte_an_hour(mb_an_hour: float, verdict: dict[str, str]) -> None:
    assert verdicts(hour(rss=[100e6 + mb_an_hour * 1e6 * number / 60 for number in range(61)])) == verdict


@pytest.mark.parametrize("what", ["handles", "threads"])
def test_a_handle_or_thread_that_is_lost_every_ten_minutes_is_growth(what: str) -> None:
    samples = hour("producer", **{what: [10 + number // 10 for number in range(61)]})
    assert verdicts(samples) == {f"producer.more_{what}": "MISSED"}


def test_a_pool_that_opens_and_closes_is_no_growth() -> None:
    assert verdicts(hour(handles=[30 + number % 3 for number in range(61)])) == {}


def test_a_restart_is_reported_although_memory_begins_again() -> None:
    samples = [sample(number, {name: [process(pid=1 + number // 40)] for name in PROGRAMS}) for number in range(61)]
    assert verdicts(samples)["consumer.restarts"] == "MISSED"
    assert verdicts(samples)["consumer.memory_mb_an_hour"] == "not measured"


def test_processes_of_tasks_do_not_count() -> None:
    """The scheduler forks one for each task; its workers stay."""
    samples = [
        sample(number, {"airflow-scheduler": [process(), process(pid=2), process(pid=100 + number)]})
        for number in range(61)
    ]
    assert {value for _, value in of_program(samples, "airflow-scheduler", lambda each: each.rss)} == {200e6}
    assert growth(samples, "airflow-scheduler").restarts == 0


def test_a_program_of_airflow_decides_nothing() -> None:
    samples = hour("airflow-api", rss=[100e6 + 5e6 * number / 60 for number in range(61)])
    assert verdicts(samples) == {}
    assert judgement.values(samples)["airflow-api.memory_mb_an_hour"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("values", "missed"),
    [
        ({"lag": 3000}, "lag_over_batch_age"),
        ({"mails": ["[demo] problem"]}, "mails"),
    ],
)
def test_a_single_high_lag_or_mail_breaks_a_bound(values: dict[str, object], missed: str) -> None:
    samples = [*hour()[:-1], sample(60, None, **values)]
    assert verdicts(samples) == {missed: "MISSED"}


def test_more_files_than_batches_break_a_bound() -> None:
    samples = [sample(number, objects={"crypto_data": 40 * number, "state": 25}) for number in range(61)]
    assert verdicts(samples) == {"files_over_batches": "MISSED"}  # most: 18 full and 18 old ones a minute


def test_state_objects_and_warehouse_are_bounded() -> None:
    samples = [
        sample(number, objects={"crypto_data": 18 * number, "state": number}, warehouse_bytes=1800 * 1100 * number)
        for number in range(61)
    ]
    assert verdicts(samples) == {"more_state_objects": "MISSED", "warehouse_bytes_a_record": "MISSED"}


def test_a_sample_without_an_answer_is_left_out() -> None:
    unknown = sample(30, produced=None, landed=None, lag=None, objects=None, alerts=None)
    samples = [*hour()[:30], unknown, *hour()[31:]]
    assert verdicts(samples) == {}
    assert flow(samples).messages_a_second == pytest.approx(30.0)


def test_a_run_that_is_too_short_meets_no_slope() -> None:
    samples = hour()[:8]
    assert verdicts(samples)["consumer.memory_mb_an_hour"] == "not measured"
    assert "| consumer | - | - | - | - | 0 |" in judgement.growth_table(samples, judgement.OURS)


def test_the_table_says_what_grew_and_the_conditions_what_ran() -> None:
    samples = hour(rss=[100e6 + 2e6 * number / 60 for number in range(61)])
    table = judgement.growth_table(samples, judgement.OURS)
    assert "| consumer | 100.5 to 102.0 MB | +2.00 | 30.0 to 30.0 | 10.0 to 10.0 | 0 |" in table
    assert "60 minutes, 61 samples, 30 messages a second, 60 runs" in judgement.conditions(RUN, samples)


def test_the_plot_is_svg_with_samples_fit_and_warm_up() -> None:
    samples = hour(rss=[100e6 + 2e6 * number / 60 for number in range(61)])
    root = ElementTree.fromstring(plot.svg(RUN, samples))  # noqa: S314 - our own text
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert "<fast>" in root.findtext("svg:title", "", space)
    panels = root.findall("svg:g", space)
    assert len(panels) == len(plot.panels(samples)) == 12
    curves = panels[0].findall(".//svg:path", space)
    assert [len(curve.attrib["d"].split()) for curve in curves] == [2 * 61, 2 * 46]
    assert len(panels[0].findall(".//svg:rect", space)) == 1


def test_the_plot_leaves_a_gap_where_a_sample_is_missing() -> None:
    samples = [each for each in hour() if each.seconds != 40 * 60]
    root = ElementTree.fromstring(plot.svg(RUN, samples))  # noqa: S314 - our own text
    curve = root.find(".//{http://www.w3.org/2000/svg}path")
    assert curve is not None
    assert curve.attrib["d"].count("M") == 2


def test_the_file_keeps_run_and_samples(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    write_line(file, RUN)
    for number in range(2):
        write_line(file, sample(number))
    assert read(file) == (RUN, [sample(0), sample(1)])


def test_this_process_is_measured() -> None:
    found = rig.family(os.getpid())
    assert found[0].pid == os.getpid()
    assert 0 < found[0].private <= found[0].rss
    assert found[0].handles > 0
    assert found[0].threads > 0


def test_a_program_that_does_not_run_has_no_processes() -> None:
    assert rig.family(0) == []
    ended = psutil.Popen(["true"])
    ended.wait()
    assert rig.family(ended.pid) == []
