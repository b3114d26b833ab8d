"""Log lines: ours, and those of librdkafka."""

from __future__ import annotations

import io
import json
from datetime import datetime
from time import monotonic

import pytest
from confluent_kafka import Producer

from include.ingest import logs
from tests.servers import free_port


@pytest.fixture
def stream() -> io.StringIO:
    """The stream that the log goes to."""
    stream = io.StringIO()
    logs.configure(stream)
    return stream


def test_a_log_line_is_json_with_time_level_and_message(stream: io.StringIO) -> None:
    logs.logger("consumer").warning("PUT failed", key="k", error="503")
    line = json.loads(stream.getvalue())
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() is not None
    assert line == {"level": "warning", "message": "PUT failed", "component": "consumer", "key": "k", "error": "503"}


def test_librdkafkas_log_lines_have_our_form(stream: io.StringIO) -> None:
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{free_port()}", "logger": logs.LIBRDKAFKA})
    deadline = monotonic() + 60
    while not stream.getvalue() and monotonic() < deadline:
        producer.poll(0.2)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines
    assert {line["component"] for line in lines} == {"librdkafka"}
    assert "Connection refused" in lines[0]["message"]
