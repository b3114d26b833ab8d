"""Each test has its own stack on the real emulator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest

from include.aws import deploy
from include.settings import Settings, load


@dataclass(frozen=True, slots=True)
class Names:
    """Names that no other test uses."""

    stack: str
    bucket: str
    database: str
    workgroup: str
    environment: str


@pytest.fixture
def names(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Unique names; the settings in the environment point at them and at the emulator."""
    unique = uuid.uuid4().hex[:10]
    names = Names(f"stack-{unique}", f"lake-{unique}", f"db_{unique}", f"group-{unique}", f"env-{unique}")
    monkeypatch.setenv("S3_BUCKET", names.bucket)
    monkeypatch.setenv("WAREHOUSE_DATABASE", names.database)
    monkeypatch.setenv("WAREHOUSE_WORKGROUP", names.workgroup)
    monkeypatch.setenv("MONITOR_ENVIRONMENT", names.environment)
    monkeypatch.setenv("ALERT_EMAILS", '["one@example.com", "two@example.com"]')
    yield names
    boto3.client("cloudformation").delete_stack(StackName=names.stack)


@pytest.fixture
def settings(names: Names) -> Settings:
    return load()


@pytest.fixture
def deployed(names: Names, settings: Settings) -> deploy.Deployment:
    return deploy.deploy(stack=names.stack, settings=settings)
