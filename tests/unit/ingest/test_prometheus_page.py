"""docs/prometheus.md names each metric of /metrics, with type, labels and help text, and no other."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from include.ingest.metrics import ConsumerMetrics, ProducerMetrics
from include.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "prometheus.md"


def consumer_registry() -> CollectorRegistry:
    """A consumer's registry after one event of each kind, so that each metric has its labels."""
    metrics = ConsumerMetrics()
    metrics.landed(100, ["not_json"])
    metrics.uploaded(99, 0.04)
    metrics.failed("GenericError")
    return metrics.registry


def producer_registry() -> CollectorRegistry:
    """A producer's registry after one event of each metric that has a label."""
    metrics = ProducerMetrics()
    metrics.unusable.labels("BTC").inc()
    metrics.source_errors.labels("ConnectError").inc()
    return metrics.registry


def rows_of_code(registry: CollectorRegistry) -> set[str]:
    """The page's row of each metric that a scrape returns; `_created` is the client library's own."""
    rows = set()
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        if family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        names = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        labels = "".join(f" `{label}`" for label in names)
        rows.add(f"| `{name}` | {family.type} |{labels} | {family.documentation} |")
    return rows


@pytest.mark.parametrize(
    ("program", "registry"),
    [("consumer", consumer_registry()), ("producer", producer_registry())],
    ids=["consumer", "producer"],
)
def test_the_page_has_the_metrics_of_the_code(program: str, registry: CollectorRegistry) -> None:
    rows = re.findall(rf"^\| `lakehouse_{program}_.*$", PAGE.read_text(), re.MULTILINE)
    assert set(rows) == rows_of_code(registry)
    assert len(rows) == len(set(rows))
