"""The trigger of the asset `landed`: it starts a run while something is unread, and only then."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.sdk import Asset
from msgspec.structs import replace

from include.landing.layout import object_key
from include.on_airflow import landed_trigger, watched_dags
from include.on_airflow.landed_trigger import LONGEST_PAUSE, SWEEP, UNANSWERED, LandedTrigger, Watch, schedule
from include.settings import PROJECT_ROOT, StorageSettings
from include.transform import gate, starts
from include.transform.start_rule import Start, StartRule
from tests.compatibility.bucket import S3
from tests.unit.refusing_s3 import s3_that_refuses
from tests.unit.transform.landing_history import STORAGE, Pipeline

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULE = StartRule(5 * MINUTE, 500)


@dataclass
class Lake:
    """A bucket, a clock, a trigger's watch on it, and runs of which only the gate's part happens."""

    bucket: str
    now: datetime = NOW
    active: bool = False
    offset: int = 0
    runs: int = 0
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.s3 = boto3.client("s3")
        self.s3.meta.events.register("before-call.s3", lambda model, **_: self.requests.append(model.name))
        self.storage = StorageSettings(bucket=self.bucket)
        self.watch = self.new_watch()

    def new_watch(self) -> Watch:
        """The watch of a triggerer that has just started."""
        return Watch("d", RULE, self.storage, lambda: self.s3, lambda _: self.active, lambda: self.now)

    def land(self, at: datetime, partition: int = 0) -> None:
        key = object_key(self.storage.data_prefix, "crypto_data", partition, self.offset, int(at.timestamp()) * 1000)
        self.offset += 1
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"[]")

    def run(self, *, succeeds: bool = True) -> None:
        """A run that starts now; bronze takes the offer if it succeeds."""
        self.runs += 1
        found = gate.look(self.s3, self.storage, self.now)
        starts.write_start(self.s3, self.storage, f"run {self.runs}", Start(self.now))
        if succeeds:
            gate.write_seen(self.s3, self.storage, found.seen)
            gate.write_offered(self.s3, self.storage, replace(found.offered, started_at=self.now))

    def after(self, wait: timedelta) -> bool:
        """Whether the watch starts a run so much later."""
        self.now += wait
        return self.watch.look()


@pytest.fixture
def lake(bucket: str) -> Lake:
    return Lake(bucket)


def quiet(lake: Lake) -> None:
    """A lake with one file, which bronze took, and a watch that has looked at everything."""
    lake.land(NOW - MINUTE)
    assert lake.after(timedelta())
    lake.run()
    assert not lake.after(6 * MINUTE)


@pytest.mark.servers
def test_an_empty_bucket_starts_nothing(lake: Lake) -> None:
    assert not lake.watch.look()


@pytest.mark.servers
def test_a_landing_starts_one_run(lake: Lake) -> None:
    quiet(lake)
    lake.land(lake.now)
    assert [lake.after(MINUTE) for _ in range(2)] == [True, False]
    lake.run()
    assert not any(lake.after(MINUTE) for _ in range(30))


@pytest.mark.servers
def test_an_idle_look_costs_one_list_and_three_gets(lake: Lake) -> None:
    quiet(lake)
    lake.requests.clear()
    assert not lake.after(MINUTE)
    assert sorted(lake.requests) == ["GetObject", "GetObject", "GetObject", "ListObjectsV2"]


@pytest.mark.servers
def test_before_the_floor_nothing_is_listed(lake: Lake) -> None:
    quiet(lake)
    lake.land(lake.now)
    assert lake.after(MINUTE)
    lake.run()
    lake.land(lake.now)
    lake.requests.clear()
    assert not lake.after(4 * MINUTE)
    assert "ListObjectsV2" not in lake.requests
    assert lake.after(MINUTE)


@pytest.mark.servers
def test_a_failed_run_is_offered_again_after_the_floor(lake: Lake) -> None:
    quiet(lake)
    lake.land(lake.now)
    assert lake.after(MINUTE)
    lake.run(succeeds=False)
    assert [lake.after(MINUTE) for _ in range(5)] == [False] * 4 + [True]


@pytest.mark.servers
def test_no_run_is_started_while_one_is_active(lake: Lake) -> None:
    quiet(lake)
    lake.land(lake.now)
    lake.active = True
    assert not lake.after(MINUTE)
    lake.active = False
    assert lake.after(MINUTE)


@pytest.mark.servers
def test_a_restart_of_the_triggerer_forgets_nothing(lake: Lake) -> None:
    quiet(lake)
    lake.land(lake.now)
    lake.watch = lake.new_watch()
    assert lake.after(MINUTE)


@pytest.mark.servers
def test_a_restart_of_the_triggerer_repeats_nothing(lake: Lake) -> None:
    quiet(lake)
    lake.land(lake.now)
    assert lake.after(MINUTE)
    lake.run()
    lake.watch = lake.new_watch()
    assert not any(lake.after(MINUTE) for _ in range(10))


@pytest.mark.servers
def test_an_event_without_a_run_is_repeated(lake: Lake) -> None:
    """The DAG was paused, or the scheduler was away."""
    quiet(lake)
    lake.land(lake.now)
    assert lake.after(MINUTE)
    assert not lake.after(UNANSWERED - MINUTE)
    assert lake.after(MINUTE)


@pytest.mark.servers
def test_a_file_of_an_older_hour_is_found_by_the_sweep(lake: Lake) -> None:
    quiet(lake)
    lake.land(NOW - timedelta(days=2), partition=3)
    waited = timedelta()
    while not lake.after(MINUTE):
        waited += MINUTE
    assert waited <= SWEEP


@pytest.mark.servers
def test_the_previous_hour_of_a_slow_partition_needs_no_sweep(lake: Lake) -> None:
    lake.land(NOW - timedelta(hours=1))
    quiet(lake)
    lake.land(NOW - timedelta(minutes=59), partition=1)
    assert lake.after(MINUTE)


@pytest.mark.servers
@pytest.mark.parametrize("page", [1, 2, 3, 4, 100])
def test_the_tail_finds_new_files_of_every_page_size(lake: Lake, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(starts, "PAGE", page)
    for hours in (3, 1, 0):
        lake.land(NOW - timedelta(hours=hours))
    lake.run()
    seen, offered = gate.read_seen(lake.s3, lake.storage), gate.read_offered(lake.s3, lake.storage)
    assert offered is not None
    assert not starts.tail_is_unread(lake.s3, lake.storage, seen, offered, NOW)
    lake.land(NOW + MINUTE)
    assert starts.tail_is_unread(lake.s3, lake.storage, seen, offered, NOW)


@pytest.mark.servers
def test_files_of_a_day_after_tomorrow_start_nothing(lake: Lake) -> None:
    """Athena's tables do not show them yet."""
    quiet(lake)
    lake.land(NOW + timedelta(days=3))
    assert not any(lake.after(MINUTE) for _ in range(30))


