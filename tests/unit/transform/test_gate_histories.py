"""Histories of landings, runs and faults: bronze is offered every file, and loads none twice."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from include.landing.layout import parse_key
from include.transform import gate
from tests.compatibility.bucket import S3
from tests.unit.transform.landing_history import STORAGE, Pipeline


@pytest.mark.parametrize("seed", range(100))
def test_no_history_strands_or_doubles_a_file(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # a bucket with many objects
        monkeypatch.setattr(gate, "FEW", -1)
    pipeline = Pipeline(random.Random(seed))
    for _ in range(60):
        pipeline.random.choices([pipeline.send, pipeline.land, pipeline.run, pipeline.wait], [4, 4, 3, 2])[0]()
    pipeline.finish()
    reachable = {key for key in pipeline.landed if _lands_within_reach(key, pipeline.now)}
    assert reachable - set(pipeline.table) == set()
    assert max(pipeline.table.values(), default=1) == 1
    found = gate.look(S3(pipeline.bucket), STORAGE, pipeline.now)  # type: ignore[arg-type]
    assert (found.is_new, found.hours) == (False, [])


def _lands_within_reach(key: str, now: datetime) -> bool:
    """Whether Kafka may still have the record at the end of the history, by the days that the gate counts."""
    parsed = parse_key(key)
    return parsed is not None and parsed.time >= now - timedelta(days=8)


def test_runs_have_a_cause() -> None:
    """A gate that always opened would strand nothing either."""
    histories = [Pipeline(random.Random(seed)) for seed in range(50)]
    for pipeline in histories:
        for _ in range(60):
            pipeline.random.choices([pipeline.send, pipeline.land, pipeline.run, pipeline.wait], [4, 4, 3, 2])[0]()
    runs, idle = (sum(getattr(pipeline, name) for pipeline in histories) for name in ("runs", "idle_runs"))
    assert runs > 100
    assert idle < runs / 4, "only files that a run loaded although they landed after its look open the gate again"
