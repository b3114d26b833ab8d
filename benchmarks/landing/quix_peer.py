"""Quix Streams' S3 sink. It has its own environment, because this project does not depend on it."""

import os

from quixstreams import Application  # type: ignore[import-not-found]
from quixstreams.sinks.community.file.s3 import S3FileSink  # type: ignore[import-not-found]

size = int(os.environ["SIZE"])
application = Application(
    broker_address=os.environ["BOOTSTRAP"],
    consumer_group=os.environ["GROUP"],
    auto_offset_reset="earliest",
    commit_every=size,
    commit_interval=5.0,
    loglevel="WARNING",
    consumer_extra_config={"queued.min.messages": 100_000, "fetch.queue.backoff.ms": 5},
)
sink = S3FileSink(
    bucket=os.environ["BUCKET"],
    aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    region_name="us-east-1",
    endpoint_url=os.environ["S3"],
    directory="quix",
    format="json",
)
application.dataframe(application.topic(os.environ["TOPIC"], value_deserializer="json")).sink(sink)
application.run()
