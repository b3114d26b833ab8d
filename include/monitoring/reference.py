"""The catalogue's tables in docs/monitoring.md and the first step of each runbook, which `make generate` writes."""

from __future__ import annotations

from collections.abc import Iterator

from include.catalogue import CONDITIONS, IN_THE_CLONE, METRICS, Condition
from include.monitoring.checks.judge import quantity

_EVENTS = {"task_failed": "a task fails", "run_late": "a run misses its deadline"}
"""The event that breaches a condition without a metric."""


def conditions() -> Iterator[str]:
    """One row for each condition."""
    yield "| condition | breached when | for | severity | metric | runbook | explained by |"
    yield "|---|---|---|---|---|---|---|"
    for condition in CONDITIONS.values():
        limit = _EVENTS.get(condition.name) or f"{condition.comparison} {quantity(condition, condition.threshold)}"
        layer = f" ({condition.layer})" if condition.layer else ""
        metric = f"`{condition.metric}`{layer}" if condition.metric else ""
        periods = "1 period" if condition.periods == 1 else f"{condition.periods} periods"
        link = f"[{condition.title}](runbooks/{condition.runbook})"
        causes = ", ".join(dict.fromkeys(f"`{_named(pattern)}`" for pattern in condition.explained_by))
        yield f"| `{condition.name}` | {limit} | {periods} | {condition.severity} | {metric} | {link} | {causes} |"


def _named(pattern: str) -> str:
    """A pattern of alert keys as its reader knows them: the condition, with the service if there is one."""
    condition, _, subject = pattern.partition(":")
    service = subject.removeprefix("*")
    return f"{condition} {service}" if service.isalnum() else condition


def metrics() -> Iterator[str]:
    """One row for each metric."""
    yield "| metric | unit | statistic | published by | every | meaning |"
    yield "|---|---|---|---|---|---|"
    for metric in METRICS.values():
        yield (
            f"| `{metric.name}` | {metric.unit} | {metric.statistic} | {metric.publisher} | {metric.publish_seconds} s "
            f"| {metric.meaning} |"
        )


def first_step(condition: Condition) -> Iterator[str]:
    """What users notice, and the first step with its command: deployed, and in a clone that runs the demo."""
    step = condition.first_step
    commands = [text.format(subject="SUBJECT", dag="DAG") for text in (step.command, step.laptop)]
    yield f"**What users notice.** {condition.notice}"
    yield ""
    yield f"**First step.** {step.text}"
    yield ""
    yield "| where | command |"
    yield "|---|---|"
    for place, command in zip((f"deployed, {step.place}", f"on a laptop, {IN_THE_CLONE}"), commands, strict=True):
        yield f"| {place} | `{command}` |"
