"""Chaos: the real consumer against real Kafka and a real S3 API while both and it itself are being broken."""
