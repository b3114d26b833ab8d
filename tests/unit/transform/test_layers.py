"""What a run records about a layer."""

from __future__ import annotations

import boto3
import pytest

from include.settings import StorageSettings
from include.state import layer_state, partial_build
from include.state.layer_state import DagRunRef
from include.transform import layers

pytestmark = pytest.mark.servers


def test_a_build_of_a_part_is_recorded_beside_the_state(bucket: str) -> None:
    s3, storage = boto3.client("s3"), StorageSettings(bucket=bucket)
    run = DagRunRef("crypto_transform", "r", "http://airflow.test/r")
    built = {"kpi_daily": True, "crypto_curated": False}
    layers.record_part(s3, storage, "gold", built, run)
    part = partial_build.read_all(s3, storage)["gold"]
    assert part is not None
    assert (part.built, part.not_built, part.run) == (["kpi_daily"], ["crypto_curated"], run)
    assert layer_state.read_all(s3, storage)["gold"] is None