@pytest.mark.servers
def test_unreadable_counts_start_the_run_that_reports_them(lake: Lake) -> None:
    quiet(lake)
    lake.s3.put_object(Bucket=lake.bucket, Key=lake.storage.state_prefix + gate.HOURS, Body=b"{")
    assert lake.after(MINUTE)


class Story(Pipeline):
    """A history of the gate whose runs are started by a watch. Its triggerer restarts now and then."""

    calm = False
    """Whether runs succeed."""

    def restart(self) -> None:
        s3: Any = S3(self.bucket)
        self.watch = Watch("d", RULE, STORAGE, lambda: s3, lambda _: False, lambda: self.now)

    def poll(self) -> None:
        self.now += MINUTE
        if self.watch.look():
            assert gate.look(S3(self.bucket), STORAGE, self.now).is_new, "a run without a cause"  # type: ignore[arg-type]
            self.run()

    def run(self) -> None:
        s3: Any = S3(self.bucket)
        found = gate.look(s3, STORAGE, self.now)
        begun = self.now
        self.runs += 1
        starts.write_start(s3, STORAGE, f"run {self.runs}", Start(begun))
        self.now += self.random.choice([1, 20]) * MINUTE
        self.load(gate.ranges(found.hours))
        if not self.calm and self.random.random() < 0.3:
            return
        gate.write_seen(s3, STORAGE, found.seen)
        gate.write_offered(s3, STORAGE, replace(found.offered, started_at=begun))


