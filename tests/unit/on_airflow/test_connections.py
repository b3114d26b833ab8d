"""Tokens for Kafka's login by an Airflow connection; tests/integration/ingest/test_msk_iam.py logs in with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from include.on_airflow.connections import kafka_options

MSK = "b-1.lake.abcde1.c2.kafka.eu-central-1.amazonaws.com:9098"
CALLBACK = "tests.unit.on_airflow.test_connections.by_hand"


def by_hand(_config: str) -> tuple[str, float]:
    """A callback that a user names in the connection."""
    raise LookupError("by hand")


def options(monkeypatch: pytest.MonkeyPatch, **extra: str) -> dict[str, Any]:
    """What a client gets for a connection to Amazon MSK, in a process without AWS credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AIRFLOW__APACHE_KAFKA__CALLBACK_ALLOWLIST", CALLBACK)
    connection = {"bootstrap.servers": MSK, "security.protocol": "SASL_SSL"} | extra
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps({"conn_type": "kafka", "extra": connection}))
    return kafka_options()


def test_a_worker_without_aws_credentials_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    token = options(monkeypatch, **{"sasl.mechanism": "OAUTHBEARER"})["oauth_cb"]
    with pytest.raises(NoCredentialsError):
        token("")
    assert "Give it a role" in token.problems()[0]


def test_a_callback_of_the_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    token = options(monkeypatch, oauth_cb=CALLBACK, **{"sasl.mechanism": "OAUTHBEARER"})["oauth_cb"]
    with pytest.raises(LookupError, match="by hand"):
        token("")
    assert "by hand" in token.problems()[0]


def test_another_login_has_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "oauth_cb" not in options(monkeypatch, **{"sasl.mechanism": "SCRAM-SHA-512"})
