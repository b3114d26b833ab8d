"""Athena's API in front of Trino, and Glue's API in front of the emulator.

Both have the operations that dbt-athena calls. Statements go through `statements.Athena`. The gateway itself answers
the operations that the emulator's Glue lacks (table versions, column statistics).
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3

from tests.athena.statements import Athena, Outcome, UnsupportedStatementError
from tests.athena.trino_client import TrinoError

Json = dict[str, Any]
PATIENCE = 20.0
"""Seconds that the gateway waits for the end of a query before it answers with the query's id. A client polls only
once a second, so this wait saves most polls. It is shorter than boto3's time-out of 60 s."""


class ApiError(Exception):
    """An error response: AWS's type and a text."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Query:
    """One execution of a statement."""

    id: str
    sql: str
    database: str | None
    workgroup: str
    state: str = "RUNNING"
    outcome: Outcome | None = None
    reason: str | None = None
    seconds: float = 0.0
    submitted: float = field(default_factory=time.time)
    ended: threading.Event = field(default_factory=threading.Event)


def text_of(value: Any, kind: str) -> str | None:
    """A value in Athena's notation."""
    if value is None:
        return None
    if kind == "boolean":
        return str(value).lower()
    if kind == "varbinary":
        return " ".join(f"{byte:02x}" for byte in base64.b64decode(value))
    return str(value)


def column_info(column: Json) -> Json:
    """Athena's description of a column of Trino."""
    kind = column["typeSignature"]["rawType"]
    sizes = re.match(r"decimal\((\d+),\s*(\d+)\)", column["type"])
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": column["name"],
        "Label": column["name"],
        "Type": {"real": "float"}.get(kind, kind),
        "Precision": int(sizes[1]) if sizes else 0,
        "Scale": int(sizes[2]) if sizes else 0,
        "Nullable": "UNKNOWN",
        "CaseSensitive": kind == "varchar",
    }


