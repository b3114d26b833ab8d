"""How fast the landing is, and what its guarantees cost: see docs/ingest.md."""
