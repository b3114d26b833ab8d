"""The one sentence on top of the page: how it is, since when, what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.catalogue import CONDITIONS
from include.instants import old, span, to_second
from include.monitoring.alerts.model import OpenAlert
from include.monitoring.page.flow import layer_of, root_of
from include.monitoring.page.health import PipelineHealth

Overall = Literal["ok", "warning", "fault", "unknown"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """`headline` says how it is, `rest` what follows from it. `runbook` is a file name, empty without one.

    `notice` says what the users of the data notice and whether something is lost. `step` is the first thing to do, with
    its `command`.
    """

    state: Overall
    headline: str
    rest: str
    runbook: str = ""
    since: datetime | None = None
    notice: str = ""
    step: str = ""
    command: str = ""

    @property
    def text(self) -> str:
        """Both parts."""
        return f"{self.headline} {self.rest}".strip()


def of(health: PipelineHealth, away_since: datetime | None = None) -> Sentence:
    """The sentence about the pipeline. `away_since` is the first failed read, None while S3 answers."""
    if away_since is not None:
        known = f" Below is what was known at {to_second(health.judged.at)}." if health.judged else ""
        headline = f"Nothing is known now: the state cannot be read, since {_for(health, away_since)}."
        notice = "Only this page is known to be affected: the pipeline may be well."
        step = "See whether S3 answers the API server, and whether its connection aws_default is right."
        return Sentence("unknown", headline, f"{_reason(health)}{known}", "monitor_blind.md", away_since, notice, step)
    if health.never_measured:
        rest = "On a fresh installation unpause or trigger pipeline_monitor."
        return Sentence("unknown", "Nothing is known yet: the monitor has never measured.", rest)
    if health.alerts is None:
        return Sentence("unknown", "Nothing is known: the alerts cannot be read.", health.faults.get("alerts", ""))
    if not health.judged_recently:
        return _silent(health)
    roots = [alert for alert in health.alerts if root_of(alert, health.alerts) is None]
    if roots:
        return _open(health, roots)
    unknown = [row for row in health.conditions if row.state == "unknown"]
    breached = [row for row in health.conditions if row.state == "open"]
    facts = [_tests(health), "no alert is open" if not breached else breached[0].condition.title]
    if unknown:
        facts.append(f"{len(unknown)} of {len(health.conditions)} conditions unknown")
    state: Overall = "warning" if breached else "ok"
    gold = _gold(health)
    is_well = state == "ok" and not unknown
    return Sentence(state, f"All is well: {gold[:1].lower()}{gold[1:]}" if is_well else gold, _listed(facts))


def _silent(health: PipelineHealth) -> Sentence:
    """The monitor has not judged in its last runs."""
    since = health.judged.at if health.judged else None
    begin = f"since {_for(health, since)}: the monitor does not judge any more" if since else "yet"
    count = len(health.alerts or ())
    rest = f"{count or 'No'} {'alert was' if count == 1 else 'alerts were'} open then." if since else ""
    silent = CONDITIONS["monitor_silent"]
    headline, step = f"Nothing is known {begin}.", silent.first_step
    return Sentence(
        "unknown", headline, rest, silent.runbook, since, silent.notice, step.text, step.command_in(health.environment)
    )


def _open(health: PipelineHealth, roots: list[OpenAlert]) -> Sentence:
    """The oldest error, or else the oldest warning, with what follows from it."""
    first = next((alert for alert in roots if alert.severity == "error"), roots[0])
    caused = [alert for alert in health.alerts or () if root_of(alert, health.alerts or ()) is first]
    suffering = [alert.title for alert in caused if alert.condition != first.condition]
    facts = [f"{first.value} (alarms when {first.limit})" if first.value else ""]
    if suffering:
        facts.append(f"therefore: {', '.join(suffering)}")
    others = len(roots) - 1
    if others:
        facts.append(f"{others} more {'alert is' if others == 1 else 'alerts are'} open")
    facts.append(_gold(health).rstrip("."))
    state: Overall = "fault" if first.severity == "error" else "warning"
    headline = f"{first.heading}, since {_for(health, first.begin_at)}."
    condition = CONDITIONS[first.condition]
    notice, step, command = condition.notice, condition.first_step.text, first.command(health.environment)
    return Sentence(state, headline, _listed(facts), condition.runbook, first.begin_at, notice, step, command)


def _for(health: PipelineHealth, since: datetime) -> str:
    """Like 12:03 UTC (14 min)."""
    duration = health.at - since
    form = "%H:%M UTC" if duration.total_seconds() < 12 * 3600 else "%d %b %H:%M UTC"
    return f"{since:{form}} ({span(max(duration.total_seconds(), 0))})"


def _gold(health: PipelineHealth) -> str:
    gold = layer_of(health, "gold")
    if gold is None or gold.fault:
        return "The age of gold is unknown."
    if gold.state is None:
        return "Gold was never built."
    return "Gold has no rows." if gold.age is None else f"Gold is {old(gold.age)}."


def _tests(health: PipelineHealth) -> str:
    states = [layer.state.tests for layer in health.layers if layer.state]
    states += [other.tests for other in health.other_tests]
    passed = sum(tests.passed for tests in states)
    count = passed + sum(tests.warned + tests.failed for tests in states)
    if not count:
        return "no test has run"
    return f"all {count} tests pass" if passed == count else f"{count - passed} of {count} tests do not pass"


def _listed(facts: list[str]) -> str:
    text = "; ".join(fact for fact in facts if fact)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _reason(health: PipelineHealth) -> str:
    return next(iter(health.reasons), "")
