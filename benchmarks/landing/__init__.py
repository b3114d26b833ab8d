"""How fast the landing is, and what its guarantees cost: see benchmarks/README.md."""
