"""Measures the speed of the landing and the cost of its guarantees; benchmarks/README.md explains the figures."""
