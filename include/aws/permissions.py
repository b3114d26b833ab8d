"""Every IAM action of the template's policies, with its reason.

`tests/aws/test_permissions.py` compares this table with the template, and with the AWS calls in our code and in
dbt-athena. An action without a call is an error, and a call without an action too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UsedBy = Literal["our code", "dbt-athena", "Athena", "BI tools"]
"""The caller. Athena reads and writes S3 and Glue with the rights of the query's sender."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One allowed action."""

    action: str
    used_by: tuple[UsedBy, ...]
    why: str


CONSUMER = (
    Permission("s3:PutObject", ("our code",), "Lands batches and dead letters; marks replayed dead letters."),
    Permission("s3:GetObject", ("our code",), "Reads the contract object, and objects that another writer landed."),
    Permission("s3:ListBucket", ("our code",), "Finds the last landed offset; without it an absent key is a 403."),
    Permission("cloudwatch:PutMetricData", ("our code",), "Publishes the consumer's metrics."),
)

AIRFLOW = (
    Permission("s3:GetObject", ("our code", "Athena"), "Reads landed files, layer state, alert state and tables."),
    Permission("s3:PutObject", ("our code", "dbt-athena", "Athena"), "Writes state, manifests and tables."),
    Permission("s3:ListBucket", ("our code", "dbt-athena", "Athena"), "Counts what landed; lists a table's files."),
    Permission("s3:DeleteObject", ("dbt-athena", "Athena"), "Removes temporary tables, and files after VACUUM."),
    Permission("s3:GetBucketLocation", ("Athena",), "Athena checks the bucket of the query results."),
    Permission("s3:ListBucketMultipartUploads", ("Athena",), "Large results and tables are multipart uploads."),
    Permission("s3:ListMultipartUploadParts", ("Athena",), "The same."),
    Permission("s3:AbortMultipartUpload", ("Athena",), "The same, when a query is cancelled."),
    Permission("athena:StartQueryExecution", ("dbt-athena",), "Runs models and tests."),
    Permission("athena:StopQueryExecution", ("dbt-athena",), "Cancels a query when the task is stopped."),
    Permission("athena:GetQueryExecution", ("dbt-athena",), "Waits for a query."),
    Permission("athena:GetQueryResults", ("dbt-athena",), "Reads a query's result."),
    Permission("athena:GetWorkGroup", ("dbt-athena",), "Reads whether the workgroup enforces its output location."),
    Permission("athena:ListTableMetadata", ("dbt-athena",), "Lists the relations of a schema."),
    Permission("glue:GetDatabase", ("dbt-athena", "Athena"), "Checks that a layer's schema exists."),
    Permission("glue:GetDatabases", ("dbt-athena",), "Lists schemas."),
    Permission("glue:CreateDatabase", ("Athena",), "dbt's `create schema` makes the schemas of the layers."),
    Permission("glue:GetTable", ("dbt-athena", "Athena"), "Looks a table up."),
    Permission("glue:GetTables", ("dbt-athena",), "Lists tables for dbt's cache and docs."),
    Permission("glue:CreateTable", ("Athena",), "Makes tables and views."),
    Permission("glue:UpdateTable", ("dbt-athena", "Athena"), "Each Iceberg commit points the table at new metadata."),
    Permission("glue:DeleteTable", ("dbt-athena", "Athena"), "Drops temporary tables and replaced views."),
    Permission("glue:GetTableVersions", ("dbt-athena",), "Finds old versions of a table, to remove them."),
    Permission("glue:DeleteTableVersion", ("dbt-athena",), "Removes old versions of a table."),
    Permission("glue:GetPartition", ("Athena",), "Reads tables with partitions in the catalog."),
    Permission("glue:GetPartitions", ("dbt-athena", "Athena"), "The same."),
    Permission("glue:BatchGetPartition", ("Athena",), "The same."),
    Permission("glue:BatchCreatePartition", ("dbt-athena", "Athena"), "Writes tables with partitions in the catalog."),
    Permission("glue:BatchDeletePartition", ("dbt-athena",), "Replaces partitions."),
    Permission("cloudwatch:PutMetricData", ("our code",), "Publishes the monitor's metrics."),
    Permission("cloudwatch:GetMetricData", ("our code",), "Reads the consumer's metrics for the checks."),
    Permission("cloudwatch:DescribeAlarms", ("our code",), "Reads the thresholds that the alarms have."),
    Permission("sns:Publish", ("our code",), "Sends notices to the alarms' topic when ALERT_SNS_TOPIC_ARN names it."),
)

