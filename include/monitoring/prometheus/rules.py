"""Prometheus' alert rules, one for each condition of the catalogue. `make generate` writes them to deploy/prometheus/.

A rule compares the newest number with the exported threshold, so that a threshold which the monitor's Variable sets is
in force here too. A rule takes the monitor's own verdict instead where PromQL cannot see enough: events, conditions
over several periods, and those to which a missing number counts. (A missing series does not say whether the source had
no number or could not be read, and then nothing is known.)
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from include.catalogue import CONDITIONS, MONITOR_SILENT_MINUTES, Condition, Unit, metric_of
from include.monitoring.prometheus import names
from include.settings import AlertSettings

NOT_SCRAPED = "CryptoLakehouseNotScraped"
_IN_WORDS: dict[Unit, str] = {"Seconds": "humanizeDuration", "Bytes": "humanize1024", "Percent": "humanizePercentage"}
"""Template functions of Prometheus that write a value with its unit."""


def expression(condition: Condition) -> str:
    """The PromQL expression that has a sample while the condition is breached."""
    metric = metric_of(condition)
    own = f'{{condition="{condition.name}"}}'
    if metric is None or not condition.checked or condition.periods > 1 or condition.missing == "breaching":
        return f"{names.CONDITION}{own} == 1"
    series = names.selector(metric, condition.layer)
    different = ", ".join(["condition", *names.labels(metric)])
    return f"{series} {condition.comparison} ignoring({different}) {names.THRESHOLD}{own}"


def lines() -> Iterator[str]:
    """The file of rules."""
    yield "# Made from include/catalogue.py by `make generate`; docs/prometheus.md says how to use it."
    rules = [_rule(condition) for condition in CONDITIONS.values()]
    groups = {"groups": [{"name": "crypto_lakehouse", "rules": [*rules, _not_scraped()]}]}
    yield from yaml.safe_dump(groups, sort_keys=False, width=120, allow_unicode=True).splitlines()


def alert_name(condition: Condition) -> str:
    """Like CryptoLakehouseKafkaLag."""
    return "CryptoLakehouse" + condition.parameter.removesuffix("Threshold")


def _rule(condition: Condition) -> dict[str, object]:
    return {
        "alert": alert_name(condition),
        "expr": expression(condition),
        "labels": {"severity": condition.severity, "condition": condition.name},
        "annotations": {
            "summary": f"{condition.title} ({{{{ $labels.environment }}}})",
            "description": " ".join([condition.notice, *_value(condition), condition.first_step.text]),
            "runbook_url": AlertSettings.model_fields["runbook_url"].default + condition.runbook,
        },
    }


def _value(condition: Condition) -> list[str]:
    """The value in words; none for a verdict, which is always 1."""
    metric = metric_of(condition)
    if metric is None or expression(condition).startswith(names.CONDITION):
        return []
    return [f"{metric.title}: {{{{ $value | {_IN_WORDS.get(metric.unit, 'humanize')} }}}}."]


def _not_scraped() -> dict[str, object]:
    """No rule above has a sample then. A restart of the API server is shorter than the time it waits."""
    return {
        "alert": NOT_SCRAPED,
        "expr": f"absent({names.MEASURED})",
        "for": f"{MONITOR_SILENT_MINUTES}m",
        "labels": {"severity": "error"},
        "annotations": {
            "summary": "Prometheus has no numbers of the pipeline",
            "description": "No alert of the pipeline can start here. See the state of the scrape on Prometheus' page "
            "Targets: the token may have expired, or Airflow's API server or S3 may be away.",
        },
    }
