"""The rig: the deployed template on the emulator, a Trino over its S3 and Glue, and Athena's API in front of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from include.aws.deploy import deploy
from include.settings import load
from tests.athena.gateway import AthenaApi, running_gateway
from tests.athena.statements import Athena
from tests.athena.trino_client import Trino
from tests.athena.trino_server import TrinoUnavailableError, fetch_jars, java, trino_server
from tests.warehouse.warehouse import Warehouse, environment

DATABASE = "lake"
PROJECTED = timedelta(days=40)
"""Days of the external tables: a query without bounds lists each of them."""


@dataclass(frozen=True)
class AthenaWarehouse(Warehouse):
    """The same project on target `athena`."""

    gateway: str
    trino: Trino

    def variables(self) -> dict[str, str]:
        """Environment of a dbt run: S3 is the emulator's, Athena and Glue the gateway's."""
        return super().variables() | {
            "WAREHOUSE_TARGET": "athena",
            "WAREHOUSE_WORKGROUP": "primary",
            "AWS_ENDPOINT_URL_ATHENA": self.gateway,
            "AWS_ENDPOINT_URL_GLUE": self.gateway,
        }

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows as Trino gives them: numbers, and text for everything else."""
        return [tuple(row) for row in self.trino.run(sql).rows]


@pytest.fixture(scope="session")
def lake_bucket(aws_endpoint: str) -> str:
    """Bucket, Glue database and external tables as production has them: of the deployed template."""
    name = f"athena-{os.getpid()}"
    names = {"AWS_ENDPOINT_URL": aws_endpoint, "S3_BUCKET": name, "WAREHOUSE_DATABASE": DATABASE}
    first_day = datetime.now(UTC) - PROJECTED
    with environment(names):
        deploy({"FirstDay": f"{first_day:%Y/%m/%d}"}, stack=name, settings=load())
    return name


@pytest.fixture(scope="session")
def athena_warehouse(
    tmp_path_factory: pytest.TempPathFactory, aws_endpoint: str, lake_bucket: str
) -> Iterator[AthenaWarehouse]:
    """The target `athena`, ready to build."""
    try:
        java()
        fetch_jars()
    except TrinoUnavailableError as error:
        pytest.fail(str(error), pytrace=False)
    folder = tmp_path_factory.mktemp("athena")
    with (
        running_gateway(aws_endpoint) as gateway,
        trino_server(folder, gateway.address, aws_endpoint, lake_bucket) as trino,
    ):
        glue = boto3.client("glue", endpoint_url=aws_endpoint)
        gateway.athena_api = AthenaApi(Athena(trino, glue), f"s3://{lake_bucket}/query_results/")
        yield AthenaWarehouse(folder, folder / "target", lake_bucket, aws_endpoint, gateway.address, trino)


@pytest.fixture(scope="session")
def duckdb_warehouse(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: str, lake_bucket: str) -> Warehouse:
    """The laptop's warehouse over the same bucket, to compare with."""
    folder: Path = tmp_path_factory.mktemp("duckdb")
    return Warehouse(folder, folder / "target", lake_bucket, aws_endpoint)
