"""Measures the pipeline, decides what is wrong, and tells people once."""
