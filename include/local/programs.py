"""The programs of the laptop stack: their commands, their order, and how long each may take to end."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from include.local.environment import HOST, metadata_database
from include.settings import LocalSettings

SERVERS = ("broker", "emulator", "mailbox")
"""Servers that the other programs need until these have ended: the consumer lands its last batches while it stops."""

WATCH = "monitor-watch"


@dataclass(frozen=True, slots=True)
class Program:
    """One long-running process; `stop_seconds` is its grace time between TERM and KILL.

    The program's own time limits for its end must be shorter; a test compares them.
    """

    name: str
    command: tuple[str, ...]
    stop_seconds: int = 10


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def programs(local: LocalSettings) -> list[Program]:
    """Every program, in starting order."""
    kafka_ports = ("--port", str(local.kafka_port), "--controller-port", str(local.kafka_controller_port))
    kind = ("--kind", local.broker) if local.broker in ("kafka", "built-in") else ()
    # The API server writes its audit log on its event loop. While the loop waits for SQLite's lock, the request that
    # holds the lock cannot end. So the server must give up soon (its callers retry); the other programs may wait.
    api_database = f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN={metadata_database(local, patience=1)}"
    return [
        Program(
            "broker", _module("include.local.broker", "--state", str(local.state / "kafka"), *kafka_ports, *kind), 20
        ),
        Program(
            "emulator",
            _module("include.local.emulator", "--state", str(local.state / "aws"), "--port", str(local.aws_port)),
        ),
        Program(
            "mailbox",
            _module(
                "include.local.mailbox", "serve", "--folder", str(local.state / "mail"), "--port", str(local.smtp_port)
            ),
        ),
        Program("producer", _module("include.ingest", "produce"), stop_seconds=40),
        Program("consumer", _module("include.ingest", "consume"), stop_seconds=40),
        # Separate components, because the log servers of `airflow standalone` listen on every interface.
        Program(
            "airflow-api",
            ("env", api_database, "airflow", "api-server", "--host", HOST, "--port", str(local.airflow_port)),
        ),
        Program("airflow-scheduler", ("airflow", "scheduler", "--skip-serve-logs")),
        Program("airflow-dag-processor", ("airflow", "dag-processor")),
        # It looks at S3 and starts crypto_transform.
        Program("airflow-triggerer", ("airflow", "triggerer", "--skip-serve-logs")),
        # It mails when no run of the monitor ends.
        Program(WATCH, _module("include.local.monitor_watch")),
    ]
