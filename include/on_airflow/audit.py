"""The daily audit with Airflow's connections."""

from __future__ import annotations

import logging
from datetime import datetime

from include.audit.bucket import AuditBucket
from include.audit.kafka import read_offsets
from include.audit.layers import LayerCounts
from include.audit.report import audited, lines
from include.audit.run import Auditor
from include.ingest.store import read_contract
from include.on_airflow.connections import bucket_store, kafka_admin
from include.settings import load
from include.transform import inline_query

log = logging.getLogger(__name__)


def run(now: datetime) -> int:
    """Audit the days that are due at `now`, and write the verdict for the monitor. Returns the number of findings.

    Raises:
        ContractError, KafkaUnreadableError, InlineQueryError, obstore.exceptions.BaseError: a source cannot be read.
    """
    settings = load()
    store = bucket_store(settings.storage)
    stored = read_contract(store, settings.storage.data_prefix)
    contract = stored.contract if stored else None
    if contract is None:
        log.info("nothing has landed yet, so there is nothing to audit")
        return 0
    contract.check_prefixes(settings.storage)
    bucket = AuditBucket(store, settings.storage)
    kafka = read_offsets(kafka_admin(), settings.kafka, contract.topic_id)
    result = Auditor(bucket, contract, kafka, LayerCounts(inline_query.rows, settings.storage), now).run()
    bucket.record(audited(result, now))
    for line in lines(result):
        log.info("%s", line)
    return len(result.all_findings())
