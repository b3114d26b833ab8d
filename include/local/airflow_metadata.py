"""Brings a local Airflow's metadata database up to date and applies `airflow_settings.yaml`.

The Astro CLI applies that file to its own containers; this does the same for `make demo`,
exchanging the addresses of the compose services for the laptop's. One process for all steps,
as every `airflow` command costs seconds of imports.

`python -m include.local.airflow_metadata` (with the demo's environment).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import make_url

from include.local.environment import HOST
from include.settings import PROJECT_ROOT, AwsSettings, KafkaSettings, LocalSettings, load_group

SETTINGS_FILE = PROJECT_ROOT / "airflow_settings.yaml"


def local_addresses(kafka: KafkaSettings, aws: AwsSettings, local: LocalSettings) -> dict[Any, Any]:
    """Compose service address -> laptop address, as they stand in `airflow_settings.yaml`."""
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
            "extra": json.dumps({k: addresses.get(v, v) for k, v in (entry.get("conn_extra") or {}).items()}),
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


def apply() -> None:
    """Migrate the database, then import what the settings file says."""
    from airflow.cli.cli_parser import get_parser

    addresses = local_addresses(load_group(KafkaSettings), load_group(AwsSettings), load_group(LocalSettings))
    connections, pools, variables = read_settings(SETTINGS_FILE, addresses)
    steps: list[list[str]] = [["db", "migrate"]]
    with tempfile.TemporaryDirectory() as folder:
        for kind, content, options in (
            ("connections", connections, ["--overwrite"]),
            ("pools", pools, []),
            ("variables", variables, []),
        ):
            if content:
                path = Path(folder) / f"{kind}.json"
                path.write_text(json.dumps(content))
                steps.append([kind, "import", *options, str(path)])
        parser = get_parser()
        for step in steps:
            arguments = parser.parse_args(step)
            arguments.func(arguments)
    read_beside_a_writer()


def read_beside_a_writer() -> None:
    """Switch the SQLite file to its write-ahead log, for good: readers and the writer no longer lock each other out."""
    from airflow.configuration import conf

    path = make_url(conf.get("database", "sql_alchemy_conn")).database
    assert path is not None
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode=wal")


if __name__ == "__main__":
    apply()
