"""Time of the audit of one day with many objects, on versitygw and in memory.

    .venv/bin/python -m benchmarks.audit --objects 100000

The first audit reads each object; the second knows them and only lists. In memory there is no network and no server, so
its seconds are the audit's own CPU. versitygw (`make .local/bench/versitygw` builds it) takes part of the same two
cores; its CPU seconds are in the line, too. Prints a line of JSON for each, with the machine's load before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import obstore
from obstore.store import MemoryStore, S3Store

from benchmarks.figures import Figures, Values
from benchmarks.landing.rig import KEYS, Gateway, memory_folder
from include.audit.bucket import AuditBucket
from include.audit.manifest import KafkaOffsets
from include.audit.run import Auditor
from include.landing.body import PLAIN
from include.landing.layout import object_key
from include.landing.metadata import ObjectMetadata
from include.settings import StorageSettings

DAY = date(2026, 11, 23)
OBJECTS = 100_000
PARTITIONS = 6
RECORDS = 100
AT_ONCE = 16
QUOTE = b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":64123.12,"last_updated":"2026-11-23T20:15:07Z"}'


def fill(store: Any, objects: int) -> None:
    """Put a day of full data objects, evenly over the day and the partitions."""
    midnight = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1000)

    async def put_all() -> None:
        async def put(worker: int) -> None:
            for index in range(worker, objects, AT_ONCE):
                partition, number = index % PARTITIONS, index // PARTITIONS
                first, at = number * RECORDS, midnight + index * 86_000_000 // objects
                part = PLAIN.join(PLAIN.prefix("t", partition), first, [at] * RECORDS, [QUOTE] * RECORDS)
                metadata = ObjectMetadata("t", "id", partition, first, first + RECORDS - 1, RECORDS, 0, "w")
                key = object_key("crypto_data/", "crypto_data", partition, first, at)
                body, attributes = PLAIN.encode([part]), metadata.to_attributes()
                await obstore.put_async(store, key, body, attributes=attributes, use_multipart=False)

        await asyncio.gather(*(put(worker) for worker in range(AT_ONCE)))

    asyncio.run(put_all())


def audit(store: Any, objects: int, server: Callable[[], float] = float) -> dict[str, float]:
    """Seconds and CPU seconds of an audit of the day, the number of objects read, and the manifest's bytes.

    `server` gives the CPU seconds that the store's process has used.
    """
    ends = {number: len(range(number, objects, PARTITIONS)) * RECORDS for number in range(PARTITIONS)}
    kafka = {number: KafkaOffsets(0, end, end) for number, end in ends.items()}
    now = datetime(DAY.year, DAY.month, DAY.day, 4, tzinfo=UTC) + timedelta(days=1)
    bucket = AuditBucket(store, StorageSettings(bucket="audit"))
    load, served = os.getloadavg()[0], server()
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    result = Auditor(bucket, None, kafka, None, now).day(DAY)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert not result.findings, result.findings[:3]
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - begin
    size = obstore.head(store, f"audit/{DAY:%Y/%m/%d}.json")["size"]
    return {
        "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "server_cpu_seconds": round(server() - served, 1),
        "read": result.read, "manifest_bytes": size, "load": round(load, 1),
    }  # fmt: skip


def measured(objects: int) -> Iterator[dict[str, Any]]:
    """The first audit and the second, in memory and on versitygw."""
    memory = MemoryStore()
    fill(memory, objects)
    for name in ("first", "by listing"):
        yield {"store": "memory", "audit": name, "objects": objects} | audit(memory, objects)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        gateway = Gateway(Path(folder))
        gateway.start()
        keys = {name.lower(): value for name, value in KEYS.items() if name.startswith("AWS_")}
        boto3.client("s3", endpoint_url=gateway.endpoint, region_name="us-east-1", **_boto(keys)).create_bucket(
            Bucket="audit"
        )
        store = S3Store(
            "audit", endpoint=gateway.endpoint, virtual_hosted_style_request=False, region="us-east-1",
            client_options={"allow_http": True, "timeout": "600s"}, **_boto(keys),
        )  # fmt: skip
        fill(store, objects)
        for name in ("first", "by listing"):
            server = gateway.cpu_seconds
            yield {"store": "versitygw", "audit": name, "objects": objects} | audit(store, objects, server)
        gateway.close()


def figures(objects: int = OBJECTS) -> Figures:
    """Seconds and CPU of each audit, and the second audit's share of the first's CPU."""
    values: Values = {}
    for line in measured(objects):
        print(json.dumps(line), flush=True)
        name = f"{line['store']}.{line['audit'].replace(' ', '_')}"
        values |= {f"{name}.{figure}": float(line[figure]) for figure in ("seconds", "cpu_seconds")}
    for store in ("memory", "versitygw"):
        first, listing = (values[f"{store}.{name}.cpu_seconds"] for name in ("first", "by_listing"))
        if first:  # it is rounded to 0.1 s, so a few objects cost nothing
            values[f"{store}.listing_over_first_cpu"] = listing / first
    return Figures(values)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=OBJECTS)
    figures(parser.parse_args().objects)


def _boto(keys: dict[str, str]) -> dict[str, Any]:
    return {name: keys[name] for name in ("aws_access_key_id", "aws_secret_access_key")}


if __name__ == "__main__":
    main()
