"""`make demo-sql`: a read-only copy of the demo's warehouse, for people.

DuckDB allows no reader beside a writer, so a person who keeps the warehouse open would stop the transform. The copy is
of the moment at which the command was called.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

from include.local import environment
from include.local.stack import Demo, DemoError
from include.transform.warehouse_file import open_when_free

COPY = "analysis.duckdb"
"""The copy in the demo's state folder; a later call replaces it."""
PROMPT, MORE = "demo> ", "  ..> "
TABLES = """
select table_schema as schema, table_name as name, count(*) as columns
from information_schema.columns
where table_schema not like '%test_failures'
group by all order by all
"""


def copy_warehouse(demo: Demo) -> Path:
    """Copy the warehouse while no process writes it; returns the copy's path.

    The shared lock of a read-only connection keeps writers away for the short time of the copy; they wait.

    Raises:
        DemoError: no transform has made a warehouse in the state folder.
        WarehouseLockedError: a process kept the warehouse open.
    """
    kept = environment.read(demo.environment_file).get("WAREHOUSE_DUCKDB_PATH")
    source, goal = Path(kept or demo.local.state / environment.WAREHOUSE), demo.local.state / COPY
    if not source.exists():
        raise DemoError(f"there is no {source} yet: wait for the first transform run of make demo")
    unfinished = goal.with_suffix(f".{os.getpid()}")
    with open_when_free(source, read_only=True, config={}, tell=demo.tell):
        shutil.copyfile(source, unfinished)
        for log in source.parent.glob(f"{source.name}.wal"):  # what a killed process has not yet moved into the file
            shutil.copyfile(log, unfinished.with_name(f"{unfinished.name}.wal"))
    duckdb.connect(str(unfinished)).close()  # moves such a log into the copy, which is then one file
    unfinished.replace(goal)
    return goal


def run(demo: Demo, statement: str | None) -> int:
    """Answer one statement, or those of a prompt; returns the exit status: 1 if the one statement has an error."""
    path = copy_warehouse(demo)
    with duckdb.connect(str(path), read_only=True) as copy:
        if statement:
            return answer(copy, statement)
        demo.tell(f"A copy of the warehouse, read-only: {path}. Other programs may open it too.")
        demo.tell("End a statement with a semicolon; Ctrl-D ends.")
        answer(copy, TABLES)
        for typed in statements():
            answer(copy, typed)
    return 0


def answer(copy: duckdb.DuckDBPyConnection, statement: str) -> int:
    """Print the rows of a statement (the first and last of many), or its error; returns 1 after an error."""
    try:
        result = copy.sql(statement)
    except duckdb.Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if result is not None:
        result.show(max_width=shutil.get_terminal_size((120, 40)).columns, max_rows=40)
    return 0


def statements() -> Iterator[str]:
    """The statements that a person types, each up to its semicolon, until the end of the input."""
    import readline  # noqa: F401 (gives input() a history and editing)

    typed = ""
    while True:
        try:
            typed += input(MORE if typed else PROMPT) + "\n"
        except KeyboardInterrupt:
            typed = ""
            sys.stdout.write("\n")
        except EOFError:
            return
        if typed.rstrip().endswith(";"):
            yield typed
            typed = ""
        elif not typed.strip():
            typed = ""
