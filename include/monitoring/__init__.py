"""Measures the pipeline, judges what is measured, and keeps the alerts that follow."""
