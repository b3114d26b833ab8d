"""The rig: the emulator's S3 and Glue, a Trino over them, and Athena's API in front of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.athena.gateway import AthenaApi, running_gateway
from tests.athena.statements import Athena
from tests.athena.trino_client import Trino
from tests.athena.trino_server import TrinoUnavailableError, fetch_jars, java, trino_server
from tests.warehouse.warehouse import Warehouse

EXTERNAL_TABLES = {
    "crypto_raw_data": "crypto_data/",
    "dead_letter_data": "dead_letter/",
    "test_history_data": "test_history/",
}
DATABASE = "lake"


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


def external_table(name: str, bucket: str, prefix: str) -> Any:
    """A table of lines with one projected partition column, as the CloudFormation template makes it."""
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": "dt", "Type": "string"}],
        "Parameters": {
            "EXTERNAL": "TRUE",
            "projection.enabled": "true",
            "projection.dt.type": "date",
            "projection.dt.format": "yyyy/MM/dd",
            "projection.dt.range": "NOW-40DAYS,NOW+1DAY",
            "projection.dt.interval": "1",
            "projection.dt.interval.unit": "DAYS",
            "storage.location.template": f"s3://{bucket}/{prefix}${{dt}}/",
        },
        "StorageDescriptor": {
            "Columns": [{"Name": "line", "Type": "string"}],
            "Location": f"s3://{bucket}/{prefix}",
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"field.delim": "\u0001", "serialization.format": "\u0001"},
            },
        },
    }


@pytest.fixture(scope="session")
def lake_bucket(aws_endpoint: str) -> str:
    """A bucket with the external tables over it."""
    name = f"athena-{os.getpid()}"
    boto3.client("s3", endpoint_url=aws_endpoint).create_bucket(Bucket=name)
    glue = boto3.client("glue", endpoint_url=aws_endpoint)
    glue.create_database(DatabaseInput={"Name": DATABASE})
    for table, prefix in EXTERNAL_TABLES.items():
        glue.create_table(DatabaseName=DATABASE, TableInput=external_table(table, name, prefix))
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
        pytest.skip(str(error))
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