@pytest.mark.parametrize("seed", range(60))
def test_no_history_strands_a_file_or_runs_without_cause(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # a bucket with many objects
        monkeypatch.setattr(gate, "FEW", -1)
    monkeypatch.setattr(starts, "PAGE", 1 + seed % 7)
    story = Story(random.Random(seed))
    story.restart()
    for _ in range(80):
        story.random.choices([story.send, story.land, story.poll, story.wait, story.restart], [4, 4, 6, 1, 1])[0]()
    story.calm = True
    while story.in_flight:
        story.land()
    for _ in range(240):
        story.poll()
    assert not gate.look(S3(story.bucket), STORAGE, story.now).is_new  # type: ignore[arg-type]
    assert max(story.table.values(), default=1) == 1


def trigger_of(monkeypatch: pytest.MonkeyPatch, look: Callable[[], bool]) -> LandedTrigger:
    """A trigger whose looks are `look`."""
    trigger = LandedTrigger("d", 1, 500, 0.01)
    watch = Watch("d", RULE, StorageSettings(bucket="lake"), s3_that_refuses, lambda _: False)  # type: ignore[arg-type]
    monkeypatch.setattr(watch, "look", look)
    monkeypatch.setattr(trigger, "_watch", lambda: watch)
    return trigger


def test_s3_away_is_told_once_and_looks_become_rare(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    s3 = s3_that_refuses("GetObject")
    watch = Watch("d", RULE, StorageSettings(bucket="lake"), lambda: s3, lambda _: False)
    trigger = LandedTrigger("d", 1, 500, 5)
    monkeypatch.setattr(trigger, "_watch", lambda: watch)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    with caplog.at_level(logging.INFO), pytest.raises(asyncio.CancelledError):
        asyncio.run(anext(trigger.run()))  # type: ignore[arg-type]
    assert pauses[:4] == [10, 20, 40, 80]
    assert max(pauses) == LONGEST_PAUSE.total_seconds()
    assert [record.message for record in caplog.records if "AccessDenied" in record.message] == [
        "nothing is started, because the look for new files fails: " + caplog.records[0].message.partition(": ")[2]
    ]


def test_a_slow_look_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    trigger = trigger_of(monkeypatch, lambda: bool(release.wait(60)))

    async def scenario() -> None:
        first: asyncio.Task[object] = asyncio.create_task(anext(trigger.run()))  # type: ignore[arg-type]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not first.done()
        release.set()  # only a free event loop comes here
        await first

    asyncio.run(scenario())


def test_the_trigger_is_made_again_from_its_serialised_form() -> None:
    path, arguments = LandedTrigger("d", 900, 96, 60).serialize()
    assert path == "crypto_landed.LandedTrigger"
    assert LandedTrigger(**arguments).serialize() == (path, arguments)


def test_plugins_alone_on_the_path_are_enough_to_import_it(tmp_path: Path) -> None:
    """As in a triggerer, whose path has neither the project nor dags/."""
    code = "import crypto_landed; print(crypto_landed.LandedTrigger('d', 1, 1, 1).serialize()[0])"
    environment = {"PYTHONPATH": str(PROJECT_ROOT / "plugins"), "AIRFLOW_HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == landed_trigger.CLASS


@pytest.mark.parametrize(
    ("settings", "by_event"),
    [
        ({}, True),
        ({"WAREHOUSE_TRANSFORM_SCHEDULE": "0 * * * *"}, False),
        ({"WAREHOUSE_TRANSFORM_START": "cron"}, False),
        ({"WAREHOUSE_TRANSFORM_START": "event", "WAREHOUSE_TRANSFORM_SCHEDULE": "0 * * * *"}, True),
    ],
)
def test_the_settings_say_how_the_transform_starts(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], by_event: bool
) -> None:
    monkeypatch.syspath_prepend(PROJECT_ROOT / "plugins")
    monkeypatch.setenv("S3_BUCKET", "lake")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    dag = watched_dags.transform()
    assert (dag.starts is not None, dag.schedule is None) == (by_event, by_event)
    assert isinstance(schedule(dag), list) == by_event


def test_without_our_plugins_the_transform_has_its_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not entry.endswith("plugins")])
    monkeypatch.delitem(sys.modules, watched_dags.MODULE, raising=False)
    assert watched_dags.transform().schedule == "*/15 * * * *"


def test_the_watcher_has_the_settings_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "lake")
    monkeypatch.setenv("WAREHOUSE_TRANSFORM_START", "event")
    monkeypatch.setenv("WAREHOUSE_TRANSFORM_FLOOR_SECONDS", "120")
    assets = schedule(watched_dags.transform())
    assert isinstance(assets, list)
    (asset,) = assets
    assert isinstance(asset, Asset)
    assert (asset.name, asset.uri) == ("landed", "s3://lake/crypto_data")
    (watcher,) = asset.watchers
    assert watcher.trigger.serialize()[1] == {
        "dag_id": "crypto_transform",
        "floor": 120.0,
        "runs_a_day": 96,
        "poll": 60.0,
    }
