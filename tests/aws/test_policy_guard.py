"""The guard allows what a policy allows, refuses everything else, and recognises the calling program."""

from __future__ import annotations

from types import CodeType
from typing import Any

import boto3
import obstore
import pytest
from obstore.store import S3Store

from include.ingest.store import open_store
from include.settings import PROJECT_ROOT, AwsSettings, StorageSettings
from tests import policy_guard
from tests.policy_guard import RefusedByPolicy


def as_module(path: str, source: str) -> Any:
    """A function that appears to come from the module at `path`."""
    code: CodeType = compile(f"def act(client):\n    {source}", str(PROJECT_ROOT / path), "exec")
    names: dict[str, Any] = {"obstore": obstore}
    exec(code, names)  # noqa: S102 - the source is in this file
    return names["act"]


@pytest.fixture(autouse=True)
def _guard() -> None:
    policy_guard.install()


@pytest.fixture
def client(bucket: str) -> Any:
    return boto3.client("s3")


@pytest.fixture
def store(bucket: str, s3: str) -> S3Store:
    return open_store(StorageSettings(bucket=bucket), AwsSettings(endpoint_url=s3))


def test_every_folder_belongs_to_one_program() -> None:
    """A new folder of include/ must not escape the guard."""
    patterns = [*policy_guard.CALLERS.values(), policy_guard.UNGUARDED]
    for folder in {path.parent for path in (PROJECT_ROOT / "include").glob("*/*.py")}:
        assert sum(bool(pattern.search(f"{folder}/x.py")) for pattern in patterns) == 1, folder


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("include/monitoring/x.py", "state/alerts.json"),
        ("include/transform/x.py", "test_history/2026/01/01/x.json"),
        ("include/ingest/x.py", "crypto_data/2026/01/01/x.json"),
        ("include/ingest/x.py", "state/replayed/0/1"),
    ],
)
def test_a_call_that_a_policy_allows_passes(path: str, key: str, client: Any, bucket: str) -> None:
    as_module(path, f"client.put_object(Bucket={bucket!r}, Key={key!r}, Body=b'x')")(client)
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("include/monitoring/checks/x.py", "put_object(Bucket='{b}', Key='crypto_data/2026/01/01/x.json', Body=b'x')"),
        ("include/ingest/x.py", "put_object(Bucket='{b}', Key='state/alerts.json', Body=b'x')"),
        ("include/ingest/x.py", "delete_object(Bucket='{b}', Key='crypto_data/2026/01/01/x.json')"),
        ("include/ingest/x.py", "list_buckets()"),
        ("dags/x.py", "delete_objects(Bucket='{b}', Delete=dict(Objects=[dict(Key='state/alerts.json')]))"),
        ("dags/x.py", "copy_object(Bucket='{b}', Key='state/x', CopySource=dict(Bucket='{b}', Key='other/x'))"),
    ],
)
def test_a_call_that_no_statement_allows_is_refused(path: str, call: str, client: Any, bucket: str) -> None:
    with pytest.raises(RefusedByPolicy, match="does not allow s3:"):
        as_module(path, f"client.{call.format(b=bucket)}")(client)


def test_calls_of_obstore_are_seen(store: S3Store) -> None:
    as_module("include/ingest/x.py", "obstore.put(client, 'crypto_data/2026/01/01/x.json', b'x')")(store)
    assert list(as_module("include/ingest/x.py", "return obstore.list(client, prefix='crypto_data/')")(store))
    with pytest.raises(RefusedByPolicy, match="ConsumerPolicy does not allow s3:DeleteObject"):
        as_module("include/ingest/x.py", "obstore.delete(client, 'crypto_data/2026/01/01/x.json')")(store)


def test_calls_of_a_test_are_not_refused(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="anywhere", Body=b"x")
    client.delete_object(Bucket=bucket, Key="anywhere")


def test_other_services_are_judged_by_their_action() -> None:
    assert policy_guard.allowed("AirflowPolicy", "cloudwatch:PutMetricData", "*")
    assert not policy_guard.allowed("ConsumerPolicy", "cloudwatch:GetMetricData", "*")
    assert not policy_guard.allowed("AirflowPolicy", "glue:DeleteDatabase", "*")
