"""Measures the pipeline, judges the numbers, and keeps the alerts that follow."""
