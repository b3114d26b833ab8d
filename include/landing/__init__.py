"""The landing contract: names, content and guarantees of the files in the bucket (docs/landing-contract.md).

The consumer (`include.ingest`) writes them; the monitor (`include.monitoring`) and the warehouse (`include/dbt`) read
them.
"""
