"""The landing contract: what a file in the bucket is called, holds and promises.

Written by the consumer (`include.ingest`), read by the monitor (`include.monitoring`), the
warehouse (`include/dbt`) and the tests. Docs: docs/landing-contract.md.
"""
