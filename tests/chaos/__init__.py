"""Chaos: the real consumer works with real Kafka and a real S3 API while all three are being broken."""