class AthenaApi:
    """The operations of Athena's JSON API that dbt-athena calls."""

    def __init__(self, athena: Athena, results: str) -> None:
        self.athena, self.results = athena, results
        self.queries: dict[str, Query] = {}
        self.stopped: list[Query] = []
        self.held_text: str | None = None
        """A query with this text waits until it is stopped."""

    def call(self, operation: str, request: Json) -> Json:
        """Answer one operation.

        Raises:
            ApiError: the gateway does not know the operation.
        """
        handler: Callable[[Json], Json] | None = getattr(self, f"_{operation}", None)
        if handler is None:
            raise ApiError("InvalidRequestException", f"the gateway does not know {operation}")
        return handler(request)

    def _StartQueryExecution(self, request: Json) -> Json:  # noqa: N802
        context = request.get("QueryExecutionContext") or {}
        query = Query(
            str(uuid.uuid4()), request["QueryString"], context.get("Database"), request.get("WorkGroup", "primary")
        )
        self.queries[query.id] = query
        thread = threading.Thread(target=self._execute, args=(query,), daemon=True)
        thread.start()
        if not self._is_held(query):
            thread.join(PATIENCE)
        return {"QueryExecutionId": query.id}

    def _execute(self, query: Query) -> None:
        started = time.monotonic()
        if self._is_held(query):
            query.ended.wait()
            return
        try:
            query.outcome = self.athena.run(query.sql, query.database)
            state = "SUCCEEDED"
        except (TrinoError, UnsupportedStatementError, OSError) as error:
            query.reason, state = str(error), "FAILED"
        query.seconds = time.monotonic() - started
        query.state = state

    def _GetQueryExecution(self, request: Json) -> Json:  # noqa: N802
        query = self.queries[request["QueryExecutionId"]]
        status: Json = {
            "State": query.state,
            "SubmissionDateTime": query.submitted,
            "CompletionDateTime": query.submitted + query.seconds,
        }
        if query.reason:
            status |= {
                "StateChangeReason": query.reason,
                "AthenaError": {
                    "ErrorCategory": 2,
                    "ErrorType": 1001,
                    "Retryable": False,
                    "ErrorMessage": query.reason,
                },
            }
        milliseconds = int(query.seconds * 1000)
        stats = query.outcome.answer.stats if query.outcome else {}
        return {
            "QueryExecution": {
                "QueryExecutionId": query.id,
                "Query": query.sql,
                "StatementType": query.outcome.kind if query.outcome else "DML",
                "SubstatementType": query.outcome.sub_kind if query.outcome else "SELECT",
                "ResultConfiguration": {"OutputLocation": f"{self.results}{query.id}.csv"},
                "QueryExecutionContext": {"Database": query.database or "default"},
                "Status": status,
                "WorkGroup": query.workgroup,
                "Statistics": {
                    "EngineExecutionTimeInMillis": milliseconds,
                    "TotalExecutionTimeInMillis": milliseconds,
                    "DataScannedInBytes": stats.get("physicalInputBytes", 0),
                },
                "EngineVersion": {"EffectiveEngineVersion": "Athena engine version 3"},
            }
        }

    def _GetQueryResults(self, request: Json) -> Json:  # noqa: N802
        query = self.queries[request["QueryExecutionId"]]
        assert query.outcome is not None
        answer = query.outcome.answer
        kinds = [column["typeSignature"]["rawType"] for column in answer.columns]
        rows = [[text_of(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in answer.rows]
        if query.outcome.kind == "DML":
            rows.insert(0, [column["name"] for column in answer.columns])
            if query.outcome.sub_kind != "SELECT":
                rows = []
        first, size = int(request.get("NextToken") or 0), int(request.get("MaxResults") or 1000)
        page: Json = {
            "UpdateCount": answer.update_count or 0,
            "ResultSet": {
                "ResultSetMetadata": {"ColumnInfo": [column_info(column) for column in answer.columns]},
                "Rows": [
                    {"Data": [{} if value is None else {"VarCharValue": value} for value in row]}
                    for row in rows[first : first + size]
                ],
            },
        }
        if first + size < len(rows):
            page["NextToken"] = str(first + size)
        return page

    def _is_held(self, query: Query) -> bool:
        return self.held_text is not None and self.held_text in query.sql

    def _StopQueryExecution(self, request: Json) -> Json:  # noqa: N802
        query = self.queries[request["QueryExecutionId"]]
        self.stopped.append(query)
        if query.state == "RUNNING":
            query.state = "CANCELLED"
            query.ended.set()
        return {}

    def _GetWorkGroup(self, request: Json) -> Json:  # noqa: N802
        return {
            "WorkGroup": {
                "Name": request["WorkGroup"],
                "State": "ENABLED",
                "Configuration": {
                    "EnforceWorkGroupConfiguration": False,
                    "ResultConfiguration": {"OutputLocation": self.results},
                    "EngineVersion": {"EffectiveEngineVersion": "Athena engine version 3"},
                },
            }
        }

    def _GetDataCatalog(self, request: Json) -> Json:  # noqa: N802
        return {"DataCatalog": {"Name": request["Name"], "Type": "GLUE", "Parameters": {"catalog-id": "000000000000"}}}

    def _ListDataCatalogs(self, request: Json) -> Json:  # noqa: N802
        return {"DataCatalogsSummary": [{"CatalogName": "AwsDataCatalog", "Type": "GLUE"}]}


class GlueApi:
    """The emulator's Glue, with an answer for each operation that it lacks."""

    def __init__(self, endpoint: str, glue: Any) -> None:
        self.endpoint, self.glue = endpoint, glue
        self.gaps: dict[str, Callable[[Json], Json]] = {
            "GetTableVersions": self._table_versions,
            "DeleteTableVersion": lambda _: {},
            "BatchDeleteTableVersion": lambda _: {"Errors": []},
        } | {
            f"{verb}ColumnStatisticsFor{what}": (lambda _: {"ColumnStatisticsList": [], "Errors": []})
            for verb in ("Get", "Update", "Delete")
            for what in ("Table", "Partition")
        }

    def forward(self, operation: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer."""
        parts = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)
        forwarded = {
            name: value for name, value in headers.items() if name.lower().startswith(("x-amz", "content-t", "auth"))
        }
        connection.request("POST", "/", body, forwarded)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status >= 400 and operation in self.gaps and b"EntityNotFound" not in answer:
            return 200, json.dumps(self.gaps[operation](json.loads(body))).encode()
        return response.status, answer

    def _table_versions(self, request: Json) -> Json:
        table = self.glue.get_table(DatabaseName=request["DatabaseName"], Name=request["TableName"])["Table"]
        plain = {k: v.timestamp() if hasattr(v, "timestamp") else v for k, v in table.items()}
        return {"TableVersions": [{"Table": plain, "VersionId": plain.get("VersionId", "1")}]}


@dataclass
class Gateway:
    """A listening gateway. `athena_api` is None until Trino runs."""

    address: str
    glue_api: GlueApi
    athena_api: AthenaApi | None = None


def _handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            """Log nothing, so that the tests' output stays readable."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"
            service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
            if service == "AWSGlue":
                self._send(*gateway.glue_api.forward(operation, body, dict(self.headers)))
                return
            try:
                assert gateway.athena_api is not None
                status, answer = 200, gateway.athena_api.call(operation, json.loads(body))
            except ApiError as error:
                status, answer = 400, {"__type": error.kind, "Message": str(error)}
            self._send(status, json.dumps(answer).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@contextmanager
def running_gateway(emulator: str) -> Iterator[Gateway]:
    """A gateway on a free loopback port, which already serves Glue."""
    glue = boto3.client("glue", endpoint_url=emulator)
    gateway = Gateway("", GlueApi(emulator, glue))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(gateway))
    server.daemon_threads = True
    gateway.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
