"""Fixtures: the warehouse on target `athena`, and the laptop's warehouse over the same bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.athena import rig
from tests.athena.rig import AthenaWarehouse
from tests.athena.trino_server import TrinoUnavailableError, prepare
from tests.warehouse.warehouse import Warehouse


@pytest.fixture(scope="session")
def lake_bucket(aws_endpoint: str) -> str:
    """The deployed lake's bucket."""
    name = f"athena-{os.getpid()}"
    rig.deploy_lake(name, aws_endpoint)
    return name


@pytest.fixture(scope="session")
def athena_warehouse(
    tmp_path_factory: pytest.TempPathFactory, aws_endpoint: str, lake_bucket: str
) -> Iterator[AthenaWarehouse]:
    """The target `athena`, ready to build."""
    try:
        prepare()
    except TrinoUnavailableError as error:
        pytest.fail(str(error), pytrace=False)
    with rig.athena_warehouse(tmp_path_factory.mktemp("athena"), aws_endpoint, lake_bucket) as warehouse:
        yield warehouse


@pytest.fixture(scope="session")
def duckdb_warehouse(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: str, lake_bucket: str) -> Warehouse:
    """The laptop's warehouse over the same bucket, to compare with."""
    folder: Path = tmp_path_factory.mktemp("duckdb")
    return Warehouse(folder, folder / "target", lake_bucket, aws_endpoint)
