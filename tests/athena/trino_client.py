"""A client for the part of Trino's protocol that the tests need."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


class TrinoError(RuntimeError):
    """Trino refused a statement."""

    def __init__(self, name: str, message: str, of_user: bool) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.of_user = name, of_user


@dataclass
class Answer:
    """Trino's columns ({"name", "type", "typeSignature"}), rows and statistics (`physicalInputBytes` and others)."""

    columns: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    update_type: str | None = None
    update_count: int | None = None
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> int:
        """Splits of the stages that read tables. Each split opens a file, and a small file is one split.

        A stage that reads a table may have stages below it, for example the other side of a join or of NOT IN. Its
        number then includes a few splits that receive their rows.
        """

        def splits_of(stage: dict[str, Any]) -> int:
            own = int(stage["totalSplits"]) if stage["physicalInputBytes"] > 0 else 0
            return own + sum(map(splits_of, stage["subStages"]))

        return splits_of(self.stats["rootStage"]) if self.stats.get("rootStage") else 0

    @property
    def input_bytes(self) -> int:
        """Bytes read from S3."""
        return int(self.stats.get("physicalInputBytes", 0))


@dataclass(frozen=True, slots=True)
class Trino:
    """A Trino at an address."""

    address: str

    def run(self, sql: str, schema: str | None = None) -> Answer:
        """Run one statement and read all its rows.

        Raises:
            TrinoError: the statement failed.
            OSError: Trino does not answer.
        """
        parts = urlsplit(self.address)
        headers = {
            "X-Trino-User": "athena",
            "X-Trino-Time-Zone": "UTC",
            "X-Trino-Catalog": "awsdatacatalog",
            "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME",
        } | ({"X-Trino-Schema": schema} if schema else {})
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=300)
        try:
            connection.request("POST", "/v1/statement", sql.encode(), headers)
            answer = Answer()
            while next_page := self._page(connection, answer):
                connection.request("GET", urlsplit(next_page).path, headers=headers)
            return answer
        finally:
            connection.close()

    @staticmethod
    def _page(connection: http.client.HTTPConnection, answer: Answer) -> str | None:
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            time.sleep(0.1)
            raise TrinoError("HTTP", f"status {response.status}: {body[:200]!r}", of_user=False)
        page = json.loads(body)
        answer.columns = page.get("columns") or answer.columns
        answer.rows += page.get("data") or []
        if error := page.get("error"):
            raise TrinoError(error["errorName"], error["message"], error["errorType"] == "USER_ERROR")
        answer.update_type, answer.update_count = page.get("updateType"), page.get("updateCount")
        answer.stats = page.get("stats", {})
        next_page: str | None = page.get("nextUri")
        return next_page
