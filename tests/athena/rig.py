"""The Athena rig: the template on the emulator, a Trino over its S3 and Glue, and Athena's API in front of Trino."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from include.aws.deploy import deploy
from include.settings import load
from tests.athena.gateway import AthenaApi, running_gateway
from tests.athena.statements import Athena
from tests.athena.trino_client import Trino
from tests.athena.trino_server import trino_server
from tests.warehouse.warehouse import Warehouse, environment

DATABASE = "lake"
PROJECTED = timedelta(days=40)
"""Number of days of the external tables. It is small, because a query without bounds lists each day."""


@dataclass(frozen=True)
class AthenaWarehouse(Warehouse):
    """The same project on target `athena`."""

    gateway: str
    athena_api: AthenaApi
    lake: str = DATABASE
    """Glue database."""

    def variables(self) -> dict[str, str]:
        """Environment of a dbt run: S3 is the emulator's, Athena and Glue the gateway's."""
        return super().variables() | {
            "WAREHOUSE_TARGET": "athena",
            "WAREHOUSE_DATABASE": self.lake,
            "WAREHOUSE_WORKGROUP": "primary",
            "AWS_ENDPOINT_URL_ATHENA": self.gateway,
            "AWS_ENDPOINT_URL_GLUE": self.gateway,
        }

    @property
    def trino(self) -> Trino:
        """The engine."""
        return self.athena_api.athena.trino

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows in Trino's form: numbers, and text for every other type."""
        return [tuple(row) for row in self.trino.run(sql).rows]


def deploy_lake(bucket: str, aws_endpoint: str, lake: str = DATABASE, projected: timedelta = PROJECTED) -> None:
    """Deploy the template, so that bucket, Glue database and external tables are those of production."""
    names = {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "S3_BUCKET": bucket,
        "WAREHOUSE_DATABASE": lake,
        "WAREHOUSE_WORKGROUP": lake,
    }
    first_day = datetime.now(UTC) - projected
    with environment(names):
        deploy({"FirstDay": f"{first_day:%Y/%m/%d}"}, stack=bucket, settings=load())


@contextmanager
def athena_warehouse(folder: Path, aws_endpoint: str, bucket: str) -> Iterator[AthenaWarehouse]:
    """Trino and gateway over a deployed lake.

    Raises:
        TrinoUnavailableError: Trino cannot run on this machine.
    """
    with (
        running_gateway(aws_endpoint) as gateway,
        trino_server(folder, gateway.address, aws_endpoint, bucket) as trino,
    ):
        glue = boto3.client("glue", endpoint_url=aws_endpoint)
        gateway.athena_api = AthenaApi(Athena(trino, glue), f"s3://{bucket}/query_results/")
        yield AthenaWarehouse(folder, folder / "target", bucket, aws_endpoint, gateway.address, gateway.athena_api)
