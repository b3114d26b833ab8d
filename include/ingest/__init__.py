"""Quotes from a source to Kafka (producer) and from Kafka to S3, each record once (consumer)."""
