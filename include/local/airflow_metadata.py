"""Applies `airflow_settings.yaml` to the local Airflow.

The Astro CLI applies that file to its own containers. This module does the same for `make demo`, and replaces the
addresses of the compose services by the laptop's.

`python -m include.local.airflow_metadata` (with the demo's environment).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from include.local.environment import HOST
from include.on_airflow import metadata_database
from include.settings import PROJECT_ROOT, AwsSettings, KafkaSettings, LocalSettings, load_group

SETTINGS_FILE = PROJECT_ROOT / "airflow_settings.yaml"


def local_addresses(kafka: KafkaSettings, aws: AwsSettings, local: LocalSettings) -> dict[Any, Any]:
    """Address of a compose service in `airflow_settings.yaml` -> the laptop's address."""
    return {
        "kafka:9092": kafka.bootstrap_servers,
        "http://ministack:4566": aws.endpoint_url,
        "mailpit": HOST,
        1025: local.smtp_port,
    }


def read_settings(path: Path, addresses: dict[Any, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Connections, pools and variables in the form that `airflow ... import` reads."""
    airflow = yaml.safe_load(path.read_text())["airflow"]
    connections = {
        entry["conn_id"]: {
            "conn_type": entry["conn_type"],
            "host": addresses.get(entry.get("conn_host"), entry.get("conn_host")),
            "port": addresses.get(entry.get("conn_port"), entry.get("conn_port")),
            "login": entry.get("conn_login"),
            "password": entry.get("conn_password"),
            "schema": entry.get("conn_schema"),
            "extra": json.dumps(
                {name: addresses.get(value, value) for name, value in (entry.get("conn_extra") or {}).items()}
            ),
        }
        for entry in airflow.get("connections") or []
    }
    pools = {
        entry["pool_name"]: {
            "slots": entry["pool_slot"],
            "description": entry.get("pool_description", ""),
            "include_deferred": False,
        }
        for entry in airflow.get("pools") or []
    }
    variables = {entry["variable_name"]: entry["variable_value"] for entry in airflow.get("variables") or []}
    return connections, pools, variables


def laptop_settings() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Connections, pools and variables with the laptop's addresses, by the environment."""
    addresses = local_addresses(load_group(KafkaSettings), load_group(AwsSettings), load_group(LocalSettings))
    return read_settings(SETTINGS_FILE, addresses)


def connection_variables() -> dict[str, str]:
    """The connections as environment variables, for a process that must not need the metadata database."""
    connections, _, _ = laptop_settings()
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()}


if __name__ == "__main__":
    metadata_database.prepare(*laptop_settings())
