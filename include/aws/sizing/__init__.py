"""Partitions, consumers, batches, memory, queries and dollars for a load: `python -m include.aws.sizing --help`."""
