"""Chaos: the real consumer works with real Kafka and a real S3 API, and the tests disrupt all three."""
