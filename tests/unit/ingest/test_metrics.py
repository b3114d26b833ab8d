"""The consumer's numbers at /metrics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from include.ingest.metrics import UPLOAD_BUCKETS, ConsumerMetrics


@given(st.lists(st.floats(0, 200) | st.sampled_from(UPLOAD_BUCKETS)))
def test_a_scrape_equals_prometheus_own_counting(seconds: list[float]) -> None:
    metrics, registry = ConsumerMetrics(), CollectorRegistry()
    histogram = Histogram("lakehouse_consumer_upload_seconds", "", buckets=UPLOAD_BUCKETS, registry=registry)
    for value in seconds:
        metrics.uploaded(100, value)
        metrics.landed(101, ["not_json"])
        histogram.observe(value)
    samples = [sample for family in registry.collect() for sample in family.samples]
    for sample in samples:
        if not sample.name.endswith("_created"):
            assert metrics.registry.get_sample_value(sample.name, sample.labels) == sample.value
    counts = {"messages_landed_total": 101 * len(seconds), "batches_uploaded_total": len(seconds)}
    for name, count in counts.items():
        assert metrics.registry.get_sample_value(f"lakehouse_consumer_{name}") == count
    for bound, count in {"50.0": 0, "100.0": len(seconds)}.items():
        assert metrics.registry.get_sample_value("lakehouse_consumer_batch_records_bucket", {"le": bound}) == count
