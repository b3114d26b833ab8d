"""Airflow's connections to the test servers, as Airflow reads them from the environment."""

from __future__ import annotations

import json
from typing import Any


def aws_connection(endpoint: str, **services: Any) -> str:
    """`aws_default` for the emulator."""
    extra = {"region_name": "us-east-1", "endpoint_url": endpoint, "service_config": services}
    return json.dumps({"conn_type": "aws", "login": "test", "password": "test", "extra": extra})


def kafka_connection(bootstrap: str) -> str:
    """`kafka_default` for a broker."""
    return json.dumps({"conn_type": "kafka", "extra": {"bootstrap.servers": bootstrap, "log_level": 0}})
