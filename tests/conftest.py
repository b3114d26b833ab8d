"""Fixtures for every test. Servers are real; each starts once a session, on a free loopback port."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Airflow reads its configuration at its first import: point it away from the developer's own.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="crypto-lakehouse-airflow-")
atexit.register(shutil.rmtree, _AIRFLOW_HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parents[1] / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(Path(__file__).parents[1] / "plugins")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"

# Each run uses the same examples at any speed of the machine, so that a failure comes from the code.
# HYPOTHESIS_PROFILE=search looks for new examples.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
# aiosmtpd gives a mail server five seconds to start.
os.environ.setdefault("AIOSMTPD_CONTROLLER_TIMEOUT", "60")

from include.local.emulator import CREDENTIALS  # noqa: E402
from tests import policy_guard, servers  # noqa: E402

# A developer's own AWS account must never be reached from a test.
for _name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
    del os.environ[_name]
os.environ |= CREDENTIALS | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

# The emulator allows every call; this refuses calls that a program's IAM policy does not allow.
policy_guard.install()


UNIT = Path(__file__).parent / "unit"
MOST_WORKERS = 4
"""More workers save little: their start costs seconds, too."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker for each processor when a whole folder of the unit suite runs; otherwise no worker.

    The other suites keep one process each, because their servers and Airflow's state are shared.
    """
    folders = [Path(argument).resolve() for argument in config.args]
    if all(folder.is_dir() and folder.is_relative_to(UNIT) for folder in folders):
        return min(MOST_WORKERS, os.cpu_count() or 1)
    return 0


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.KafkaServer]:
    """A running Apache Kafka."""
    with servers.kafka_server(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def kafka_bootstrap(kafka_server: servers.KafkaServer) -> str:
    """Bootstrap address of the session's broker."""
    return kafka_server.bootstrap


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of the session's AWS emulator."""
    with servers.aws_server(tmp_path_factory.mktemp("aws")) as endpoint:
        yield endpoint


@pytest.fixture
def s3(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """AWS_ENDPOINT_URL points at the emulator for this test; yields the endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    return aws_endpoint


@pytest.fixture
def topic() -> str:
    """A topic name that no other test uses."""
    return f"quotes-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket(s3: str) -> str:
    """An empty bucket that no other test uses."""
    import boto3

    name = f"lake-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name
