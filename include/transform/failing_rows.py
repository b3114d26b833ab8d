"""Reads sample rows of failed tests, in one dbt invocation, from the tables in which dbt keeps failing rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from include.transform import dbt_connection

log = logging.getLogger(__name__)

MAX_ROWS = 5
MAX_TESTS = 10
"""Each test costs a query on Athena. Further failed tests are reported with their counts only."""
MAX_VALUE_LENGTH = 80
LINE_START = "failing rows: "
"""Beginning of the lines that the macro `failing_rows` logs."""


def fetch(project_dir: Path, tables: Sequence[str]) -> dict[str, str]:
    """At most five rows of each of the first ten `tables`, as text by table. If dbt fails, that is only logged.

    `project_dir` is the copy of the dbt project in which the tests ran; dbt has parsed it already.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    lines: list[str] = []

    def listen(event: Any) -> None:
        if event.info.msg.startswith(LINE_START):
            lines.append(event.info.msg.removeprefix(LINE_START))

    arguments = json.dumps({"tables": list(tables[:MAX_TESTS]), "max_rows": MAX_ROWS})
    # Without --no-write-json dbt would overwrite the results of the run that is being reported.
    options = ["--no-write-json", "--log-level-file", "none", "--no-static-parser", "--quiet"]
    project = ["--project-dir", str(project_dir), *dbt_connection.arguments()]
    runner = dbtRunner(callbacks=[listen])
    response = runner.invoke([*options, "run-operation", "failing_rows", "--args", arguments, *project])
    if not response.success:
        log.error("the rows of failed tests cannot be read: %s", response.exception or response.result)
    return {sample["table"]: as_text(sample["rows"]) for sample in map(json.loads, lines)}


def as_text(rows: Sequence[Mapping[str, str | None]]) -> str:
    """One line for each row, `column=value`, and the command that finds the record if the row names its place."""
    return "\n".join(" ".join([*_columns(row), *_where(row)]) for row in rows)


def _columns(row: Mapping[str, str | None]) -> list[str]:
    return [f"{column}={_value(value)}" for column, value in row.items()]


def _where(row: Mapping[str, str | None]) -> list[str]:
    """The command for the row's record, or for the offset beside which a hole or an overlap is."""
    partition, offset = row.get("kafka_partition"), row.get("kafka_offset") or row.get("last_offset")
    return [f"(python -m include.audit where {partition}/{offset})"] if partition and offset else []


def _value(value: str | None) -> str:
    if value is None:
        return "null"
    flat = " ".join(value.split())
    return flat if len(flat) <= MAX_VALUE_LENGTH else f"{flat[:MAX_VALUE_LENGTH]}..."
