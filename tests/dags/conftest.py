"""Fixtures of the DAG tests: Airflow's database and a mailbox."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers import free_port

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's metadata database (SQLite, in the session's AIRFLOW_HOME)."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture
def no_dag_runs(airflow_db: None) -> None:
    """Airflow's database without the runs of earlier tests, which `dag_unhealthy` would judge."""
    with closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db")) as database, database:
        database.execute("pragma foreign_keys = on")  # the runs' tasks and XComs go with them
        database.execute("delete from dag_run")


@dataclass
class Mailbox:
    """A mail server on loopback that keeps the mails; `refuse` makes it refuse them."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refuse: bool = False
    unknown: set[str] = field(default_factory=set)
    answers_after: float = 0.0
    """Seconds until it acknowledges a mail, which it has accepted then."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 aiosmtpd's name
        """Called by aiosmtpd."""
        if self.refuse:
            return "451 try again later"
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(message_from_bytes(content, policy=policy.default))
        await asyncio.sleep(self.answers_after)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Called by aiosmtpd."""
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def take(self) -> list[EmailMessage]:
        """The mails since the last call."""
        mails, self.mails = self.mails, []
        return mails


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A running mailbox that `smtp_default` points at."""
    box = Mailbox(free_port())
    server = Controller(box, hostname="127.0.0.1", port=box.port)
    server.start()
    extra = {"disable_ssl": True, "disable_tls": True, "timeout": 5, "retry_limit": 0}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": box.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    yield box
    server.stop()
