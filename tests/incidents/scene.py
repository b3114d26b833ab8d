"""The stack in which incidents happen: everything of `make demo`, with shorter times and with parts that can break."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import psutil

from include.local import environment
from include.local.airflow_api import AirflowApiError
from include.local.status import MONITOR, TRANSFORM
from include.settings import KafkaSettings
from tests.incidents.judge import SeenMail
from tests.incidents.second_broker import SecondBroker
from tests.laptop_stack import local_settings
from tests.scheduler.watched_stack import WatchedStack, started

SHORT_TIMES = Path(__file__).parent / "short_times"
REPLAY = "dead_letter_replay"
BATCH_SECONDS = 6
POLL_SECONDS = 20
SLOW_PUT_SECONDS = 12.0
PROGRAMS = {
    "CONSUMER_BATCH_AGE_SECONDS": str(BATCH_SECONDS),
    "CONSUMER_CLOUDWATCH_SECONDS": "5",
    "PRODUCER_SOURCE": "simulator",
    "PRODUCER_POLL_SECONDS": str(POLL_SECONDS),
    "SIMULATOR_HISTORY_HOURS": "1",
}
"""Settings that are a tenth to a third of the production's, beside the constants in short_times/.

A coin must become silent after Kafka has noticed a hung consumer (45 s), as in production.
"""
THRESHOLDS = {"slow_uploads": SLOW_PUT_SECONDS / 2}


@dataclass
class Scene:
    """A stack that works, and the runs of its monitor."""

    watched: WatchedStack
    second_broker: SecondBroker
    ticks: list[datetime] = field(default_factory=list)
    """When each run of the monitor began, as far as `until` saw it."""
    _known: set[str] = field(default_factory=set)

    def until(self, condition: Callable[[], bool], seconds: float, *, ticking: bool = True) -> bool:
        """Wait for the condition and run the monitor again and again; False if it did not come in time.

        An API server that does not answer is asked again at the next look.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(AirflowApiError):
                if condition():
                    return True
                if ticking:
                    self._tick()
            time.sleep(0.5)
        return False

    def _tick(self) -> None:
        """Start the monitor unless it runs."""
        api = self.watched.stack.api
        runs = api.runs(MONITOR, 5)
        for run in runs:
            if run.started_at and run.run_id not in self._known:
                self._known.add(run.run_id)
                self.ticks.append(datetime.fromisoformat(run.started_at))
        if all(run.state in {"success", "failed"} for run in runs):
            api.trigger(MONITOR)

    def mails(self) -> dict[Path, SeenMail]:
        """All mails so far."""
        folder = self.watched.stack.demo.local.state / "mail"
        found = {}
        for path in sorted(folder.glob("[0-9]*.eml")):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            assert isinstance(message, EmailMessage)
            found[path] = SeenMail.of(message, datetime.fromtimestamp(int(path.stem) / 1e9, UTC))
        return found

    def is_quiet(self) -> bool:
        """Whether no alert is open and no notice waits."""
        state = self.watched.alert_state()
        return not state["open"] and not state["outbox"]

    def kill(self, program: str) -> None:
        """End a program and its children at once, as the kernel does; supervisord must not start it again."""
        control = self.watched.stack.demo.control
        main = psutil.Process(control.process_id(program))
        for process in [main, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        control.stop(program)


@contextmanager
def scene(state: Path) -> Iterator[Scene]:
    """The stack with quotes in all layers and without an alert."""
    local = local_settings(state)
    with started(local, PROGRAMS, {}, first_on_path=SHORT_TIMES) as watched:
        values = watched.stack.values
        kafka = KafkaSettings(bootstrap_servers=values["KAFKA_BOOTSTRAP_SERVERS"])
        second_broker = SecondBroker(local, kafka, state / "second_broker")
        try:
            second_broker.prepare()
            # From now on S3 is behind the proxy for each program that starts.
            environment.write(
                watched.stack.demo.environment_file, values | {"AWS_ENDPOINT_URL": watched.uploads.endpoint}
            )
            found = Scene(watched, second_broker)
            _begin(found)
            yield found
        finally:
            second_broker.stop()


def _begin(found: Scene) -> None:
    """Land the first quotes, build the layers, and wait until the monitor has nothing to say."""
    watched = found.watched
    for program in ("producer", "consumer"):
        watched.start(program)
    found.until(lambda: watched.landed() > 0, 120, ticking=False)
    watched.set_thresholds(THRESHOLDS)
    for dag_id in (TRANSFORM, REPLAY, MONITOR):
        watched.stack.api.unpause(dag_id)
    state, tasks = watched.stack.run_dag(TRANSFORM)
    assert state == "success", tasks
    calm = found.until(lambda: len(found.ticks) > 1 and found.is_quiet(), 420)
    assert calm, f"alerts are open: {list(watched.alert_state()['open'])}"


def after(seconds: float) -> datetime:
    """The moment so many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
