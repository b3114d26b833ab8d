"""The latency objectives: how fast their error budgets are used, and the builds whose latencies are to be published.

The burn rate of a window is the share of its records that were late, divided by the share that may be late. At 1 the
budget lasts exactly as long as the objective is meant to hold; a window without a record burns nothing. The rules are
those of the Site Reliability Workbook, chapter 5, table 5-8 ("multiwindow, multi-burn-rate alerts"). Their short
windows are longer here, because records reach gold in builds, which can be 15 minutes apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import Severity, Stage
from include.instants import Instant, span
from include.settings import ObjectiveSettings, StorageSettings
from include.state import json_object
from include.state.latency import SLOT, BuildLatency, Count, Percentiles, StageLatency

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Rule(msgspec.Struct, frozen=True):
    """An alert when the burn rate is above `rate` in both windows. The short one ends the alert after its cause."""

    long: timedelta
    short: timedelta
    rate: float
    severity: Severity


RULES = (
    Rule(timedelta(hours=1), timedelta(minutes=30), 14.4, "error"),
    Rule(timedelta(hours=6), timedelta(hours=1), 6.0, "error"),
    Rule(timedelta(days=3), timedelta(hours=6), 1.0, "warning"),
)
LEAST_RECORDS = 100
"""Records that the long window needs: one percent of fewer is not a whole record. It is one full file."""


class Burn(msgspec.Struct, frozen=True):
    """The burn rates of a rule's windows, None without a record, and the long window's records."""

    rule: Rule
    long: float | None
    short: float | None
    records: int
    late: int

    @property
    def alarms(self) -> bool:
        """Whether both windows burn too fast."""
        enough = self.records >= LEAST_RECORDS
        return enough and (self.long or 0) > self.rule.rate and (self.short or 0) > self.rule.rate


class Objective(msgspec.Struct, frozen=True):
    """One objective now: `percent` of the records reach the stage `within_seconds`."""

    percent: float
    within_seconds: float
    burns: Sequence[Burn]
    began_at: Instant | None = None
    """The first slot with a late record in the longest window; None without any."""
    last: Percentiles | None = None
    """The latencies of the last build; None when it brought no record."""

    @property
    def alarm(self) -> Burn | None:
        """The first rule that alarms; the fastest comes first."""
        return next((burn for burn in self.burns if burn.alarms), None)

    @property
    def line(self) -> str:
        """The burn rates in words, the shortest window first, and how much of the longest window's budget is left."""
        rates = [f"{burn.long:.3g} over {span(burn.rule.long)}" for burn in self.burns if burn.long is not None]
        spent = self.burns[-1].long if self.burns else None
        left = f"; {max(1 - spent, 0):.0%} of the {span(RULES[-1].long)} error budget left" if spent is not None else ""
        return f"burn rate {', '.join(rates) or 'unknown'}{left}"

    def report(self, burn: Burn) -> str:
        """The line of the alert that `burn` raises."""
        share = 100 * burn.late / burn.records
        last = f"; last build p95 {span(self.last.p95)}, maximum {span(self.last.maximum)}" if self.last else ""
        return (
            f"{share:.3g} % of {burn.records:,} records of {span(burn.rule.long)} took longer than "
            f"{span(self.within_seconds)} ({100 - self.percent:g} % may); {self.line}; "
            f"alarms above {burn.rule.rate:g}{last}"
        )


class LatencyMeasurement(msgspec.Struct, frozen=True):
    """The objectives of the measured stages, and the builds that were not published yet.

    A build is in only one measurement.
    """

    objectives: Mapping[Stage, Objective] = {}
    builds: Mapping[Stage, Sequence[BuildLatency]] = {}

    @property
    def burning(self) -> int | None:
        """Number of objectives that alarm; None before a layer was measured."""
        return sum(known.alarm is not None for known in self.objectives.values()) if self.objectives else None


def objectives(
    stages: Mapping[Stage, StageLatency], settings: ObjectiveSettings, now: datetime
) -> dict[Stage, Objective]:
    """The objectives of the stages that were measured."""
    goals: dict[Stage, tuple[float, float]] = {
        "landed": (settings.landed_percent, 60 * settings.landed_minutes),
        "gold": (settings.gold_percent, 60 * settings.gold_minutes),
    }
    return {
        stage: Objective(
            percent,
            within_seconds,
            [_burn(rule, stages[stage].counts, percent, now) for rule in RULES],
            _first_late(stages[stage].counts, now),
            stages[stage].last,
        )
        for stage, (percent, within_seconds) in goals.items()
        if stage in stages
    }


def _burn(rule: Rule, counts: Iterable[Count], percent: float, now: datetime) -> Burn:
    counts = list(counts)
    records, late = _window(counts, now - rule.long)
    allowed = 1 - percent / 100
    return Burn(rule, _rate(records, late, allowed), _rate(*_window(counts, now - rule.short), allowed), records, late)


def _window(counts: Iterable[Count], begin: datetime) -> tuple[int, int]:
    """Records, and late records, of the slots that end after `begin`."""
    within = [count for count in counts if count.at + SLOT > begin]
    late = sum(count.bad for count in within)
    return late + sum(count.good for count in within), late


def _rate(records: int, late: int, allowed: float) -> float | None:
    return late / records / allowed if records else None


def _first_late(counts: Iterable[Count], now: datetime) -> datetime | None:
    begin = now - RULES[-1].long
    return next((count.at for count in counts if count.bad and count.at + SLOT > begin), None)


def measure(
    s3: S3Client,
    storage: StorageSettings,
    settings: ObjectiveSettings,
    stages: Mapping[Stage, StageLatency],
    now: datetime,
) -> LatencyMeasurement:
    """The objectives, and the builds that no measurement has had before; remembers in S3 that this one has them.

    A number is lost when the monitor stops before it is published, but none is published twice. A broken memory begins
    again: the builds before `now` are then left out.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    written: dict[Stage, Instant] | None
    try:
        stored = json_object.read(
            s3, storage.bucket, _key(storage), dict[Stage, Instant], "the monitor writes it again"
        )
        written = taken = stored[0] if stored else {}
    except json_object.StateUnreadableError:
        written, taken = None, dict.fromkeys(stages, now)
    builds = {
        stage: [build for build in known.builds if stage not in taken or build.at > taken[stage]]
        for stage, known in stages.items()
    }
    newest = {stage: known.builds[-1].at for stage, known in stages.items() if known.builds}
    if newest and written != taken | newest:
        json_object.write(s3, storage.bucket, _key(storage), taken | newest)
    return LatencyMeasurement(objectives(stages, settings, now), {stage: new for stage, new in builds.items() if new})


def _key(storage: StorageSettings) -> str:
    return f"{storage.state_prefix}latency_published.json"
