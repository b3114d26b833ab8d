"""The laptop reads `airflow_settings.yaml` with every container address replaced."""

from __future__ import annotations

import json

from include.local import airflow_metadata
from include.settings import AwsSettings, KafkaSettings, LocalSettings


def test_every_container_address_is_replaced() -> None:
    addresses = airflow_metadata.local_addresses(
        KafkaSettings(bootstrap_servers="127.0.0.1:19092"),
        AwsSettings(endpoint_url="http://127.0.0.1:14566"),
        LocalSettings(smtp_port=11025),
    )
    connections, pools, _ = airflow_metadata.read_settings(airflow_metadata.SETTINGS_FILE, addresses)
    text = json.dumps(connections)
    assert not [service for service in ("kafka:", "ministack", "mailpit") if service in text]
    assert json.loads(connections["kafka_default"]["extra"]) == {"bootstrap.servers": "127.0.0.1:19092"}
    assert json.loads(connections["aws_default"]["extra"])["endpoint_url"] == "http://127.0.0.1:14566"
    assert (connections["smtp_default"]["host"], connections["smtp_default"]["port"]) == ("127.0.0.1", 11025)
    assert pools["duckdb"]["slots"] == 1
