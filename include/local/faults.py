"""Faults that `make demo-break` causes in the running demo, and how `make demo-fix` removes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from include.catalogue import MONITOR_MINUTES
from include.local import environment
from include.local.process_control import ProcessControl
from include.monitoring.checks.measure import SHORTEST_GRACE

BAD_SHARE = "SIMULATOR_BAD_SHARE"
SOURCE = "PRODUCER_SOURCE"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break the demo. `apply` breaks the demo and returns the expected effect, in words."""

    apply: Callable[[ProcessControl, Path], str]


def _stop_consumer(control: ProcessControl, _: Path) -> str:
    control.stop("consumer")
    return (
        "The consumer is stopped and lag grows. An empty group may be a restart, so it is a fault after "
        f"{SHORTEST_GRACE.total_seconds() / 60:.0f} minutes: the monitor's first run after that (every "
        f"{MONITOR_MINUTES} minutes; trigger pipeline_monitor to have it sooner) fails and sends a mail. "
        "make demo-mail shows the mail, make demo-fix starts the consumer."
    )


def _send_bad_data(control: ProcessControl, environment_file: Path) -> str:
    values = environment.read(environment_file) | {BAD_SHARE: "0.3", SOURCE: "simulator"}
    _restart_producer(control, environment_file, values)
    return (
        "Three of ten messages now break the format: they go to dead_letter/ in S3, and the monitor's next run "
        "reports them. make demo-mail shows the mail, make demo-fix repairs the producer."
    )


def _stop_s3(control: ProcessControl, _: Path) -> str:
    control.stop("emulator")
    return (
        "S3 and CloudWatch are gone: the consumer keeps what it holds, pauses and retries, and the monitor says "
        "what it cannot read. make demo-mail shows the mail, make demo-fix starts the emulator."
    )


FAULTS = {"consumer": Fault(_stop_consumer), "data": Fault(_send_bad_data), "s3": Fault(_stop_s3)}


def fix(control: ProcessControl, environment_file: Path) -> str:
    """Undo every fault; returns the expected effect, in words."""
    values = environment.read(environment_file)
    if BAD_SHARE in values:
        del values[BAD_SHARE]
        values.pop(SOURCE, None)
        _restart_producer(control, environment_file, values)
    for name in ("emulator", "consumer"):
        control.start(name)
    return (
        "Fixed: the backlog lands, and the monitor's next run sends a mail that the fault is over. Conditions that "
        "count events (dead letters, upload errors) are over when the events are some minutes old."
    )


def _restart_producer(control: ProcessControl, environment_file: Path, values: dict[str, str]) -> None:
    environment.write(environment_file, values)
    control.stop("producer")
    control.start("producer", wait=False)