BI_READER = (
    Permission("athena:StartQueryExecution", ("BI tools",), "Runs a query."),
    Permission("athena:StopQueryExecution", ("BI tools",), "Cancels a query."),
    Permission("athena:GetQueryExecution", ("BI tools",), "Waits for a query."),
    Permission("athena:GetQueryResults", ("BI tools",), "Reads the result page by page."),
    Permission("athena:GetQueryResultsStream", ("BI tools",), "The same as a stream, for the ODBC and JDBC drivers."),
    Permission("athena:GetWorkGroup", ("BI tools",), "The drivers read the workgroup's settings."),
    Permission("athena:ListWorkGroups", ("BI tools",), "Lets the user choose a workgroup."),
    Permission("athena:ListDataCatalogs", ("BI tools",), "Lets the user choose a catalog."),
    Permission("athena:GetDataCatalog", ("BI tools",), "The same."),
    Permission("athena:ListDatabases", ("BI tools",), "Lets the user choose a schema."),
    Permission("athena:GetDatabase", ("BI tools",), "The same."),
    Permission("athena:ListTableMetadata", ("BI tools",), "Lets the user choose a table."),
    Permission("athena:GetTableMetadata", ("BI tools",), "Reads the columns of a table."),
    Permission("glue:GetDatabase", ("Athena",), "Athena reads Glue for the calls above."),
    Permission("glue:GetDatabases", ("Athena",), "See GetDatabase."),
    Permission("glue:GetTable", ("Athena",), "See GetDatabase."),
    Permission("glue:GetTables", ("Athena",), "See GetDatabase."),
    Permission("glue:GetPartition", ("Athena",), "See GetDatabase."),
    Permission("glue:GetPartitions", ("Athena",), "See GetDatabase."),
    Permission("glue:BatchGetPartition", ("Athena",), "See GetDatabase."),
    Permission("s3:GetObject", ("Athena",), "Reads gold, silver, monitoring, reference, and the reader's results."),
    Permission("s3:ListBucket", ("Athena",), "Lists their files."),
    Permission("s3:PutObject", ("Athena",), "Writes the reader's query results."),
    Permission("s3:GetBucketLocation", ("Athena",), "Athena checks the bucket of the query results."),
    Permission("s3:ListBucketMultipartUploads", ("Athena",), "A large result is a multipart upload."),
    Permission("s3:ListMultipartUploadParts", ("Athena",), "The same."),
    Permission("s3:AbortMultipartUpload", ("Athena",), "The same, when a query is cancelled."),
)

POLICIES: dict[str, tuple[Permission, ...]] = {
    "ConsumerPolicy": CONSUMER,
    "AirflowPolicy": AIRFLOW,
    "BiReaderPolicy": BI_READER,
}
"""Logical id of the policy -> what it allows. The producer calls no AWS API and has no policy."""

NOT_GRANTED: dict[str, str] = {
    "glue:DeleteDatabase": "dbt drops a schema only on request. The deployer may do this, Airflow may not.",
    "athena:StartCalculationExecution": "For dbt's Python models, which need a Spark workgroup. There are none here.",
    "athena:GetCalculationExecution": "See StartCalculationExecution.",
    "athena:StopCalculationExecution": "See StartCalculationExecution.",
    "athena:StartSession": "See StartCalculationExecution.",
    "athena:GetSessionStatus": "See StartCalculationExecution.",
    "athena:GetDataCatalog": "Called only for other catalogs than AwsDataCatalog.",
    "sts:GetCallerIdentity": "Everybody may call it, and AWS checks no policy.",
    "sts:AssumeRole": "The role is assumed by the platform before our code runs.",
    "lakeformation:*": "Rights are given by IAM, not by Lake Formation.",
}
"""Calls that dbt-athena knows and does not make here, with the reason."""
