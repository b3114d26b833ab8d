"""Sample rows of failed tests, asked from the tables in which dbt keeps them, in one dbt invocation."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from include.transform import dbt_connection

log = logging.getLogger(__name__)

MOST_ROWS = 5
MOST_TESTS = 10
"""Each test asked for costs a query on Athena; of more failing tests only the counts are told."""
LONGEST_VALUE = 80
MARK = "failing rows: "
"""What the macro `failing_rows` begins its lines with."""


def fetch(project_dir: Path, tables: Sequence[str]) -> dict[str, str]:
    """At most five rows of each of the first ten `tables`, as text by table. Without an answer: logged, and empty.

    `project_dir` is the copy of the dbt project in which the tests ran; it is parsed already.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    lines: list[str] = []

    def listen(event: Any) -> None:
        if event.info.msg.startswith(MARK):
            lines.append(event.info.msg.removeprefix(MARK))

    arguments = json.dumps({"tables": list(tables[:MOST_TESTS]), "most": MOST_ROWS})
    # Without --no-write-json dbt would write over the results of the run that is being reported.
    options = ["--no-write-json", "--log-level-file", "none", "--no-static-parser", "--quiet"]
    where = ["--project-dir", str(project_dir), *dbt_connection.arguments()]
    runner = dbtRunner(callbacks=[listen])
    answer = runner.invoke([*options, "run-operation", "failing_rows", "--args", arguments, *where])
    if not answer.success:
        log.error("the rows of failed tests cannot be read: %s", answer.exception or answer.result)
    return {one["table"]: as_text(one["rows"]) for one in map(json.loads, lines)}


def as_text(rows: Sequence[Mapping[str, str | None]]) -> str:
    """One row a line, `column=value`."""
    return "\n".join(" ".join(f"{column}={_value(value)}" for column, value in row.items()) for row in rows)


def _value(value: str | None) -> str:
    if value is None:
        return "null"
    flat = " ".join(value.split())
    return flat if len(flat) <= LONGEST_VALUE else f"{flat[:LONGEST_VALUE]}..."
